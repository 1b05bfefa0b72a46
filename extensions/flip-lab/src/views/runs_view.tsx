import { CommandRegistry } from '@lumino/commands';
import React from 'react';
import { attachIcon, compareIcon, federationIcon, pauseIcon } from '../icons';
import { LabIcon, addIcon, launchIcon, runIcon, stopIcon } from '@jupyterlab/ui-components';
import { RunsBrowser } from '../runs/browser';
import { StateChoice } from '../runs/filter';
import { ORDERS, Order } from '../runs/order';
import { RUN_STATES } from '../runs/rows';
import { stateText } from '../runs/words';
import { CommandIDs, IFlip } from '../tokens';
import { useVersion } from './hooks';
import { RunsList } from './runs_list';

export interface IRunsView {
  flip: IFlip;
  browser: RunsBrowser;
  commands: CommandRegistry;
}

/** All runs: a filter, a list, and what can be done with the chosen ones. */
export function RunsView({ flip, browser, commands }: IRunsView): JSX.Element {
  useVersion(browser);
  useVersion(flip.runs);
  const open = (run_id: string): void => void commands.execute(CommandIDs.openRun, { run_id });
  const keys = (event: React.KeyboardEvent, run_id: string): void => {
    if (event.key !== ' ') return;
    event.preventDefault();
    const id = flip.runs.row(run_id)?.state === 'running' ? CommandIDs.pauseRun : CommandIDs.resumeRun;
    if (commands.isEnabled(id, { run_id })) void commands.execute(id, { run_id });
  };
  return (
    <div className="jp-FlipLab-runs-view">
      <Filters flip={flip} browser={browser} />
      <Actions flip={flip} browser={browser} commands={commands} />
      {browser.rows.length > 0 ? (
        <RunsList flip={flip} browser={browser} onOpen={open} onKey={keys} />
      ) : (
        <Nothing flip={flip} commands={commands} />
      )}
      <Counts flip={flip} browser={browser} />
    </div>
  );
}

function Filters({ flip: { trans }, browser }: { flip: IFlip; browser: RunsBrowser }): JSX.Element {
  const choices: [StateChoice, string][] = [
    ['any', trans.__('All states')],
    ['active', trans.__('Under way')],
    ['ended', trans.__('Ended')],
    ...RUN_STATES.map((state): [StateChoice, string] => [state, stateText(state, trans)])
  ];
  const orders: Record<Order, string> = {
    newest: trans.__('Newest first'),
    oldest: trans.__('Oldest first'),
    name: trans.__('By name'),
    progress: trans.__('By progress'),
    metric: trans.__('By metric')
  };
  return (
    <div className="jp-FlipLab-filters">
      <input
        type="search"
        className="jp-mod-styled"
        placeholder={trans.__('Filter runs')}
        aria-label={trans.__('Filter runs by name, tag, note, engine')}
        value={browser.filter.text}
        onChange={event => browser.narrow({ text: event.target.value })}
      />
      <select
        aria-label={trans.__('State')}
        value={browser.filter.state}
        onChange={event => browser.narrow({ state: event.target.value as StateChoice })}
      >
        {choices.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
      <select
        aria-label={trans.__('Order')}
        value={browser.order}
        onChange={event => browser.sort(event.target.value as Order)}
      >
        {ORDERS.map(order => (
          <option key={order} value={order}>
            {orders[order]}
          </option>
        ))}
      </select>
    </div>
  );
}

/** Starts a run, or acts on the one under the cursor; comparing takes all chosen ones. */
function Actions({ flip, browser, commands }: IRunsView): JSX.Element {
  const { trans } = flip;
  const chosen = browser.chosen;
  const run_id = browser.active?.run_id ?? chosen[0]?.run_id;
  const one = [
    [CommandIDs.openRun, launchIcon, trans.__('Open')],
    [CommandIDs.pauseRun, pauseIcon, trans.__('Pause')],
    [CommandIDs.resumeRun, runIcon, trans.__('Resume')],
    [CommandIDs.stopRun, stopIcon, trans.__('Stop')],
    [CommandIDs.insertAttachCode, attachIcon, trans.__('Attach code')]
  ] as const;
  return (
    <div role="toolbar" className="jp-FlipLab-actions" aria-label={trans.__('Runs')}>
      <Act
        icon={addIcon}
        text={trans.__('New run')}
        tip={trans.__('New run: choose a scenario, set its values, launch it')}
        isOff={!commands.hasCommand(CommandIDs.openLaunchForm)}
        onAct={() => void commands.execute(CommandIDs.openLaunchForm)}
      />
      {one.map(([id, icon, text]) => (
        <Act
          key={id}
          icon={icon}
          text={text}
          tip={`${text}: ${commands.caption(id, { run_id: run_id ?? '' })}`}
          isOff={run_id === undefined || !isReady(commands, id, { run_id })}
          onAct={() => void commands.execute(id, { run_id })}
        />
      ))}
      <Act
        icon={compareIcon}
        text={chosen.length > 1 ? trans.__('Compare %1', chosen.length) : trans.__('Compare')}
        tip={trans.__('Compare: choose several runs with Ctrl or Shift')}
        isOff={chosen.length < 2 || !commands.hasCommand(CommandIDs.compareRuns)}
        onAct={() => void commands.execute(CommandIDs.compareRuns, { run_ids: chosen.map(row => row.run_id) })}
      />
    </div>
  );
}

function isReady(commands: CommandRegistry, id: string, args: { run_id: string }): boolean {
  return commands.hasCommand(id) && commands.isEnabled(id, args);
}

interface IAct {
  icon: LabIcon;
  /** Shown where there is room; read out everywhere. */
  text: string;
  tip: string;
  isOff: boolean;
  onAct: () => void;
}

/** A button with an icon; one that is off keeps the focus, so that it can be found. */
function Act(props: IAct): JSX.Element {
  return (
    <button
      type="button"
      className="jp-FlipLab-act"
      title={props.tip}
      aria-disabled={props.isOff}
      onClick={() => props.isOff || props.onAct()}
    >
      <props.icon.react tag="span" width="16px" height="16px" />
      <span className="jp-FlipLab-act-text">{props.text}</span>
    </button>
  );
}

function Counts({ flip, browser }: { flip: IFlip; browser: RunsBrowser }): JSX.Element {
  const { trans } = flip;
  const [shown, all] = [browser.rows.length, flip.runs.rows.length];
  const count = browser.chosen.length;
  return (
    <div className="jp-FlipLab-counts">
      <span aria-live="polite">
        {shown === all ? trans._n('%1 run', '%1 runs', all) : trans.__('%1 of %2 runs', shown, all)}
      </span>
      {count > 1 && <span>{trans.__('%1 chosen', count)}</span>}
    </div>
  );
}

/** What to do where there is no run, or the filter lets none pass. */
function Nothing({ flip, commands }: { flip: IFlip; commands: CommandRegistry }): JSX.Element {
  const { trans } = flip;
  if (flip.runs.rows.length > 0) return <p className="jp-FlipLab-nothing">{trans.__('No run is like that.')}</p>;
  if (flip.runs.state === 'loading') return <div className="jp-FlipLab-nothing" />;
  return (
    <div className="jp-FlipLab-nothing">
      <federationIcon.react tag="span" width="48px" height="48px" />
      <p>{trans.__('No run yet. Start one from a scenario:')}</p>
      {commands.hasCommand(CommandIDs.openGallery) && (
        <button
          type="button"
          className="jp-FlipLab-button"
          onClick={() => void commands.execute(CommandIDs.openGallery)}
        >
          {trans.__('Scenario gallery')}
        </button>
      )}
      <button type="button" className="jp-FlipLab-button" onClick={() => void commands.execute(CommandIDs.newNotebook)}>
        {trans.__('New federation notebook')}
      </button>
    </div>
  );
}
