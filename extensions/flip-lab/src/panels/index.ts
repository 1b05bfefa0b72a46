import { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { boards } from './boards';
import { lists } from './lists';
import { scenarios } from './scenario';

/** The panels of the main area. */
export const panels: JupyterFrontEndPlugin<unknown>[] = [boards, lists, scenarios];
