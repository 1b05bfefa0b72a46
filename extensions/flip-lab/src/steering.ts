import { IRunRow, RunState } from './runs/rows';

/** What a person can ask of a run from a list. */
export type Action = 'pause' | 'resume' | 'stop';

const POSSIBLE: Record<RunState, readonly Action[]> = {
  pending: ['stop'],
  starting: ['stop'],
  running: ['pause', 'stop'],
  paused: ['resume', 'stop'],
  completed: [],
  failed: ['resume'],
  stopped: ['resume']
};

/** Whether a run in its state can be asked that; imported runs can be asked nothing. */
export function isPossible(action: Action, row: IRunRow): boolean {
  return row.kind !== 'imported' && POSSIBLE[row.state].includes(action);
}

/** A request that asks a run for something. */
export interface IAsked {
  path: string;
  body: Record<string, unknown>;
}

/** Gives the request; a run that ended goes on from its newest checkpoint. */
export function asked(action: Action, row: IRunRow): IAsked {
  const path = `runs/${encodeURIComponent(row.run_id)}`;
  if (action === 'resume' && row.state !== 'paused') return { path: `${path}/resume`, body: {} };
  return { path: `${path}/commands`, body: { command: action } };
}
