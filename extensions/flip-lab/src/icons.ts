import { LabIcon } from '@jupyterlab/ui-components';

/** Icons of our own; `jp-icon3` lets themes choose the colour of what has it. */
function icon(name: string, ...parts: string[]): LabIcon {
  const svgstr = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">${parts.join('')}</svg>`;
  return new LabIcon({ name: `flip-lab:${name}`, svgstr });
}

/** Drawn as lines. A theme colours every `fill` that stands beside the class, so none does. */
function lines(shapes: string, width = 1.8): string {
  const stroke = `stroke="#616161" stroke-width="${width}" stroke-linecap="round" stroke-linejoin="round"`;
  return `<g fill="none"><g class="jp-icon3" ${stroke}>${shapes}</g></g>`;
}

/** Filled: circles `x y radius`, or any shapes. */
function full(shapes: string): string {
  return `<g class="jp-icon3" fill="#616161">${shapes}</g>`;
}

function circles(...places: [number, number, number][]): string {
  return full(places.map(([x, y, radius]) => `<circle cx="${x}" cy="${y}" r="${radius}"/>`).join(''));
}

/** A server in the middle, five nodes around it. */
export const federationIcon = icon(
  'federation',
  lines('<path d="M12 12V4M12 12l7.7-2.5M12 12l4.8 6.6M12 12l-4.8 6.6M12 12L4.3 9.5"/>', 1.5),
  circles([12, 12, 3.6], [12, 3.9, 2.3], [19.7, 9.5, 2.3], [16.8, 18.6, 2.3], [7.2, 18.6, 2.3], [4.3, 9.5, 2.3])
);

/** Lines of different progress. */
export const runsIcon = icon('runs', lines('<path d="M4 6h16M4 12h10M4 18h13"/>'), circles([18.5, 12, 2]));

/** One beginning, several ends. */
export const sweepsIcon = icon(
  'sweeps',
  lines('<path d="M4.5 12L18 4.5M4.5 12H18M4.5 12L18 19.5"/>'),
  circles([4.5, 12, 2.5], [18.5, 4.2, 2], [18.5, 12, 3], [18.5, 19.8, 2])
);

/** Devices that hold their own data. */
export const nodesIcon = icon(
  'nodes',
  lines(
    '<rect x="3.5" y="4" width="17" height="6.6" rx="1.6"/><rect x="3.5" y="13.4" width="17" height="6.6" rx="1.6"/>' +
      '<path d="M13 7.3h4M13 16.7h4"/>'
  ),
  circles([7.4, 7.3, 1.3], [7.4, 16.7, 1.3])
);

/** A notebook's page with a federation on it. */
export const newNotebookIcon = icon(
  'new-notebook',
  lines('<path d="M6 3.5h13v17H6zM3.6 7.4H6M3.6 12H6M3.6 16.6H6"/>'),
  lines('<path d="M12.5 12V8.2M12.5 12l3.4 2.1M12.5 12l-3.4 2.1"/>', 1.3),
  circles([12.5, 12, 1.8], [12.5, 8, 1.3], [16, 14.2, 1.3], [9, 14.2, 1.3])
);

/** Code that finds a run again. */
export const attachIcon = icon('attach', lines('<path d="M8 7l-5 5 5 5M16 7l5 5-5 5M13.5 5l-3 14"/>'));

/** Two vertical bars. */
export const pauseIcon = icon(
  'pause',
  full('<rect x="6.5" y="5" width="3.8" height="14" rx="1"/><rect x="13.7" y="5" width="3.8" height="14" rx="1"/>')
);

/** Two curves of which one is higher. */
export const compareIcon = icon('compare', lines('<path d="M3.5 19c4-1 5-13 17-14M3.5 19c6-.5 8-6.5 17-7.5"/>'));
