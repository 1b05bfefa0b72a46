import { agoText, durationText, numberText } from '../format';
import { IRunRow, RunState, isFinal } from './rows';

/** The part of a translation bundle that is needed here. */
export interface IWords {
  __(text: string, ...values: unknown[]): string;
}

/** A state as a person says it. */
export function stateText(state: RunState, trans: IWords): string {
  const texts: Record<RunState, string> = {
    pending: trans.__('pending'),
    starting: trans.__('starting'),
    running: trans.__('running'),
    paused: trans.__('paused'),
    completed: trans.__('completed'),
    failed: trans.__('failed'),
    stopped: trans.__('stopped')
  };
  return texts[state] ?? state;
}

/** How far a run is: `7 / 20`, or how many rounds it did where nobody said how many there are. */
export function roundsText(row: IRunRow): string {
  return row.num_rounds === null ? String(row.rounds_done) : `${row.rounds_done} / ${row.num_rounds}`;
}

/** The most telling metric, without the words that all of them share. */
export function headlineText(row: IRunRow): string {
  if (row.headline === null) return '';
  return `${row.headline.name.replace(/^eval_/, '')} ${numberText(row.headline.value)}`;
}

/** When it was launched, from now. */
export function whenText(row: IRunRow, now_ms: number, language?: string): string {
  return row.created_at === null ? '' : agoText(row.created_at, now_ms, language);
}

/** How long it took, or takes so far; empty before it began. */
export function tookText(row: IRunRow, now_ms: number): string {
  if (row.started_at === null) return '';
  if (row.ended_at === null && isFinal(row.state)) return '';
  const end_ms = row.ended_at === null ? now_ms : Date.parse(row.ended_at);
  return durationText((end_ms - Date.parse(row.started_at)) / 1000);
}

/** One sentence for a screen reader. */
export function spokenText(row: IRunRow, trans: IWords): string {
  const told = [row.run_id, stateText(row.state, trans)];
  if (row.num_rounds !== null) told.push(trans.__('%1 of %2 rounds', row.rounds_done, row.num_rounds));
  if (row.headline !== null) told.push(`${row.headline.name} ${numberText(row.headline.value)}`);
  return told.join(', ');
}

/** A run, and the ones that are under way, for the status bar. */
export function activeText(active: readonly IRunRow[], trans: IWords): string {
  if (active.length === 0) return '';
  const known = active.filter(row => row.fraction !== null);
  const total = known.reduce((sum, row) => sum + (row.fraction ?? 0), 0);
  const percent = known.length === 0 ? '' : ` · ${Math.floor((100 * total) / known.length)} %`;
  return (active.length === 1 ? trans.__('1 run') : trans.__('%1 runs', active.length)) + percent;
}
