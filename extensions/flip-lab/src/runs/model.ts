import { ISignal, Signal } from '@lumino/signaling';
import type { IApi } from '../api';
import type { ILiveMessage, LiveSocket } from '../socket';
import { IRunRow, RunState, isFinal, newestFirst } from './rows';

/** `loading`: nothing is known yet; `live`: current; `stale`: what was known, not followed now. */
export type RunsState = 'loading' | 'live' | 'stale';

/** A run went from one state to another, or came (`before` is `null`). */
export interface IStep {
  row: IRunRow;
  before: RunState | null;
}

/** All runs of the lab, newest first, kept current by one WebSocket. */
export interface IRunsModel {
  readonly rows: readonly IRunRow[];
  readonly state: RunsState;
  /** Grows with each change; what is drawn from rows can be kept while it stays. */
  readonly version: number;
  /** Runs that are under way, newest first. */
  readonly active: readonly IRunRow[];
  /** At most ten times a second, after rows or the state changed. */
  readonly changed: ISignal<IRunsModel, void>;
  /** Each change of a run's state that was seen as it happened. */
  readonly stepped: ISignal<IRunsModel, IStep>;
  row(run_id: string): IRunRow | undefined;
}

/** What the model needs of the API and of time; a test brings its own. */
export interface IRunsSource {
  readonly api: Pick<IApi, 'pages' | 'live'>;
  readonly later: (call: () => void, delay_ms: number) => void;
}

const REST_MS = 100;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 10_000;

export class RunsModel implements IRunsModel {
  private readonly _byId = new Map<string, IRunRow>();
  private _order: IRunRow[] | null = [];
  private _places: Map<string, number> | null = null;
  private _active: IRunRow[] | null = [];
  private _position = 0;
  private _state: RunsState = 'loading';
  private _version = 0;
  private _isDue = false;
  private _isResting = false;
  private _isDisposed = false;
  private _socket: LiveSocket | null = null;
  private _retry_ms = FIRST_RETRY_MS;
  private readonly _changed = new Signal<IRunsModel, void>(this);
  private readonly _stepped = new Signal<IRunsModel, IStep>(this);

  constructor(private readonly _source: IRunsSource) {}

  /** Reads all runs and follows them from then on; tries again until somebody answers. */
  async start(): Promise<void> {
    this._socket?.dispose();
    this._socket = null;
    try {
      await this._load();
    } catch {
      this._become(this._byId.size === 0 ? 'loading' : 'stale');
      this._source.later(() => {
        if (!this._isDisposed) void this.start();
      }, this._retry_ms);
      this._retry_ms = Math.min(LONGEST_RETRY_MS, 2 * this._retry_ms);
      return;
    }
    this._retry_ms = FIRST_RETRY_MS;
    this._follow();
  }

  dispose(): void {
    this._isDisposed = true;
    this._socket?.dispose();
    Signal.clearData(this);
  }

  get rows(): readonly IRunRow[] {
    this._order ??= [...this._byId.values()].sort(newestFirst);
    return this._order;
  }

  get active(): readonly IRunRow[] {
    this._active ??= this.rows.filter(row => !isFinal(row.state));
    return this._active;
  }

  get state(): RunsState {
    return this._state;
  }

  get version(): number {
    return this._version;
  }

  get changed(): ISignal<IRunsModel, void> {
    return this._changed;
  }

  get stepped(): ISignal<IRunsModel, IStep> {
    return this._stepped;
  }

  row(run_id: string): IRunRow | undefined {
    return this._byId.get(run_id);
  }

  private async _load(): Promise<void> {
    const found: IRunRow[] = [];
    let position: number | null = null;
    for await (const page of this._source.api.pages<IRunRow>('runs', { archived: true })) {
      position ??= page.position ?? 0; // later pages may be newer: their changes come once more
      found.push(...page.items);
    }
    if (this._isDisposed) return;
    const known = new Set(found.map(row => row.run_id));
    const gone = [...this._byId.keys()].filter(run_id => !known.has(run_id));
    const isFirst = this._state === 'loading';
    this._position = position ?? 0;
    this._take(found, gone, isFirst);
    this._become('live');
  }

  private _follow(): void {
    if (this._isDisposed) return;
    this._socket = this._source.api.live('live', {
      query: () => ({ after: this._position }),
      onMessage: message => this._hear(message),
      onState: state => this._become(state === 'open' ? 'live' : 'stale'),
      onProblem: () => this._become('stale')
    });
  }

  private _hear(message: ILiveMessage): void {
    if (message.type === 'reload') {
      void this.start();
    } else if (message.type === 'runs') {
      this._position = message['position'] as number;
      this._take(message['rows'] as IRunRow[], message['gone'] as string[], false);
      this._become('live');
    }
  }

  private _take(rows: readonly IRunRow[], gone: readonly string[], isFirst: boolean): void {
    if (rows.length === 0 && gone.length === 0) return;
    this._reorder(rows, gone);
    for (const row of rows) {
      const before = this._byId.get(row.run_id)?.state ?? null;
      this._byId.set(row.run_id, row);
      if (!isFirst && before !== row.state) this._stepped.emit({ row, before });
    }
    for (const run_id of gone) this._byId.delete(run_id);
    this._active = null;
    this._tell();
  }

  /** Puts rows that only changed where they stand: sorting thousands ten times a second is felt. */
  private _reorder(rows: readonly IRunRow[], gone: readonly string[]): void {
    const stays = (row: IRunRow): boolean => this._byId.get(row.run_id)?.created_at === row.created_at;
    if (this._order === null || gone.length > 0 || !rows.every(stays)) {
      this._order = this._places = null;
      return;
    }
    this._places ??= new Map(this._order.map((row, place) => [row.run_id, place]));
    this._order = [...this._order]; // whoever holds the old list keeps it as it was
    for (const row of rows) this._order[this._places.get(row.run_id) as number] = row;
  }

  private _become(state: RunsState): void {
    if (state === this._state) return;
    this._state = state;
    this._tell();
  }

  /** Lets views know soon, and then once for all that comes within a tenth of a second. */
  private _tell(): void {
    this._version += 1;
    if (this._isDue) return;
    this._isDue = true;
    if (!this._isResting) this._source.later(() => this._emit(), 0);
  }

  private _emit(): void {
    if (this._isDisposed) return;
    this._isDue = false;
    this._isResting = true;
    this._changed.emit();
    this._source.later(() => {
      this._isResting = false;
      if (this._isDue) this._emit();
    }, REST_MS);
  }
}
