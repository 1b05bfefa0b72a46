import { IRunRow } from '../src/runs/rows';

/** A run's row; later numbers were launched later. */
export function rowOf(number: number, about: Partial<IRunRow> = {}): IRunRow {
  return {
    run_id: `run-${String(number).padStart(5, '0')}`,
    name: 'digits-iid',
    kind: 'scenario',
    experiment: 'digits-iid',
    sweep: null,
    tags: [],
    note: '',
    is_archived: false,
    state: 'completed',
    engine: 'in_process',
    federation: null,
    seed: 0,
    num_rounds: 20,
    rounds_done: 20,
    num_nodes: 10,
    created_at: new Date(Date.UTC(2030, 0, 1) + 60_000 * number).toISOString(),
    started_at: null,
    ended_at: null,
    parent_run_id: null,
    forked_at_round: null,
    error_code: null,
    error: null,
    headline: null,
    fraction: 1,
    ...about
  };
}
