import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILauncher } from '@jupyterlab/launcher';
import { CATEGORY, CommandIDs, IFlip } from './tokens';

/** Those that panels add stand between them. */
const CARDS: [command: string, rank: number][] = [
  [CommandIDs.newNotebook, 1],
  [CommandIDs.openRuns, 3],
  [CommandIDs.openNodes, 6]
];

/** The cards of the launcher. */
export const launcher: JupyterFrontEndPlugin<void> = {
  id: 'flip-lab:launcher',
  description: 'The cards of the launcher.',
  autoStart: true,
  requires: [IFlip],
  optional: [ILauncher],
  activate: (_app: JupyterFrontEnd, _flip: IFlip, cards: ILauncher | null): void => {
    for (const [command, rank] of CARDS) cards?.add({ command, category: CATEGORY, rank });
  }
};
