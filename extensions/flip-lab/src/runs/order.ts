import { IRunRow, newestFirst } from './rows';

export type Order = 'newest' | 'oldest' | 'name' | 'progress' | 'metric';

export const ORDERS: readonly Order[] = ['newest', 'oldest', 'name', 'progress', 'metric'];

const COMPARED: Record<Order, (one: IRunRow, other: IRunRow) => number> = {
  newest: newestFirst,
  oldest: (one, other) => newestFirst(other, one),
  name: (one, other) => (one.name < other.name ? -1 : one.name > other.name ? 1 : newestFirst(one, other)),
  progress: (one, other) => (other.fraction ?? -1) - (one.fraction ?? -1) || newestFirst(one, other),
  metric: (one, other) => telling(other) - telling(one) || newestFirst(one, other)
};

/** A number to compare by: runs without one, and NaN, come last. */
function telling(row: IRunRow): number {
  const value = row.headline === null ? NaN : Number(row.headline.value);
  return Number.isNaN(value) ? -Number.MAX_VALUE : Math.max(-Number.MAX_VALUE, Math.min(Number.MAX_VALUE, value));
}

/** Gives rows in an order; those that come newest first already are given as they are. */
export function ordered(rows: readonly IRunRow[], order: Order): readonly IRunRow[] {
  return order === 'newest' ? rows : [...rows].sort(COMPARED[order]);
}
