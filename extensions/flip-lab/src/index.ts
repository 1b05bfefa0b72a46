import { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { lab } from './lab';
import { panels } from './panels';

const plugins: JupyterFrontEndPlugin<unknown>[] = [lab, ...panels];
export default plugins;
