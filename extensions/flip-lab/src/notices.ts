import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { metricName, metricValue, titleText } from './runs/words';
import { IRunRow } from './runs/rows';
import { CommandIDs, IFlip } from './tokens';

/** Tells when a run ends; one that was stopped was stopped by somebody, who knows. */
export const notices: JupyterFrontEndPlugin<void> = {
  id: 'flip-lab:notices',
  description: 'Notifications when runs end.',
  autoStart: true,
  requires: [IFlip],
  activate: (app: JupyterFrontEnd, flip: IFlip): void => {
    const { trans, settings } = flip;
    const actionsOf = (row: IRunRow): Notification.IAction[] => {
      const open = (): void => void app.commands.execute(CommandIDs.openRun, { run_id: row.run_id });
      return app.commands.hasCommand(CommandIDs.openRun) ? [{ label: trans.__('Open'), callback: open }] : [];
    };
    flip.runs.stepped.connect((_, { row, before }) => {
      if (before === null || settings.notify === 'none') return;
      if (row.state === 'failed') {
        const why = row.error === null ? '' : `\n${row.error_code ?? ''} ${row.error}`.slice(0, 300);
        Notification.error(trans.__('%1 failed.', titleText(row)) + why, { actions: actionsOf(row), autoClose: false });
      } else if (row.state === 'completed' && settings.notify === 'all') {
        const best = `${metricName(row)} ${metricValue(row)}`.trim();
        const text =
          best === ''
            ? trans.__('%1 is complete.', titleText(row))
            : trans.__('%1 is complete: %2', titleText(row), best);
        Notification.success(text, { actions: actionsOf(row), autoClose: 8_000 });
      }
    });
  }
};
