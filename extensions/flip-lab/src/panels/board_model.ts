// The model of a board, as the widgets' scripts know it from anywidget, without a kernel.
//
// A board (flip_lab/boards) is drawn by the same script in a notebook and in a panel. In a
// panel its parts come by a WebSocket, which may break: what the person chose is kept here and
// put back, questions are asked again, and commands are never repeated. Nothing in this file
// knows of sockets or pages.

/** The parts of a board, or what a person chose in it, by name. */
export type Values = Record<string, unknown>;

/** A message of a script: a question (`ask`, `cells`) or a command. */
export type Question = Record<string, unknown>;

/** What goes to the server. */
export type Outgoing = { type: 'change'; values: Values } | ({ type: 'ask' } & Question);

/** What puts a new board where the old one was, after the connection broke. */
export interface IResume {
  /** What the person had chosen, as the new board takes it. */
  values?: Values;
  /** What must be asked after that. */
  questions?: Question[];
}

/** Says how a kind of board is put back, from its parts before and those of the new one. */
export type Resume = (before: Values, fresh: Values) => IResume;

type Handler = (value?: unknown) => void;

const SYNC = 'flip-lab-sync'; // the ticket of the question that ends a resumption

/** What anywidget calls a model, over any channel. */
export class BoardModel {
  /**
   * @param transmit Sends a message; only called while the board is online.
   * @param resume Says how the board is put back on another connection.
   */
  constructor(
    private _transmit: (message: Outgoing) => void,
    private _resume: Resume = () => ({})
  ) {}

  // --- what a script uses

  /** Give a part. */
  get(name: string): any {
    return this._values[name];
  }

  /** Choose something; the server hears of it at `save_changes`. */
  set(name: string, value: unknown): void {
    this._unsaved[name] = value;
    this._put({ [name]: value });
  }

  /** Tell the server what was chosen; offline it hears of it when it is back. */
  save_changes(): void {
    const values = this._unsaved;
    this._unsaved = {};
    if (!Object.keys(values).length) {
      return;
    }
    this._hasChosen = true;
    if (this._isOnline) {
      this._transmit({ type: 'change', values });
    }
  }

  /** Ask or command something; the answer comes as `msg:custom`. */
  send(question: Question): void {
    const { ticket } = question;
    if (!this._isOnline && isCommand(question)) {
      queueMicrotask(() => this._refuse(ticket, 'Nothing was sent: there is no connection.'));
      return;
    }
    if (ticket !== undefined && ticket !== null) {
      this._asked.set(ticket, question);
    }
    if (this._isOnline) {
      this._transmit({ type: 'ask', ...question });
    }
  }

  /** Listen to `change:<part>`, `change` or `msg:custom`. */
  on(event: string, handler: Handler): void {
    const handlers = this._handlers.get(event) ?? new Set();
    this._handlers.set(event, handlers.add(handler));
  }

  /** Listen no more: to one event or, without a name, to anything. */
  off(event?: string | null, handler?: Handler): void {
    const events = event ? [event] : [...this._handlers.keys()];
    for (const each of events) {
      if (handler) {
        this._handlers.get(each)?.delete(handler);
      } else {
        this._handlers.delete(each);
      }
    }
  }

  // --- what the channel tells

  /** Whether the first parts are there. */
  get isReady(): boolean {
    return this._isReady;
  }

  /**
   * Take parts: the first ones of a connection are the whole board.
   *
   * @param parts By name; bytes as `{"$base64": "…"}`.
   */
  takeParts(parts: Values): void {
    const decoded = Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, withBytes(part)]));
    if (this._fresh) {
      Object.assign(this._fresh, decoded);
    } else if (this._isOnline || !this._isReady) {
      this._isOnline = true;
      this._isReady = true;
      this._put(decoded, true);
    } else {
      this._reconnected(decoded);
    }
  }

  /** Take an answer. */
  takeAnswer(answer: Question): void {
    if (answer.ticket === SYNC) {
      this._settle();
      return;
    }
    this._asked.delete(answer.ticket);
    this._emit('msg:custom', answer);
  }

  /** The connection broke: the board stays as it is; what was commanded may be done or not. */
  lost(): void {
    this._isOnline = false;
    this._fresh = null;
    for (const [ticket, question] of [...this._asked]) {
      if (isCommand(question)) {
        this._refuse(ticket, 'The connection broke before the answer came: it may be done, or not.');
      }
    }
  }

  // --- inside

  private _reconnected(fresh: Values): void {
    this._isOnline = true;
    const { values = {}, questions = [] } = this._resume(this._values, fresh);
    const mine = this._hasChosen ? values : {};
    const isSame = Object.entries(mine).every(([name, value]) => same(value, fresh[name]));
    if (isSame && !questions.length) {
      this._put(fresh);
    } else {
      this._fresh = { ...fresh, ...mine }; // nobody shall see the defaults flash by
      if (!isSame) {
        this._transmit({ type: 'change', values: mine });
      }
      for (const question of [...questions, { ask: 'draw', ticket: SYNC }]) {
        this._transmit({ type: 'ask', ...question });
      }
    }
    for (const question of this._asked.values()) {
      this._transmit({ type: 'ask', ...question });
    }
  }

  private _settle(): void {
    const fresh = this._fresh;
    this._fresh = null;
    if (fresh) {
      this._put(fresh);
    }
  }

  private _put(values: Values, always = false): void {
    const changed = Object.keys(values).filter(name => always || !same(values[name], this._values[name]));
    Object.assign(this._values, values);
    for (const name of changed) {
      this._emit(`change:${name}`, values[name]);
    }
    if (changed.length) {
      this._emit('change');
    }
  }

  private _refuse(ticket: unknown, what: string): void {
    const fix = 'Wait until the panel is connected again, and look before you repeat it.';
    this.takeAnswer({ ticket, error: { code: '', what, fix } });
  }

  private _emit(event: string, value?: unknown): void {
    for (const handler of [...(this._handlers.get(event) ?? [])]) {
      handler(value);
    }
  }

  private _isOnline = false;
  private _isReady = false;
  private _values: Values = {};
  private _unsaved: Values = {};
  private _hasChosen = false;
  private _fresh: Values | null = null;
  private _asked = new Map<unknown, Question>();
  private _handlers = new Map<string, Set<Handler>>();
}

/** Whether a message does something, so that it must not be sent twice. */
export function isCommand(question: Question): boolean {
  return 'command' in question || question.ask === 'launch';
}

/** Give a part with its bytes as a `DataView`, as anywidget has them. */
export function withBytes(part: unknown): unknown {
  const text = (part as { $base64?: unknown } | null)?.$base64;
  if (typeof text !== 'string') {
    return part;
  }
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) {
    bytes[at] = binary.charCodeAt(at);
  }
  return new DataView(bytes.buffer);
}

function same(one: unknown, other: unknown): boolean {
  if (one instanceof DataView || other instanceof DataView) {
    return false; // bytes change whenever they are sent
  }
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}
