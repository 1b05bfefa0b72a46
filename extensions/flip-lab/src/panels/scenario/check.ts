// What is wrong with a scenario's text, field by field, although the server tells one problem
// at a time: what is to blame is put aside, and the rest is looked at again.

import { IField, ITrouble } from './fields';
import { IToml, TomlError, lineOf, readToml } from './toml';
import { literalOf, removing, setting, spliced } from './toml_edit';

/** What the server says of a text: its fields, or the first problem. */
export type Answer = { fields: IField[] } | { trouble: ITrouble };

export interface IVerdict {
  /** The fields that the text has; those known before where it cannot be said. */
  fields: IField[];
  /** By path; under the empty path what no value is to blame for. */
  troubles: Map<string, ITrouble>;
}

const MOST_PROBLEMS = 8;

/**
 * Asks the server about a text until nothing is wrong with what is left of it.
 *
 * @param ask Asks about one text.
 * @param known The fields that are known from before.
 */
export async function examined(
  text: string,
  ask: (text: string) => Promise<Answer>,
  known: readonly IField[]
): Promise<IVerdict> {
  const troubles = new Map<string, ITrouble>();
  let rest = text;
  for (let round = 0; round < MOST_PROBLEMS; round += 1) {
    const answer = await ask(rest);
    if ('fields' in answer) return { fields: answer.fields, troubles };
    const toml = readable(rest);
    const path = toml === null ? '' : culprit(answer.trouble, toml, known);
    if (toml === null || path === '' || troubles.has(path)) {
      if (!troubles.has(path)) troubles.set(path, answer.trouble);
      break;
    }
    troubles.set(path, answer.trouble);
    const next = without(toml, path, known);
    if (next === null) break;
    rest = next;
  }
  return { fields: [...known], troubles };
}

/** Gives a text as a table of values; `null` where it is no TOML. */
export function readable(text: string): IToml | null {
  try {
    return readToml(text);
  } catch (error) {
    if (error instanceof TomlError) return null;
    throw error;
  }
}

/** Finds the value that is to blame: the path that a message names, or whose value it quotes. */
export function culprit(trouble: ITrouble, toml: IToml, known: readonly IField[]): string {
  const tables = toml.sections.map(({ path }) => path);
  const isThere = (path: string): boolean =>
    toml.entries.has(path) || tables.includes(path) || known.some(field => field.path === path);
  const words = trouble.what.matchAll(/(?:^|')((?:[\w-]+(?:\[\d+\])?\.)*[\w-]+(?:\[\d+\])?)(?='| is )/g);
  const named = [...words].map(each => each[1]).find(isThere);
  if (named !== undefined) return named;
  const quoted = /'([^']*)'/.exec(trouble.what)?.[1];
  const found = [...toml.entries].find(([path, { value }]) => value === quoted && !path.startsWith('expect'));
  return found?.[0] ?? '';
}

/** Gives the text as if that value were all right. */
function without(toml: IToml, path: string, known: readonly IField[]): string | null {
  const usual = known.find(field => field.path === path);
  const isNeeded = path === 'name' || path === 'data.dataset' || path === 'data.num_partitions';
  if (isNeeded && usual !== undefined && usual.default !== null) {
    return spliced(toml.text, setting(toml, path, literalOf(usual.default)));
  }
  const splice = removing(toml, path);
  return splice && spliced(toml.text, splice);
}

/** Finds the line that a problem is about: where the value stands, or what the message says. */
export function lineFor(path: string, trouble: ITrouble, toml: IToml | null): number | null {
  const place =
    toml?.entries.get(path)?.keyStart ?? toml?.sections.find(each => each.path === path && path !== '')?.start;
  if (toml && place !== undefined) return lineOf(toml.text, place);
  const said = /\bline (\d+)/.exec(trouble.what);
  return said ? Number(said[1]) : null;
}
