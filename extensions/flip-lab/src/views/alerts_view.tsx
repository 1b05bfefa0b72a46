import { CommandRegistry } from '@lumino/commands';
import React from 'react';
import { Alerts, IAlert } from '../alerts';
import { agoText } from '../format';
import { CommandIDs, IFlip } from '../tokens';
import { useNow, useVersion } from './hooks';
import { Trouble } from './trouble';

export interface IAlertsView {
  flip: IFlip;
  alerts: Alerts;
  commands: CommandRegistry;
}

/** Runs that failed or were lost, and warnings, newest first. Looking at them makes them seen. */
export function AlertsView({ flip, alerts, commands }: IAlertsView): JSX.Element {
  const version = useVersion(alerts);
  const now_ms = useNow();
  const fresh = React.useRef(new Set<string>());
  for (const alert of alerts.items) if (alerts.isNew(alert)) fresh.current.add(keyOf(alert));
  React.useEffect(() => alerts.seen(), [alerts, version]);
  const { trans } = flip;
  if (alerts.error !== null && alerts.items.length === 0) return <Trouble flip={flip} error={alerts.error} />;
  if (alerts.items.length === 0) return <p className="jp-FlipLab-nothing">{trans.__('Nothing went wrong.')}</p>;
  const open = (alert: IAlert): void => void commands.execute(CommandIDs.openRun, { run_id: alert.run_id });
  return (
    <ul className="jp-FlipLab-alerts" aria-label={trans.__('Alerts, newest first')}>
      {alerts.items.map(alert => (
        <li key={keyOf(alert)} data-level={alert.level} data-new={fresh.current.has(keyOf(alert)) || undefined}>
          <div className="jp-FlipLab-alert-head">
            <button type="button" className="jp-FlipLab-link" onClick={() => open(alert)} title={alert.run_id}>
              {alert.name}
            </button>
            {alert.time_at !== null && <time dateTime={alert.time_at}>{agoText(alert.time_at, now_ms)}</time>}
          </div>
          <p>
            {alert.code !== '' && <code>{alert.code}</code>} {alert.message}
          </p>
        </li>
      ))}
    </ul>
  );
}

function keyOf({ run_id, sequence, time_at }: IAlert): string {
  return `${run_id} ${sequence} ${time_at}`; // a run that was resumed can fail again
}
