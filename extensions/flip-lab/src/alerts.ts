import { ISignal, Signal } from '@lumino/signaling';
import type { IApi, IPage } from './api';
import type { IRunsModel } from './runs/model';

/** Something that needs a look: a run that failed or was lost, or a warning of one. */
export interface IAlert {
  time_at: string | null;
  run_id: string;
  name: string;
  /** The warning's event; -1 for a failed run. */
  sequence: number;
  level: 'error' | 'warning';
  /** May be empty. */
  code: string;
  message: string;
  server_round: number;
}

/** Where it is kept which alerts were seen; a test brings its own. */
export interface ISeenStore {
  read(): Promise<string | null>;
  write(time_at: string): Promise<void>;
}

const EVERY_MS = 30_000;
/** A run's end is on record a moment after its row says so. */
const AFTER_END_MS = 1_000;

/** The newest alerts, and how many of them nobody has seen yet. */
export class Alerts {
  private _items: readonly IAlert[] = [];
  private _error: Error | null = null;
  private _seen: string | null = null;
  private _version = 0;
  private readonly _changed = new Signal<this, void>(this);

  constructor(
    private readonly _api: Pick<IApi, 'get'>,
    runs: IRunsModel,
    private readonly _store: ISeenStore
  ) {
    runs.stepped.connect((_, { row }) => {
      if (row.state === 'failed') window.setTimeout(() => void this.load(), AFTER_END_MS);
    });
  }

  /** Reads what was seen, then the alerts, and those again every half minute. */
  async start(): Promise<void> {
    this._seen = await this._store.read().catch(() => null);
    await this.load();
    window.setInterval(() => {
      if (document.visibilityState !== 'hidden') void this.load();
    }, EVERY_MS);
  }

  get items(): readonly IAlert[] {
    return this._items;
  }

  /** Why they could not be read, the last time. */
  get error(): Error | null {
    return this._error;
  }

  /** How many came after those that were seen last. */
  get unseen(): number {
    return this._items.filter(alert => this.isNew(alert)).length;
  }

  get version(): number {
    return this._version;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Whether nobody has seen an alert yet. */
  isNew(alert: IAlert): boolean {
    return this._seen === null || (alert.time_at ?? '') > this._seen;
  }

  /** All that are there now were seen. */
  seen(): void {
    const newest = this._items[0]?.time_at ?? '';
    if (newest <= (this._seen ?? '')) return;
    this._seen = newest;
    void this._store.write(newest);
    this._tell();
  }

  async load(): Promise<void> {
    try {
      this._items = (await this._api.get<IPage<IAlert>>('alerts', { limit: 200 })).items;
      this._error = null;
    } catch (error) {
      this._error = error as Error;
    }
    this._tell();
  }

  private _tell(): void {
    this._version += 1;
    this._changed.emit();
  }
}
