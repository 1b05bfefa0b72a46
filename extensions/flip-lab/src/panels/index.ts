import { JupyterFrontEndPlugin } from '@jupyterlab/application';

/** The panels of the main area. */
export const panels: JupyterFrontEndPlugin<unknown>[] = [];
