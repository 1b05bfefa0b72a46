import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILauncher } from '@jupyterlab/launcher';
import { CATEGORY, CommandIDs, IFlip } from './tokens';

const CARDS = [
  CommandIDs.newNotebook,
  CommandIDs.openGallery,
  CommandIDs.openRuns,
  CommandIDs.openSweeps,
  CommandIDs.openNodes,
  CommandIDs.openModels
];

/** The cards of the launcher. */
export const launcher: JupyterFrontEndPlugin<void> = {
  id: 'flip-lab:launcher',
  description: 'The cards of the launcher.',
  autoStart: true,
  requires: [IFlip],
  optional: [ILauncher],
  activate: (app: JupyterFrontEnd, _flip: IFlip, cards: ILauncher | null): void => {
    const add = (): void => {
      const there = CARDS.filter(command => app.commands.hasCommand(command)); // a plugin may be switched off
      there.forEach((command, place) => cards?.add({ command, category: CATEGORY, rank: place + 1 }));
    };
    void app.started.then(add);
  }
};
