import { agoText, durationText, numberText } from '../format';
import { IRunRow, RunState, isFinal } from './rows';

/** The part of a translation bundle that is needed here. */
export interface IWords {
  __(text: string, ...values: unknown[]): string;
  _n(one: string, many: string, count: number, ...values: unknown[]): string;
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

/** The letters that end a run's id: enough to tell runs of one name apart, and to find one. */
export function shortId(row: IRunRow): string {
  return row.run_id.slice(row.run_id.lastIndexOf('-') + 1);
}

/** A run in a sentence or a title. */
export function titleText(row: IRunRow): string {
  return `${row.name} · ${shortId(row)}`;
}

/** How far a run is: `7/20`, or how many rounds it did where nobody said how many there are. */
export function roundsText(row: IRunRow): string {
  return row.num_rounds === null ? String(row.rounds_done) : `${row.rounds_done}/${row.num_rounds}`;
}

/** The name of the most telling metric, without what most of them begin with; may be empty. */
export function metricName(row: IRunRow): string {
  return row.headline?.name.replace(/^eval_/, '') ?? '';
}

/** The value of the most telling metric; may be empty. */
export function metricValue(row: IRunRow): string {
  return row.headline === null ? '' : numberText(row.headline.value);
}

/** When it was launched, from now. */
export function whenText(row: IRunRow, now_ms: number, style: 'short' | 'narrow'): string {
  return row.created_at === null ? '' : agoText(row.created_at, now_ms, style);
}

/** How long it took, or takes so far; empty before it began. */
export function tookText(row: IRunRow, now_ms: number): string {
  if (row.started_at === null) return '';
  if (row.ended_at === null && isFinal(row.state)) return '';
  const end_ms = row.ended_at === null ? now_ms : Date.parse(row.ended_at);
  const took_s = (end_ms - Date.parse(row.started_at)) / 1000;
  return row.ended_at !== null && took_s < 10 ? `${took_s.toFixed(1)} s` : durationText(took_s);
}

/** How many runs are under way, and how far they are together; empty where none is. */
export function activeText(active: readonly IRunRow[], trans: IWords): string {
  if (active.length === 0) return '';
  const known = active.filter(row => row.fraction !== null);
  const total = known.reduce((sum, row) => sum + (row.fraction ?? 0), 0);
  const percent = known.length === 0 ? '' : ` · ${Math.floor((100 * total) / known.length)} %`;
  return trans._n('%1 run', '%1 runs', active.length) + percent;
}
