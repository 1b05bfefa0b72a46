// Where the values of a TOML text stand. Whether the text makes sense is for the server to say;
// this scanner only refuses what it cannot find its way in. See https://toml.io/en/v1.0.0.

export type TomlScalar = string | number | boolean;
export type TomlValue = TomlScalar | TomlValue[] | { [key: string]: TomlValue };

/** A place in the text: from its first character up to, and without, its last. */
export interface ISpan {
  start: number;
  end: number;
}

/** A value and where it stands. */
export interface IEntry extends ISpan {
  /** Dotted, such as `train.num_rounds`; elements of arrays of tables as `expect[0].says`. */
  path: string;
  value: TomlValue;
  /** Where its key begins. */
  keyStart: number;
  /** Its key as it is written, such as `options.alpha`. */
  key: string;
  /** The path of the inline table that it stands in; `null` on a line of its own. */
  inline: string | null;
}

/** A table's header, and where the lines of the table end. */
export interface ISection {
  path: string;
  start: number;
  bodyEnd: number;
}

export interface IToml {
  text: string;
  /** By path, in the order of the text. Inline tables are there as a whole, and in parts. */
  entries: Map<string, IEntry>;
  sections: ISection[];
}

/** The text is no TOML, as far as this scanner sees. */
export class TomlError extends Error {
  constructor(
    message: string,
    readonly at: number
  ) {
    super(message);
  }
}

/**
 * Find all values of a text.
 *
 * @throws TomlError where it cannot be read.
 */
export function readToml(text: string): IToml {
  return new Scanner(text).document();
}

/** Give the line, from 1, that a place stands in. */
export function lineOf(text: string, at: number): number {
  return text.slice(0, at).split('\n').length;
}

// --- the scanner ----------------------------------------------------------------------------

const ESCAPES: Record<string, string> = {
  b: '\b',
  t: '\t',
  n: '\n',
  f: '\f',
  r: '\r',
  e: '\x1b',
  '"': '"',
  '\\': '\\'
};

class Scanner {
  constructor(private readonly _text: string) {}

  document(): IToml {
    this._sections.push({ path: '', start: 0, bodyEnd: 0 });
    for (this._skip(true); this._at < this._text.length; this._skip(true)) {
      if (this._text[this._at] === '[') {
        this._header();
      } else {
        this._pair(this._section.path, null);
        this._section.bodyEnd = this._at;
      }
      this._endLine();
    }
    return { text: this._text, entries: this._entries, sections: this._sections };
  }

  private get _section(): ISection {
    return this._sections[this._sections.length - 1];
  }

  private _header(): void {
    const start = this._at;
    const isArray = this._text.startsWith('[[', start);
    this._at += isArray ? 2 : 1;
    const names = this._key();
    this._expect(isArray ? ']]' : ']');
    let path = this._within(names);
    if (isArray) {
      const count = this._counts.get(path) ?? 0;
      this._counts.set(path, count + 1);
      path = `${path}[${count}]`;
    }
    this._sections.push({ path, start, bodyEnd: this._at });
  }

  /** A table below an array of tables belongs to its newest element. */
  private _within(names: string[]): string {
    let path = '';
    names.forEach((name, at) => {
      path = path ? `${path}.${name}` : name;
      const count = this._counts.get(path);
      if (count && at < names.length - 1) {
        path = `${path}[${count - 1}]`;
      }
    });
    return path;
  }

  private _pair(table: string, inline: string | null): [string[], TomlValue] {
    const keyStart = this._at;
    const names = this._key();
    const key = this._text.slice(keyStart, this._at).trimEnd();
    this._expect('=');
    this._skip();
    const path = [table, ...names].filter(Boolean).join('.');
    if (this._entries.has(path)) {
      throw this._error(`${path} is there twice`, keyStart);
    }
    const entry: IEntry = { path, key, keyStart, inline, start: this._at, end: 0, value: '' };
    this._entries.set(path, entry);
    entry.value = this._value(path);
    entry.end = this._at;
    return [names, entry.value];
  }

  private _key(): string[] {
    const names: string[] = [];
    do {
      this._skip();
      const quote = this._text[this._at];
      if (quote === '"' || quote === "'") {
        names.push(this._string());
      } else {
        names.push(this._match(/[\w-]+/y, 'a key'));
      }
      this._skip();
    } while (this._take('.'));
    return names;
  }

  /** @param path What an inline table's parts are known by; `null` where they are not. */
  private _value(path: string | null): TomlValue {
    const first = this._text[this._at];
    if (first === '"' || first === "'") {
      return this._string();
    }
    if (first === '[') {
      return this._array();
    }
    if (first === '{') {
      return this._inlineTable(path);
    }
    const word = this._match(/\d{4}-\d\d-\d\d \d\d:[\d:.+-]+Z?|[^\s,\]}#]+/y, 'a value');
    return scalarOf(word);
  }

  private _array(): TomlValue[] {
    const found: TomlValue[] = [];
    this._at += 1;
    for (this._skip(true); !this._take(']'); this._skip(true)) {
      found.push(this._value(null));
      this._skip(true);
      if (!this._take(',')) {
        this._expect(']');
        break;
      }
    }
    return found;
  }

  private _inlineTable(path: string | null): TomlValue {
    const found: { [key: string]: TomlValue } = {};
    const kept = this._entries;
    if (path === null) {
      this._entries = new Map(); // in an array: nobody asks for its parts
    }
    this._at += 1;
    for (this._skip(true); !this._take('}'); this._skip(true)) {
      const [names, value] = this._pair(path ?? '', path ?? '');
      found[names.join('.')] = value;
      this._skip(true);
      if (!this._take(',')) {
        this._expect('}');
        break;
      }
    }
    this._entries = kept;
    return found;
  }

  private _string(): string {
    const quote = this._text[this._at];
    const isLong = this._text.startsWith(quote.repeat(3), this._at);
    const mark = isLong ? quote.repeat(3) : quote;
    const start = this._at;
    this._at += mark.length;
    let raw = '';
    while (!this._text.startsWith(mark, this._at)) {
      const length = quote === '"' && this._text[this._at] === '\\' ? 2 : 1;
      const piece = this._text.slice(this._at, this._at + length);
      if (!piece || (!isLong && piece.includes('\n'))) {
        throw this._error('A text has no end', start);
      }
      raw += piece;
      this._at += length;
    }
    this._at += mark.length;
    while (isLong && this._take(quote)) {
      raw += quote; // up to two quotes may stand before the closing three
    }
    raw = isLong ? raw.replace(/^\r?\n/, '') : raw;
    return quote === '"' ? unescaped(raw) : raw;
  }

  // --- small steps

  private _skip(withLines = false): void {
    const pattern = withLines ? /(?:[\s\ufeff]+|#[^\n]*)*/y : /[ \t]*/y;
    pattern.lastIndex = this._at;
    pattern.exec(this._text);
    this._at = Math.max(this._at, pattern.lastIndex);
  }

  private _take(mark: string): boolean {
    const isThere = this._text.startsWith(mark, this._at);
    this._at += isThere ? mark.length : 0;
    return isThere;
  }

  private _expect(mark: string): void {
    this._skip();
    if (!this._take(mark)) {
      throw this._error(`'${mark}' is missing`);
    }
  }

  private _match(pattern: RegExp, what: string): string {
    pattern.lastIndex = this._at;
    const found = pattern.exec(this._text);
    if (!found) {
      throw this._error(`Here should be ${what}`);
    }
    this._at = pattern.lastIndex;
    return found[0];
  }

  private _endLine(): void {
    this._match(/[ \t]*(?:#[^\n]*)?(?=\r?\n|$)/y, 'the end of the line');
  }

  private _error(what: string, at = this._at): TomlError {
    return new TomlError(`Line ${lineOf(this._text, at)}: ${what}.`, at);
  }

  private _at = 0;
  private _entries = new Map<string, IEntry>();
  private readonly _sections: ISection[] = [];
  private readonly _counts = new Map<string, number>();
}

function scalarOf(word: string): TomlScalar {
  if (word === 'true' || word === 'false') {
    return word === 'true';
  }
  const plain = word.replace(/_/g, '');
  if (/^[+-]?(\d+(\.\d+)?(e[+-]?\d+)?|inf|nan)$/i.test(plain)) {
    return Number(plain.replace(/inf/i, 'Infinity'));
  }
  return /^0[xob][\da-f]+$/i.test(plain) ? Number(plain) : word; // dates stay as they are
}

function unescaped(raw: string): string {
  return raw.replace(/\\(?:[ \t]*\r?\n\s*|(u[\da-f]{4}|U[\da-f]{8}|.))/gi, (whole, code?: string) => {
    if (code === undefined) {
      return ''; // a backslash at the end of a line joins it with the next
    }
    return code.length > 1 ? String.fromCodePoint(parseInt(code.slice(1), 16)) : (ESCAPES[code] ?? whole);
  });
}
