import { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { lab } from './lab';
import { launcher } from './launcher';
import { notebooks } from './notebooks';
import { notices } from './notices';
import { panels } from './panels';
import { sidebar } from './sidebar';
import { statusBar } from './status_bar';
import { steering } from './steering_commands';

const plugins: JupyterFrontEndPlugin<unknown>[] = [
  lab,
  steering,
  sidebar,
  notebooks,
  launcher,
  statusBar,
  notices,
  ...panels
];
export default plugins;
