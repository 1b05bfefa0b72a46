import { IRunRow, RunState, isFinal } from './rows';

/** `any`, those under way, those that ended, or one state. */
export type StateChoice = 'any' | 'active' | 'ended' | RunState;

export interface IRunFilter {
  /** Words that must all occur in a run's names, tags, note, engine or state. */
  text: string;
  state: StateChoice;
  archived: boolean;
}

/** What a run can be found by, in small letters; made once for each row. */
const haystacks = new WeakMap<IRunRow, string>();

function haystack(row: IRunRow): string {
  let text = haystacks.get(row);
  if (text === undefined) {
    const told = [row.run_id, row.name, row.experiment, row.sweep, row.engine, row.federation];
    text = [...told, row.state, ...row.tags, row.note].join(' ').toLowerCase();
    haystacks.set(row, text);
  }
  return text;
}

/** Gives the rows that a filter lets pass, in their order. */
export function filtered(rows: readonly IRunRow[], filter: IRunFilter): IRunRow[] {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter(
    row =>
      (filter.archived || !row.is_archived) &&
      isChosen(row.state, filter.state) &&
      (words.length === 0 || words.every(word => haystack(row).includes(word)))
  );
}

function isChosen(state: RunState, choice: StateChoice): boolean {
  if (choice === 'any') return true;
  if (choice === 'active') return !isFinal(state);
  if (choice === 'ended') return isFinal(state);
  return state === choice;
}
