import { JsonNumber } from '../format';
import { IRunRow, RUN_STATES, RunState } from '../runs/rows';

/** The runs of a sweep, told together. */
export interface ISweep {
  name: string;
  /** Newest first. */
  runs: IRunRow[];
  states: { state: RunState; count: number }[];
  /** The share of its runs' work that is done, 0 to 1. */
  fraction: number;
  /** The run with the best headline, of the metric that most runs have. */
  best: IRunRow | null;
}

/** Gives the sweeps of the runs, that of the newest run first. */
export function sweepsOf(rows: readonly IRunRow[]): ISweep[] {
  const members = new Map<string, IRunRow[]>();
  for (const row of rows) {
    if (row.sweep === null) continue;
    const known = members.get(row.sweep) ?? [];
    members.set(row.sweep, known);
    known.push(row);
  }
  return [...members].map(([name, runs]) => ({
    name,
    runs,
    states: RUN_STATES.map(state => ({ state, count: runs.filter(row => row.state === state).length })).filter(
      each => each.count > 0
    ),
    fraction: runs.reduce((sum, row) => sum + (row.state === 'completed' ? 1 : (row.fraction ?? 0)), 0) / runs.length,
    best: ranked(runs)[0] ?? null
  }));
}

/** Gives the runs that have the usual headline, the best first. */
export function ranked(runs: readonly IRunRow[]): IRunRow[] {
  const counts = new Map<string, number>();
  for (const { headline } of runs) if (headline) counts.set(headline.name, (counts.get(headline.name) ?? 0) + 1);
  const usual = [...counts].sort((one, other) => other[1] - one[1])[0]?.[0];
  const measured = runs.filter(({ headline }) => headline?.name === usual && Number.isFinite(Number(headline?.value)));
  const sign = usual !== undefined && isCost(usual) ? 1 : -1;
  const value = ({ headline }: IRunRow): number => sign * Number(headline?.value as JsonNumber);
  return measured.sort((one, other) => value(one) - value(other));
}

/** Whether less of a metric is better. */
export function isCost(metric: string): boolean {
  return /loss|error|mse|mae|rmse|perplexity/i.test(metric);
}
