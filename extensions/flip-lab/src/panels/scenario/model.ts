import { ISignal, Signal } from '@lumino/signaling';
import type { IApi } from '../../api';
import { ApiError, UnreachableError } from '../../problem';
import { Answer, IVerdict, examined, readable } from './check';
import { IField, ITrouble, NAMES, literalAnyhow, literalFor, strangers } from './fields';
import { IToml } from './toml';
import { ISplice, removing, setting } from './toml_edit';

/** The text that is edited, by whoever: the form, the editor beside it, another page. */
export interface IText {
  read(): string;
  /** Changes some characters and nothing else, as one step that can be undone. */
  splice(change: ISplice): void;
  readonly changed: ISignal<unknown, unknown>;
}

/** What the model needs of the API. */
export type Checking = Pick<IApi, 'get' | 'send'>;

const SOON_MS = 250; // after the last key
const RETRY_MS = 3_000;

/** A scenario's text, read as a form, and what the server says of it. */
export class ScenarioModel {
  private _toml: IToml | null = null;
  private _fields: IField[] = [];
  private _troubles: ReadonlyMap<string, ITrouble> = new Map();
  private _isChecked = false;
  private _isReachable = true;
  private _version = 0;
  private _numChecks = 0;
  private _timer = 0;
  private readonly _unpruned = new Set<string>();
  private readonly _changed = new Signal<this, void>(this);

  constructor(
    private readonly _text: IText,
    private readonly _api: Checking
  ) {
    _text.changed.connect(this._read, this);
    this._read();
  }

  dispose(): void {
    window.clearTimeout(this._timer);
    this._numChecks += 1; // what is under way is too late
    this._text.changed.disconnect(this._read, this);
    Signal.clearData(this);
  }

  /** The text as a table of values; where it is no TOML, what it was before. */
  get toml(): IToml | null {
    return this._toml;
  }

  /** Whether the form shows what the text says. */
  get isReadable(): boolean {
    return this._toml !== null && this._toml.text === this._text.read();
  }

  get fields(): readonly IField[] {
    return this._fields;
  }

  /** What is wrong, by path; under the empty path what no value is to blame for. */
  get troubles(): ReadonlyMap<string, ITrouble> {
    return this._troubles;
  }

  /** Whether the server has looked at this text. */
  get isChecked(): boolean {
    return this._isChecked;
  }

  get isReachable(): boolean {
    return this._isReachable;
  }

  get strangers(): string[] {
    return this._toml && this._fields.length ? strangers(this._toml, this._fields) : [];
  }

  /** Grows with each change. */
  get version(): number {
    return this._version;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  text(): string {
    return this._text.read();
  }

  /**
   * Puts a value into the text.
   *
   * @param isDone Whether it stays like that; until then half a number is not written.
   */
  put(field: IField, raw: string | boolean, isDone: boolean): void {
    const literal = isDone ? literalAnyhow(field, raw) : literalFor(field, raw);
    if (literal === undefined || !this._toml || !this.isReadable) return;
    if (literal === null) {
      this.remove(field.path);
      return;
    }
    const change = setting(this._toml, field.path, literal);
    if (this._toml.text.slice(change.start, change.end) === change.text) return;
    if (field.path in NAMES) this._unpruned.add(NAMES[field.path]);
    this._text.splice(change);
  }

  /** Takes a value out of the text; its default holds from then on. */
  remove(path: string): void {
    const change = this._toml && this.isReadable ? removing(this._toml, path) : null;
    if (change !== null) this._text.splice(change);
  }

  private _read(): void {
    this._toml = readable(this._text.read()) ?? this._toml;
    this._isChecked = false;
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(() => void this._check(), this._version === 0 ? 0 : SOON_MS);
    this._tell();
  }

  private async _check(): Promise<void> {
    this._numChecks += 1;
    const mine = this._numChecks;
    let verdict: IVerdict;
    try {
      if (this._fields.length === 0) this._fields = await this._usualFields();
      verdict = await examined(this._text.read(), text => this._ask(text), this._fields);
    } catch (error) {
      if (mine !== this._numChecks) return;
      if (!(error instanceof UnreachableError)) throw error;
      this._isReachable = false;
      this._timer = window.setTimeout(() => void this._check(), RETRY_MS);
      this._tell();
      return;
    }
    if (mine !== this._numChecks) return;
    this._fields = verdict.fields;
    this._troubles = verdict.troubles;
    this._isChecked = this._isReachable = true;
    this._tell();
    this._prune();
  }

  private async _ask(toml: string): Promise<Answer> {
    try {
      return await this._api.send<{ fields: IField[] }>('POST', 'scenarios/check', { toml });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return { trouble: { code: error.code, what: error.message, fix: error.fix } };
    }
  }

  /** A text that is wrong from the beginning has the fields of any scenario. */
  private async _usualFields(): Promise<IField[]> {
    const { items } = await this._api.get<{ items: { name: string }[] }>('scenarios');
    if (items.length === 0) return [];
    return (await this._api.get<{ fields: IField[] }>(`scenarios/${encodeURIComponent(items[0].name)}`)).fields;
  }

  /** Options of a name that the form has just replaced mean nothing any more. */
  private _prune(): void {
    const tables = [...this._unpruned];
    this._unpruned.clear();
    for (const path of this.strangers) {
      if (tables.some(table => path.startsWith(`${table}.`))) this.remove(path);
    }
    for (const table of tables) {
      const isEmpty = ![...(this._toml?.entries.keys() ?? [])].some(path => path.startsWith(`${table}.`));
      if (isEmpty) this.remove(table);
    }
  }

  private _tell(): void {
    this._version += 1;
    this._changed.emit();
  }
}
