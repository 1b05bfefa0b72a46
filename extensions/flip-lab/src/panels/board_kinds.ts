// The boards that there are: what their address takes, and how each is put back.

import type { Question, Resume, Values } from './board_model';

/** The kinds of `/boards/<kind>`. */
export type BoardKind = 'run' | 'comparer' | 'launcher' | 'partitions' | 'fleet';

/** How each kind of board is put back on another connection. */
export const RESUMES: Record<BoardKind, Resume> = {
  run: () => ({}), // all that is done to a run is on record
  comparer: resumeComparer,
  launcher: resumeLauncher,
  partitions: before => ({ values: { settings: before.settings } }),
  fleet: before => ({ values: { settings: before.settings } })
};

/** The ticks are places in a list, which has other runs by now. */
function resumeComparer(before: Values, fresh: Values): { values: Values } {
  const idsOf = (parts: Values) => (parts.catalogue as { ids: string[] }).ids;
  const [was, is] = [idsOf(before), new Map(idsOf(fresh).map((id, at) => [id, at]))];
  const chosen = (before.chosen as number[])
    .map(at => is.get(was[at]))
    .filter((at): at is number => at !== undefined)
    .sort((one, other) => one - other);
  return { values: { chosen, settings: before.settings } };
}

/** A form that nobody filled in needs nothing; what was typed is typed again. */
function resumeLauncher(before: Values, fresh: Values): { questions: Question[] } {
  const { edits, by } = before.verdict as { edits: Values; by: string };
  const what = (before.form as { what: string }).what;
  const questions: Question[] = [];
  if (what !== (fresh.form as { what: string }).what) {
    questions.push({ ask: 'choose', what, edits });
  }
  if (Object.keys(edits).length) {
    questions.push({ ask: 'change', edits, by });
  }
  return { questions };
}
