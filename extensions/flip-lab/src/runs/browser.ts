import { ISignal, Signal } from '@lumino/signaling';
import { IRunFilter, filtered } from './filter';
import { IRunsModel } from './model';
import { Order, ordered } from './order';
import { IRunRow } from './rows';

/** How a click or a key chooses: this one only, this one more or less, or all up to this one. */
export type Choice = 'only' | 'toggle' | 'range';

/** What one list of runs shows: a filter, an order, which runs are chosen, where the cursor is. */
export class RunsBrowser {
  private _filter: IRunFilter = { text: '', state: 'any', archived: false };
  private _order: Order = 'newest';
  private _rows: readonly IRunRow[] | null = null;
  private _places: Map<string, number> | null = null;
  private _active: string | null = null;
  private _anchor: string | null = null;
  private _chosen: ReadonlySet<string> = new Set();
  private _version = 0;
  private readonly _changed = new Signal<this, void>(this);

  constructor(private readonly _model: IRunsModel) {
    _model.changed.connect(this._forget, this);
  }

  dispose(): void {
    this._model.changed.disconnect(this._forget, this);
    Signal.clearData(this);
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Grows with each change. */
  get version(): number {
    return this._version;
  }

  get filter(): IRunFilter {
    return this._filter;
  }

  get order(): Order {
    return this._order;
  }

  /** The runs that the filter lets pass, in order. */
  get rows(): readonly IRunRow[] {
    this._rows ??= ordered(filtered(this._model.rows, this._filter), this._order);
    return this._rows;
  }

  /** The run that the cursor is on, if it is still listed. */
  get active(): IRunRow | null {
    const place = this.place(this._active);
    return place === null ? null : this.rows[place];
  }

  /** The chosen runs that are listed, in order; the one under the cursor where none is. */
  get chosen(): IRunRow[] {
    const found = this.rows.filter(row => this._chosen.has(row.run_id));
    const active = this.active;
    return found.length > 0 || active === null ? found : [active];
  }

  isChosen(run_id: string): boolean {
    return this._chosen.has(run_id);
  }

  /** Where a run stands in the list; `null` if it is not listed. */
  place(run_id: string | null): number | null {
    if (run_id === null) return null;
    this._places ??= new Map(this.rows.map((row, place) => [row.run_id, place]));
    return this._places.get(run_id) ?? null;
  }

  narrow(filter: Partial<IRunFilter>): void {
    this._filter = { ...this._filter, ...filter };
    this._forget();
  }

  sort(order: Order): void {
    this._order = order;
    this._forget();
  }

  /** Puts the cursor on a run and chooses it. */
  choose(run_id: string, how: Choice = 'only'): void {
    if (how === 'range' && this.place(this._anchor) !== null) {
      this._chosen = new Set(this._between(this._anchor as string, run_id));
    } else if (how === 'toggle') {
      const chosen = new Set(this._chosen);
      if (!chosen.delete(run_id)) chosen.add(run_id);
      this._chosen = chosen;
      this._anchor = run_id;
    } else {
      this._chosen = new Set([run_id]);
      this._anchor = run_id;
    }
    this._active = run_id;
    this._tell();
  }

  /** Moves the cursor by some lines, as far as there are any; gives where it is then. */
  move(by: number, how: Choice = 'only'): number | null {
    const last = this.rows.length - 1;
    if (last < 0) return null;
    const from = this.place(this._active) ?? (by > 0 ? -1 : last + 1);
    const to = Math.min(last, Math.max(0, from + by));
    this.choose(this.rows[to].run_id, how);
    return to;
  }

  private _between(one: string, other: string): string[] {
    const [from, to] = [this.place(one) ?? 0, this.place(other) ?? 0];
    const ids = this.rows.slice(Math.min(from, to), Math.max(from, to) + 1);
    return ids.map(row => row.run_id);
  }

  private _forget(): void {
    this._rows = this._places = null;
    this._tell();
  }

  private _tell(): void {
    this._version += 1;
    this._changed.emit();
  }
}
