import { LabIcon } from '@jupyterlab/ui-components';

/** Makes an icon of strokes on a 16 × 16 grid; JupyterLab colours them by its theme. */
function drawn(name: string, paths: string): LabIcon {
  const strokes = 'fill="none" stroke-width="1.4" stroke-linecap="round" stroke-linejoin="round"';
  const shape = `<g class="jp-FlipIcon" ${strokes}>${paths}</g>`;
  const svgstr = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 16 16">${shape}</svg>`;
  return new LabIcon({ name: `flip-lab:${name}`, svgstr });
}

export const runIcon = drawn('run', '<path d="M2 13.5h12M2.5 11l3-4 3 2 5-6.5"/>');
export const launchIcon = drawn(
  'launch',
  '<path d="M2 4h5M11 4h3M2 8h2M8 8h6M2 12h7M13 12h1"/><circle cx="9" cy="4" r="1.7"/><circle cx="6" cy="8" r="1.7"/><circle cx="11" cy="12" r="1.7"/>'
);
export const partitionsIcon = drawn('partitions', '<path d="M2 13.5V9M6 13.5v-10M10 13.5V7M14 13.5V2"/>');
export const galleryIcon = drawn(
  'gallery',
  '<rect x="2" y="2" width="5" height="5" rx="1"/><rect x="9" y="2" width="5" height="5" rx="1"/><rect x="2" y="9" width="5" height="5" rx="1"/><rect x="9" y="9" width="5" height="5" rx="1"/>'
);
export const modelsIcon = drawn(
  'models',
  '<path d="M8 1.8l5.5 3v6.4L8 14.2l-5.5-3V4.8zM2.5 4.8L8 7.9l5.5-3.1M8 7.9v6.3"/>'
);
export const scenarioIcon = drawn(
  'scenario',
  '<path d="M3.5 1.8h6l3 3v9.4h-9zM9.5 1.8v3h3"/><path d="M5.8 11.5l2-2.5 1.4 1 1.6-2.5"/>'
);
