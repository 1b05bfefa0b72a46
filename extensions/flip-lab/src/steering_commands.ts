import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Dialog, ICommandPalette, Notification, showDialog } from '@jupyterlab/apputils';
import { LabIcon, runIcon, stopIcon } from '@jupyterlab/ui-components';
import { pauseIcon } from './icons';
import { tellTrouble } from './notice';
import { IRunRow } from './runs/rows';
import { titleText } from './runs/words';
import { Action, asked, isPossible } from './steering';
import { CATEGORY, CommandIDs, IFlip } from './tokens';

/** What the API says about a command. */
interface ITaken {
  from_round: number | null;
}

/** Pause, resume and stop: for the run that is named, or the current one. */
export const steering: JupyterFrontEndPlugin<void> = {
  id: 'flip-lab:steering',
  description: 'Commands that pause, resume and stop runs.',
  autoStart: true,
  requires: [IFlip],
  optional: [ICommandPalette],
  activate: (app: JupyterFrontEnd, flip: IFlip, palette: ICommandPalette | null): void => {
    const { trans } = flip;
    const add = (id: string, action: Action, label: string, caption: string, icon: LabIcon): void => {
      app.commands.addCommand(id, {
        label,
        caption,
        icon: args => (args['isPalette'] ? undefined : icon),
        isEnabled: args => {
          const row = named(app, flip, args['run_id']);
          return row !== null && isPossible(action, row);
        },
        execute: async args => {
          const row = named(app, flip, args['run_id']);
          if (row !== null && isPossible(action, row)) await ask(flip, action, row);
        }
      });
      palette?.addItem({ command: id, category: CATEGORY, args: { isPalette: true } });
    };
    add(
      CommandIDs.pauseRun,
      'pause',
      trans.__('Pause Run'),
      trans.__('No client starts until it is resumed'),
      pauseIcon
    );
    add(
      CommandIDs.resumeRun,
      'resume',
      trans.__('Resume Run'),
      trans.__('Go on, also after a stop or a failure'),
      runIcon
    );
    add(CommandIDs.stopRun, 'stop', trans.__('Stop Run…'), trans.__('End it and keep what it has done'), stopIcon);
    flip.runs.stepped.connect((_, { row }) => {
      if (row.run_id !== flip.currentRun) return;
      for (const id of [CommandIDs.pauseRun, CommandIDs.resumeRun, CommandIDs.stopRun])
        app.commands.notifyCommandChanged(id);
    });
  }
};

/** The id of the run that a command means: the one it names, the one under the menu, the current. */
export function meant(app: JupyterFrontEnd, flip: IFlip, run_id: unknown): string | null {
  if (typeof run_id === 'string') return run_id;
  return app.contextMenuHitTest(node => node.dataset['run'] !== undefined)?.dataset['run'] ?? flip.currentRun;
}

/** The run that a command means, if the lab has it. */
export function named(app: JupyterFrontEnd, flip: IFlip, run_id: unknown): IRunRow | null {
  const id = meant(app, flip, run_id);
  return id === null ? null : (flip.runs.row(id) ?? null);
}

async function ask(flip: IFlip, action: Action, row: IRunRow): Promise<void> {
  const { trans } = flip;
  if (action === 'stop' && flip.settings.confirmStop && !(await isConfirmed(flip, row))) return;
  const { path, body } = asked(action, row);
  try {
    const taken = await flip.api.send<ITaken | null>('POST', path, body);
    if (action === 'pause' && taken?.from_round) {
      Notification.info(trans.__('%1 pauses before round %2.', titleText(row), taken.from_round), { autoClose: 5_000 });
    }
  } catch (error) {
    tellTrouble(error, trans);
  }
}

async function isConfirmed(flip: IFlip, row: IRunRow): Promise<boolean> {
  const { trans } = flip;
  const answer = await showDialog({
    title: trans.__('Stop %1?', titleText(row)),
    body: trans.__('Its results so far are kept. It can be resumed from its newest checkpoint.'),
    buttons: [Dialog.cancelButton({ label: trans.__('Let it run') }), Dialog.warnButton({ label: trans.__('Stop') })]
  });
  return answer.button.accept;
}
