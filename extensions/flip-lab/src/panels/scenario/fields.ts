// The form of a scenario's text: which fields it has, what stands in them, and how that is
// written. Fields, ranges and problems are the server's; nothing is judged here.

import { IToml, TomlScalar, TomlValue } from './toml';
import { literalOf } from './toml_edit';

/** One value that can be set, as `POST /scenarios/check` describes it. */
export interface IField {
  path: string;
  label: string;
  kind: 'boolean' | 'integer' | 'number' | 'text' | 'list' | 'scalar' | 'prose';
  of: string;
  words: string;
  help: string;
  unit: string;
  /** What holds now: the text's value, or what is taken where it says nothing. */
  default: TomlScalar | TomlScalar[] | null;
  choices: string[];
  is_closed: boolean;
  about: string;
  least: number | null;
  most: number | null;
  above: number | null;
  below: number | null;
  is_option: boolean;
  is_optional: boolean;
}

/** A problem of a text, as the API tells it. */
export interface ITrouble {
  code: string;
  what: string;
  fix: string;
}

/** A field, and what the text says about it. */
export interface IRow {
  field: IField;
  /** What stands in the text, as one would type it; `null` where it says nothing. */
  raw: string | boolean | null;
  /** What holds where the text says nothing. */
  usual: string;
  /** Whether the text can do without it. */
  isRemovable: boolean;
}

export interface IGroup {
  key: GroupKey;
  rows: IRow[];
}

export type GroupKey = 'about' | 'data' | 'model' | 'strategy' | 'train';

const GROUPS: readonly GroupKey[] = ['about', 'data', 'model', 'strategy', 'train'];
const REQUIRED = new Set(['name', 'data.dataset', 'data.num_partitions']);
/** Names that say which options a table has. */
export const NAMES: Readonly<Record<string, string>> = {
  'data.partitioner': 'data.options',
  'model.name': 'model.options',
  'strategy.name': 'strategy.options'
};

/** Gives the form: every field in its group, with what the text says. */
export function groupsOf(toml: IToml, fields: readonly IField[]): IGroup[] {
  const rows = fields
    .filter(field => field.kind !== 'prose')
    .map(field => ({
      field,
      raw: rawOf(toml, field),
      usual: shown(field.default),
      isRemovable: !REQUIRED.has(field.path)
    }));
  return GROUPS.map(key => ({ key, rows: rows.filter(({ field }) => groupOf(field.path) === key) })).filter(
    each => each.rows.length > 0
  );
}

function groupOf(path: string): GroupKey {
  const head = path.split('.')[0] as GroupKey;
  return path.includes('.') && GROUPS.includes(head) ? head : 'about';
}

/** Gives what stands in the text for a field, as one would type it. */
export function rawOf(toml: IToml, field: IField): string | boolean | null {
  const entry = toml.entries.get(field.path);
  if (entry === undefined) return null;
  if (typeof entry.value === 'number') return toml.text.slice(entry.start, entry.end); // 1e-3 stays 1e-3
  if (typeof entry.value === 'boolean' && field.kind === 'boolean') return entry.value;
  return shown(entry.value);
}

function shown(value: TomlValue | null): string {
  if (value === null) return '';
  if (Array.isArray(value)) return value.map(shown).join(', ');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/**
 * Gives what was put into a field as TOML.
 *
 * @returns `null` for an empty field, whose default shall hold; `undefined` for what is no
 * such value (yet): a text would have to stand there.
 */
export function literalFor(field: IField, raw: string | boolean): string | null | undefined {
  if (typeof raw === 'boolean') return String(raw);
  const text = field.kind === 'text' ? raw : raw.trim();
  if (text === '') return field.kind === 'text' && !field.is_optional && field.choices.length === 0 ? '""' : null;
  switch (field.kind) {
    case 'text':
      return literalOf(text);
    case 'list':
      return `[${text
        .split(',')
        .map(each => each.trim())
        .filter(Boolean)
        .map(each => scalarFor(field.of, each))
        .join(', ')}]`;
    case 'boolean':
      return text === 'true' || text === 'false' ? text : undefined;
    case 'scalar':
      return scalarFor('scalar', text);
    default:
      return numberFor(field.kind, text);
  }
}

/** Gives the same where something must be written: the check says what is wrong with it. */
export function literalAnyhow(field: IField, raw: string | boolean): string | null {
  const literal = literalFor(field, raw);
  return literal === undefined ? literalOf(String(raw).trim()) : literal;
}

function scalarFor(kind: string, text: string): string {
  if ((kind === 'boolean' || kind === 'scalar') && /^(true|false)$/.test(text)) return text;
  const number = kind === 'text' ? undefined : numberFor('number', text);
  return number ?? literalOf(text);
}

/** Writes a number as it was typed where TOML lets us: 1e-3 and 1_000, but not .5 or 1. */
function numberFor(kind: string, text: string): string | undefined {
  const plain = text.replace(/(?<=\d)_(?=\d)/g, '');
  if (/^[+-]?(0|[1-9]\d*)$/.test(plain)) return text;
  if (kind === 'integer') return undefined;
  if (/^[+-]?(inf|nan)$/.test(text)) return text;
  if (/^[+-]?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?$/i.test(plain)) return text;
  const isNumber = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(plain) && Number.isFinite(Number(plain));
  if (!isNumber || plain.endsWith('.')) return undefined; // somebody goes on typing
  return String(Number(plain));
}

/** Gives the keys of the text that no field is for, tables first. */
export function strangers(toml: IToml, fields: readonly IField[]): string[] {
  const known = new Set(fields.map(field => field.path));
  const isKnown = (path: string): boolean => known.has(path) || path.startsWith('expect[') || path === 'expect';
  const isAbove = (path: string): boolean =>
    [...known].some(each => each.startsWith(`${path}.`)) || path.endsWith('.options');
  return [...toml.entries.keys()].filter(path => !isKnown(path) && !isAbove(path));
}

/** Says which range a number may have, in signs. */
export function rangeText({ least, most, above, below }: IField): string {
  if (least !== null && most !== null) return `${least} – ${most}`;
  const parts: string[] = [];
  if (above !== null) parts.push(`> ${above}`);
  if (least !== null) parts.push(`≥ ${least}`);
  if (below !== null) parts.push(`< ${below}`);
  if (most !== null) parts.push(`≤ ${most}`);
  return parts.join(', ');
}
