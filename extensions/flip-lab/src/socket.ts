import { ApiError, IProblem, problemOf } from './problem';

/** `waiting`: it broke and will be tried again; `closed`: it will not. */
export type SocketState = 'connecting' | 'open' | 'waiting' | 'closed';

/** The part of a browser's WebSocket that is used here. */
export interface IWebSocket {
  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent) => void) | null;
  onclose: ((event: CloseEvent) => void) | null;
  onerror: ((event: Event) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

/** What passes by; a test brings its own. */
export interface ITimers {
  set(call: () => void, delay_ms: number): number;
  clear(timer: number): void;
  random(): number;
}

export interface ISocketOptions {
  /** Asked at each attempt, so that it can say from where to go on. */
  url: () => string;
  /** Each message but heartbeats, problems and the end. */
  onMessage: (message: ILiveMessage) => void;
  onState?: (state: SocketState) => void;
  /** The server said why it will not go on. */
  onProblem?: (error: ApiError) => void;
  /** There is nothing more to come. */
  onEnd?: (message: ILiveMessage) => void;
  open: (url: string) => IWebSocket;
  timers?: ITimers;
}

/** A message of the server; `type` says which. */
export interface ILiveMessage {
  type: string;
  [field: string]: unknown;
}

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;
/** The server speaks at least every 10 s; three silences mean that nobody is there. */
const SILENCE_MS = 30_000;
/** Strangers, those who may not, and unknown runs: asking again changes nothing. */
const FINAL_CODES = new Set([4400, 4401, 4403, 4404, 4422]);

const TIMERS: ITimers = {
  set: (call, delay_ms) => window.setTimeout(call, delay_ms),
  clear: timer => window.clearTimeout(timer),
  random: () => Math.random()
};

/**
 * A WebSocket that comes back: after a server's restart, a sleeping laptop or a lost network.
 *
 * Delays double from half a second to fifteen and begin anew with the first message; a server
 * that falls silent counts as gone.
 */
export class LiveSocket {
  private _socket: IWebSocket | null = null;
  private _state: SocketState = 'connecting';
  private _attempt = 0;
  private _retry: number | null = null;
  private _silence: number | null = null;
  private readonly _timers: ITimers;

  constructor(private readonly _options: ISocketOptions) {
    this._timers = _options.timers ?? TIMERS;
    this._connect();
  }

  get state(): SocketState {
    return this._state;
  }

  /** Sends a message now; `false` where nobody is there to take it. */
  send(message: object): boolean {
    if (this._state !== 'open' || this._socket === null) return false;
    this._socket.send(JSON.stringify(message));
    return true;
  }

  /** Tries at once instead of waiting: the page is seen again, or the network is back. */
  hurry(): void {
    if (this._state !== 'waiting') return;
    this._attempt = 0;
    this._connect();
  }

  /** Closes it for good. */
  dispose(): void {
    this._drop();
    this._become('closed');
  }

  private _connect(): void {
    this._drop();
    this._become('connecting');
    const socket = this._options.open(this._options.url());
    this._socket = socket;
    this._listen();
    socket.onopen = () => {
      this._become('open');
      this._listen();
    };
    socket.onmessage = event => this._take(String(event.data));
    socket.onclose = event => this._lost(event.code);
    socket.onerror = () => undefined; // a close follows, which says more
  }

  private _take(text: string): void {
    this._listen();
    let message: ILiveMessage;
    try {
      message = JSON.parse(text) as ILiveMessage;
    } catch {
      this._lost(1007);
      return;
    }
    this._attempt = 0;
    if (message.type === 'heartbeat') return;
    if (message.type === 'problem') {
      const problem = problemOf(message);
      if (problem !== null) this._refused(problem);
      return;
    }
    if (message.type === 'end') {
      this.dispose();
      this._options.onEnd?.(message);
      return;
    }
    this._options.onMessage(message);
  }

  private _refused(problem: IProblem): void {
    this._options.onProblem?.(new ApiError(problem));
  }

  private _lost(code: number): void {
    this._drop();
    if (FINAL_CODES.has(code)) {
      this._become('closed');
      return;
    }
    this._become('waiting');
    const delay_ms = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this._attempt);
    this._attempt += 1;
    const spread = 0.8 + 0.4 * this._timers.random(); // not all pages at the same moment
    this._retry = this._timers.set(() => this._connect(), delay_ms * spread);
  }

  private _listen(): void {
    if (this._silence !== null) this._timers.clear(this._silence);
    this._silence = this._timers.set(() => this._lost(1006), SILENCE_MS);
  }

  private _drop(): void {
    for (const timer of [this._retry, this._silence]) {
      if (timer !== null) this._timers.clear(timer);
    }
    this._retry = this._silence = null;
    const socket = this._socket;
    this._socket = null;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
    socket.close();
  }

  private _become(state: SocketState): void {
    if (state === this._state) return;
    this._state = state;
    this._options.onState?.(state);
  }
}
