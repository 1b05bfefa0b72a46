import { JsonNumber } from '../format';

/** Where a run stands; the last three are final until somebody resumes the run. */
export type RunState = 'pending' | 'starting' | 'running' | 'paused' | 'completed' | 'failed' | 'stopped';

export const RUN_STATES: readonly RunState[] = [
  'pending',
  'starting',
  'running',
  'paused',
  'completed',
  'failed',
  'stopped'
];

/** A row of the list of runs, as the API gives it (flip_lab/api/live/rows.py). */
export interface IRunRow {
  run_id: string;
  name: string;
  kind: string;
  experiment: string;
  sweep: string | null;
  tags: string[];
  note: string;
  is_archived: boolean;
  state: RunState;
  engine: string;
  federation: string | null;
  seed: number;
  num_rounds: number | null;
  rounds_done: number;
  num_nodes: number;
  created_at: string | null;
  started_at: string | null;
  ended_at: string | null;
  parent_run_id: string | null;
  forked_at_round: number | null;
  error_code: string | null;
  error: string | null;
  /** The most telling metric; `null` before the first. */
  headline: { name: string; value: JsonNumber } | null;
  /** The share of its work that is done, 0 to 1; `null` while unknown. */
  fraction: number | null;
}

/** Whether nothing happens to a run any more by itself. */
export function isFinal(state: RunState): boolean {
  return state === 'completed' || state === 'failed' || state === 'stopped';
}

/** Orders runs: newest first, as the API does. */
export function newestFirst(one: IRunRow, other: IRunRow): number {
  const [mine, theirs] = [one.created_at ?? '', other.created_at ?? ''];
  if (mine !== theirs) return mine < theirs ? 1 : -1;
  return one.run_id < other.run_id ? 1 : one.run_id > other.run_id ? -1 : 0;
}
