import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { ISignal, Signal } from '@lumino/signaling';
import { ApiError, UnreachableError, problemOf } from './problem';
import { ILiveMessage, IWebSocket, LiveSocket, SocketState } from './socket';

export { ApiError, UnreachableError } from './problem';
export { LiveSocket } from './socket';
export type { ILiveMessage, SocketState } from './socket';

/**
 * `connecting`: it never answered yet; `ready`: it answers; `gone`: it did, and no longer does;
 * `absent`: Jupyter's server answers, but knows of no lab.
 */
export type ApiState = 'connecting' | 'ready' | 'gone' | 'absent';

/** Values of a query; those that are `null` or `undefined` are left out, lists repeat the name. */
export type Query = Record<string, string | number | boolean | readonly string[] | null | undefined>;

/** What changes something. */
export type Method = 'POST' | 'PATCH' | 'PUT' | 'DELETE';

/** One page of a list. */
export interface IPage<T> {
  items: T[];
  next_cursor: string | null;
  position?: number;
}

export interface ILiveOptions {
  /** The query, asked at each attempt, so that it can say from where to go on. */
  query?: () => Query;
  /** Each message but heartbeats, problems and the end. */
  onMessage: (message: ILiveMessage) => void;
  onState?: (state: SocketState) => void;
  /** The server said why it will not go on. */
  onProblem?: (error: ApiError) => void;
  /** There is nothing more to come. */
  onEnd?: (message: ILiveMessage) => void;
}

/** The lab's API, as Jupyter's server passes it on. Paths are below `flip/v1/`. */
export interface IApi {
  readonly state: ApiState;
  readonly stateChanged: ISignal<IApi, ApiState>;

  /** The address of a path, for an image, a download or `import()`. */
  url(path: string, query?: Query): string;

  /**
   * Asks, and gives the answer as it is.
   *
   * @throws ApiError where the API refuses; UnreachableError where nobody answers.
   */
  request(path: string, init?: RequestInit, query?: Query): Promise<Response>;

  /** Gets a JSON document. */
  get<T>(path: string, query?: Query): Promise<T>;

  /** Gets a text. */
  text(path: string, query?: Query): Promise<string>;

  /** Sends a JSON document; gives the answer's, or `null` where it has none. */
  send<T>(method: Method, path: string, body?: unknown, headers?: Record<string, string>): Promise<T>;

  /** Gives a list page by page. */
  pages<T>(path: string, query?: Query): AsyncGenerator<IPage<T>>;

  /** Opens a WebSocket that comes back when it breaks; `dispose()` ends it. */
  live(path: string, options: ILiveOptions): LiveSocket;
}

/** Statuses of a proxy whose server is not there (yet). */
const NOBODY = new Set([502, 503, 504, 599]);
/** What Jupyter's server says of itself where the lab's process does not answer. */
const RELAY_CODE = 'FLIP-700';

export class Api implements IApi {
  private _state: ApiState = 'connecting';
  private readonly _stateChanged = new Signal<IApi, ApiState>(this);
  private readonly _sockets = new Set<LiveSocket>();

  constructor(private readonly _settings: ServerConnection.ISettings = ServerConnection.makeSettings()) {
    const hurry = (): void => {
      if (document.visibilityState === 'visible') this._hurry();
    };
    window.addEventListener('online', hurry);
    document.addEventListener('visibilitychange', hurry);
  }

  get state(): ApiState {
    return this._state;
  }

  get stateChanged(): ISignal<IApi, ApiState> {
    return this._stateChanged;
  }

  url(path: string, query: Query = {}): string {
    return URLExt.join(this._settings.baseUrl, 'flip/v1', path) + queryText(query);
  }

  async request(path: string, init: RequestInit = {}, query: Query = {}): Promise<Response> {
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(this.url(path, query), init, this._settings);
    } catch (error) {
      if ((error as Error).name === 'AbortError') throw error;
      throw this._unreachable(String((error as Error).message));
    }
    if (response.ok || response.status === 304) {
      this._become('ready');
      return response;
    }
    throw await this._refusal(response);
  }

  async get<T>(path: string, query: Query = {}): Promise<T> {
    return (await (await this.request(path, {}, query)).json()) as T;
  }

  async text(path: string, query: Query = {}): Promise<string> {
    return (await this.request(path, {}, query)).text();
  }

  async send<T>(method: Method, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
    const init: RequestInit = { method, headers };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
      init.headers = { 'Content-Type': 'application/json', ...headers };
    }
    const text = await (await this.request(path, init)).text();
    return (text === '' ? null : JSON.parse(text)) as T;
  }

  async *pages<T>(path: string, query: Query = {}): AsyncGenerator<IPage<T>> {
    let cursor: string | null = null;
    do {
      const page: IPage<T> = await this.get<IPage<T>>(path, { limit: 1000, ...query, cursor });
      yield page;
      cursor = page.next_cursor;
    } while (cursor !== null);
  }

  live(path: string, options: ILiveOptions): LiveSocket {
    const { token, wsUrl } = this._settings;
    const url = (): string =>
      URLExt.join(wsUrl, 'flip/v1', path) +
      queryText({ ...(options.query?.() ?? {}), token: this._settings.appendToken ? token || null : null });
    const socket = new LiveSocket({
      ...options,
      url,
      open: address => new this._settings.WebSocket(address) as IWebSocket,
      onState: state => {
        if (state === 'closed') this._sockets.delete(socket);
        options.onState?.(state);
      }
    });
    this._sockets.add(socket);
    return socket;
  }

  private _hurry(): void {
    for (const socket of this._sockets) socket.hurry();
  }

  private async _refusal(response: Response): Promise<Error> {
    const problem = problemOf(await response.json().catch(() => null));
    if (problem !== null) {
      if (problem.code === RELAY_CODE && NOBODY.has(response.status)) return this._unreachable(problem.detail);
      this._become('ready');
      return new ApiError({ ...problem, status: response.status });
    }
    if (response.status === 404) this._become('absent');
    if (NOBODY.has(response.status)) return this._unreachable(`${response.status} ${response.statusText}`);
    const detail = `${response.status} ${response.statusText}`.trim();
    return new ApiError({ code: '', title: detail, detail, fix: '', status: response.status, evidence: '' });
  }

  private _unreachable(why: string): UnreachableError {
    if (this._state === 'ready') this._become('gone');
    return new UnreachableError(why);
  }

  private _become(state: ApiState): void {
    if (state === this._state) return;
    this._state = state;
    this._stateChanged.emit(state);
  }
}

function queryText(query: Query): string {
  const told = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === null || value === undefined) continue;
    for (const each of Array.isArray(value) ? value : [value]) told.append(name, String(each));
  }
  const text = told.toString();
  return text === '' ? '' : `?${text}`;
}
