// Changes one value of a TOML text, and nothing else.
//
// A form that wrote the whole file anew would lose comments, order and spelling. Here a change
// is a splice of the text: only the characters of one value, or one line that is put in or
// taken out.

import { IEntry, ISpan, IToml, TomlScalar, TomlValue } from './toml';

/** A splice: the characters of a span become another text. */
export interface ISplice extends ISpan {
  text: string;
}

/** Give the splice that sets a value; `literal` is TOML. */
export function setting(toml: IToml, path: string, literal: string): ISplice {
  const known = toml.entries.get(path);
  if (known) {
    return { start: known.start, end: known.end, text: literal };
  }
  const [table, key] = split(path);
  const inline = toml.entries.get(table);
  if (inline?.inline !== undefined && isTable(inline.value)) {
    const isEmpty = !Object.keys(inline.value).length;
    const body = toml.text.slice(inline.start + 1, inline.end - 1).trimEnd();
    const at = inline.start + 1 + body.length;
    const text = isEmpty ? ` ${key} = ${literal} ` : `, ${key} = ${literal}`;
    return { start: at, end: isEmpty ? inline.end - 1 : at, text };
  }
  return newLine(toml, table, key, literal);
}

/** Give the splice that takes a value out, with its line where it has one; or a whole table. */
export function removing(toml: IToml, path: string): ISplice | null {
  const { text } = toml;
  const entry = toml.entries.get(path);
  if (!entry) {
    const table = toml.sections.find(each => each.path === path && path !== '');
    if (!table) {
      return null;
    }
    const start = text.slice(0, table.start).endsWith('\n\n') ? table.start - 1 : table.start;
    return { start, end: lineEnd(text, table.bodyEnd), text: '' };
  }
  if (entry.inline === null) {
    const start = lineStart(text, entry.keyStart);
    return { start, end: lineEnd(text, entry.end), text: '' };
  }
  const after = /^\s*,\s*/.exec(text.slice(entry.end));
  if (after) {
    return { start: entry.keyStart, end: entry.end + after[0].length, text: '' };
  }
  const before = /,?\s*$/.exec(text.slice(0, entry.keyStart)) as RegExpExecArray;
  return { start: before.index, end: entry.end, text: '' };
}

/** Give a text after a splice. */
export function spliced(text: string, { start, end, text: inserted }: ISplice): string {
  return text.slice(0, start) + inserted + text.slice(end);
}

/** Give a value as TOML; a text with line breaks takes several lines. */
export function literalOf(value: TomlScalar | TomlScalar[]): string {
  if (Array.isArray(value)) {
    return `[${value.map(each => literalOf(each)).join(', ')}]`;
  }
  if (typeof value === 'string') {
    return value.includes('\n') ? longText(value) : JSON.stringify(value).replace(/\x7f/g, '\\u007f');
  }
  return String(value);
}

function longText(value: string): string {
  const safe = value.replace(/\\/g, '\\\\').replace(/"""/g, '""\\"');
  return `"""\n${safe.endsWith('"') ? `${safe.slice(0, -1)}\\"` : safe}"""`;
}

// --- a line that is not there yet -----------------------------------------------------------

function newLine(toml: IToml, table: string, key: string, literal: string): ISplice {
  const sibling = lastOf(toml, entry => entry.inline === null && split(entry.path)[0] === table);
  if (sibling) {
    const written = sibling.key.slice(0, sibling.key.length - lastPart(sibling.key).length);
    const indent = toml.text.slice(lineStart(toml.text, sibling.keyStart), sibling.keyStart);
    return lineAfter(toml.text, sibling.end, `${indent}${written}${key} = ${literal}`);
  }
  const section = toml.sections.find(each => each.path === table);
  if (section && table) {
    return lineAfter(toml.text, section.bodyEnd, `${key} = ${literal}`);
  }
  if (!table) {
    return { start: 0, end: 0, text: `${key} = ${literal}\n` };
  }
  return newTable(toml, table, `${key} = ${literal}`);
}

/** A table stands after its parent, or else at the end. */
function newTable(toml: IToml, table: string, line: string): ISplice {
  const family = table.split('.')[0];
  const kin = toml.sections.filter(each => each.path === family || each.path.startsWith(`${family}.`));
  const isFirst = !kin.length;
  const at = isFirst ? toml.text.trimEnd().length : kin[kin.length - 1].bodyEnd;
  const gap = at === 0 ? '' : '\n';
  return lineAfter(toml.text, at, `${gap}[${table}]\n${line}`);
}

function lineAfter(text: string, at: number, line: string): ISplice {
  const end = lineEnd(text, at);
  const isOpen = end > 0 && text[end - 1] !== '\n';
  return { start: end, end, text: `${isOpen ? '\n' : ''}${line}\n` };
}

function lastOf(toml: IToml, isWanted: (entry: IEntry) => boolean): IEntry | undefined {
  return [...toml.entries.values()].filter(isWanted).pop();
}

function split(path: string): [string, string] {
  const at = path.lastIndexOf('.');
  return at < 0 ? ['', path] : [path.slice(0, at), path.slice(at + 1)];
}

function lastPart(key: string): string {
  return /(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^.\s]+)\s*$/.exec(key)?.[0] ?? key;
}

function lineStart(text: string, at: number): number {
  return text.lastIndexOf('\n', at - 1) + 1;
}

/** The end of a line, with its line break. */
function lineEnd(text: string, at: number): number {
  const found = text.indexOf('\n', at);
  return found < 0 ? text.length : found + 1;
}

function isTable(value: TomlValue): value is { [key: string]: TomlValue } {
  return typeof value === 'object' && !Array.isArray(value);
}
