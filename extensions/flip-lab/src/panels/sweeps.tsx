import { ReactWidget } from '@jupyterlab/apputils';
import { CommandRegistry } from '@lumino/commands';
import React, { useMemo, useState } from 'react';
import { numberText } from '../format';
import { IRunRow } from '../runs/rows';
import { roundsText, stateText, whenText } from '../runs/words';
import { CommandIDs, IFlip } from '../tokens';
import { useNow, useVersion } from '../views/hooks';
import { Button, Search } from './parts';
import { ISweep, ranked, sweepsOf } from './sweeps_list';

const FIRST_ROWS = 200;

/** The sweeps of the lab, and their runs; as current as the list of runs. */
export class Sweeps extends ReactWidget {
  constructor(
    private readonly _flip: IFlip,
    private readonly _commands: CommandRegistry
  ) {
    super();
    this.addClass('jp-FlipPanel');
  }

  protected override render(): JSX.Element {
    return <SweepList flip={this._flip} commands={this._commands} />;
  }
}

interface IProps {
  flip: IFlip;
  commands: CommandRegistry;
}

function SweepList({ flip, commands }: IProps): JSX.Element {
  const { trans, runs } = flip;
  const version = useVersion(runs);
  const sweeps = useMemo(() => sweepsOf(runs.rows), [runs, version]);
  const [words, setWords] = useState('');
  const shown = sweeps.filter(({ name }) => name.toLowerCase().includes(words.trim().toLowerCase()));
  return (
    <section aria-label={trans.__('Sweeps')}>
      <header className="jp-FlipHeader">
        <h1>{trans.__('Sweeps')}</h1>
        <p>{trans.__('Runs that were launched together to find out what a setting does.')}</p>
      </header>
      <div className="jp-FlipBar" role="search">
        <Search label={trans.__('Search sweeps')} value={words} onChange={setWords} />
        <span className="jp-FlipCount" role="status">
          {runs.state !== 'loading' && trans._n('%1 sweep', '%1 sweeps', shown.length)}
        </span>
      </div>
      {runs.state === 'loading' && <p className="jp-FlipEmpty">{trans.__('Reading the runs…')}</p>}
      {runs.state !== 'loading' && sweeps.length === 0 && (
        <p className="jp-FlipEmpty">
          {trans.__('There is no sweep yet. A launch that names one makes it:')}{' '}
          <code>lab.launch("digits-iid", sweep="rates", …)</code>
        </p>
      )}
      {shown.map((sweep, at) => (
        <Sweep key={sweep.name} sweep={sweep} isFirst={at === 0} flip={flip} commands={commands} />
      ))}
    </section>
  );
}

function Sweep({ sweep, isFirst, flip, commands }: IProps & { sweep: ISweep; isFirst: boolean }): JSX.Element {
  const { trans } = flip;
  const [isOpen, setIsOpen] = useState(isFirst);
  const best = sweep.best?.headline;
  const percent = Math.floor(100 * sweep.fraction + 0.5);
  return (
    <details className="jp-FlipGroup" open={isOpen} onToggle={event => setIsOpen(event.currentTarget.open)}>
      <summary>
        <h2>{sweep.name}</h2>
        <span>{sweep.states.map(({ state, count }) => `${count} ${stateText(state, trans)}`).join(' · ')}</span>
        {best && (
          <span>
            {trans.__('best')} {best.name} <strong>{numberText(best.value)}</strong>
          </span>
        )}
        <progress max={100} value={percent} aria-label={trans.__('%1 % of %2 is done', percent, sweep.name)} />
      </summary>
      {isOpen && <Members sweep={sweep} flip={flip} commands={commands} />}
    </details>
  );
}

function Members({ sweep, flip, commands }: IProps & { sweep: ISweep }): JSX.Element {
  const { trans } = flip;
  const [isByValue, setIsByValue] = useState(true);
  const [isWhole, setIsWhole] = useState(false);
  const order = isByValue ? ranked(sweep.runs) : [];
  const first = new Set(order);
  const rows = [...order, ...sweep.runs.filter(row => !first.has(row))];
  const compare = (): void =>
    void commands.execute(CommandIDs.compareRuns, { run_ids: sweep.runs.map(row => row.run_id) });
  return (
    <>
      <div className="jp-FlipBar">
        <Button isMain onClick={compare} label={trans.__('Open in comparer: %1', sweep.name)}>
          {trans.__('Open in comparer')}
        </Button>
        <label className="jp-FlipTick">
          <input type="checkbox" checked={isByValue} onChange={event => setIsByValue(event.target.checked)} />
          {trans.__('Best first')}
        </label>
      </div>
      <div className="jp-FlipScroll">
        <table className="jp-FlipTable">
          <thead>
            <tr>
              <th scope="col">{trans.__('Run')}</th>
              <th scope="col">{trans.__('State')}</th>
              <th scope="col" className="jp-mod-number">
                {sweep.best?.headline?.name ?? trans.__('Metric')}
              </th>
              <th scope="col" className="jp-mod-number">
                {trans.__('Rounds')}
              </th>
              <th scope="col" className="jp-mod-number">
                {trans.__('Seed')}
              </th>
              <th scope="col">{trans.__('Tags')}</th>
              <th scope="col">{trans.__('Launched')}</th>
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, isWhole ? undefined : FIRST_ROWS).map(row => (
              <Member key={row.run_id} row={row} flip={flip} commands={commands} />
            ))}
          </tbody>
        </table>
        {rows.length > FIRST_ROWS && !isWhole && (
          <Button onClick={() => setIsWhole(true)}>{trans.__('Show all %1 runs', rows.length)}</Button>
        )}
      </div>
    </>
  );
}

function Member({ row, flip, commands }: IProps & { row: IRunRow }): JSX.Element {
  const { trans } = flip;
  const now = useNow();
  return (
    <tr>
      <th scope="row">
        <button
          type="button"
          className="jp-FlipLink"
          onClick={() => void commands.execute(CommandIDs.openRun, { run_id: row.run_id })}
        >
          {row.name || row.run_id}
        </button>
        <code>{row.run_id}</code>
      </th>
      <td>
        <span className="jp-FlipState" data-state={row.state}>
          {stateText(row.state, trans)}
        </span>
      </td>
      <td className="jp-mod-number">{row.headline ? numberText(row.headline.value) : '–'}</td>
      <td className="jp-mod-number">{roundsText(row)}</td>
      <td className="jp-mod-number">{row.seed}</td>
      <td>{row.tags.join(', ')}</td>
      <td>{whenText(row, now, 'short')}</td>
    </tr>
  );
}
