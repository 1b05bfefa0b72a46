import { Message } from '@lumino/messaging';
import { ISignal, Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';
import { ApiError, LiveSocket, Query, SocketState } from '../api';
import { IFlip } from '../tokens';
import { BoardKind, RESUMES } from './board_kinds';
import { BoardModel, Values } from './board_model';
import { Notice } from './notice';

/** What a board's script gives: the same as an anywidget's. */
interface IBoardScript {
  default: { render(context: { model: BoardModel; el: HTMLElement }): () => void };
}

export interface IBoardOptions {
  flip: IFlip;
  kind: BoardKind;
  /** What the board is about. */
  query: Query;
}

/** A hidden run goes on without being drawn; it is caught up with when it is seen again. */
const REST_MS = 30_000;
/** A script that could not be loaded may be there once its server is. */
const SCRIPT_RETRY_MS = 3_000;

/**
 * A board of the lab in a panel: drawn by the script that draws it in notebooks, fed by a
 * WebSocket instead of a kernel. It connects when it is first seen, and when the connection
 * breaks it shows what it showed and goes on where it was.
 */
export class BoardView extends Widget {
  readonly kind: BoardKind;
  readonly query: Query;
  private readonly _flip: IFlip;
  private readonly _model: BoardModel;
  private readonly _notice: Notice;
  private readonly _host = document.createElement('div');
  private readonly _partsCame = new Signal<this, Values>(this);
  private _socket: LiveSocket | null = null;
  private _script: IBoardScript | null = null;
  private _numTries = 0;
  private _leave: (() => void) | null = null;
  private _problem: ApiError | null = null;
  private _rest = 0;
  private _retry = 0;

  constructor({ flip, kind, query }: IBoardOptions) {
    super();
    this._flip = flip;
    this.kind = kind;
    this.query = query;
    this._model = new BoardModel(message => this._socket?.send(message), RESUMES[kind]);
    this._notice = new Notice(flip.trans);
    this.addClass('jp-FlipBoard');
    this._host.className = 'jp-FlipBoard-host';
    this.node.append(this._notice.node, this._host);
  }

  /** Parts of the board that came. */
  get partsCame(): ISignal<this, Values> {
    return this._partsCame;
  }

  override dispose(): void {
    if (this.isDisposed) return;
    window.clearTimeout(this._rest);
    window.clearTimeout(this._retry);
    this._leave?.();
    this._socket?.dispose();
    Signal.clearData(this);
    super.dispose();
  }

  protected override onAfterShow(_message: Message): void {
    window.clearTimeout(this._rest);
    this._connect();
  }

  protected override onAfterAttach(_message: Message): void {
    if (this.isVisible) this._connect();
  }

  protected override onBeforeHide(_message: Message): void {
    if (this.kind !== 'run') return; // the others say nothing by themselves
    this._rest = window.setTimeout(() => this._disconnect(), REST_MS);
  }

  protected override onActivateRequest(_message: Message): void {
    this.node.tabIndex = -1;
    this.node.focus();
  }

  private _connect(): void {
    if (this._script === null && this._numTries === 0) void this._loadScript();
    if (this._socket !== null) return;
    this._problem = null;
    this._notice.waiting(this._flip.trans.__('Connecting…'));
    this._socket = this._flip.api.live(`boards/${this.kind}`, {
      query: () => this._query(),
      onMessage: message => this._hear(message),
      onState: state => this._show(state),
      onProblem: problem => {
        this._problem = problem;
      },
      onEnd: () => this._disconnect()
    });
  }

  /** Runs that are gone are not asked for: the others can still be compared. */
  private _query(): Query {
    const { runs } = this._flip;
    const wanted = this.query['runs'];
    if (runs.state === 'loading' || !Array.isArray(wanted)) return this.query;
    return { ...this.query, runs: wanted.filter(run_id => runs.row(run_id) !== undefined) };
  }

  private _disconnect(): void {
    const socket = this._socket;
    this._socket = null;
    socket?.dispose();
    this._model.lost();
    this._notice.clear();
  }

  private _hear(message: { type: string; [field: string]: unknown }): void {
    if (message.type === 'parts') {
      const parts = message['parts'] as Values;
      this._model.takeParts(parts);
      this._notice.clear();
      this._render();
      this._partsCame.emit(parts);
    } else if (message.type === 'answer') {
      this._model.takeAnswer(message);
    }
  }

  private _show(state: SocketState): void {
    const { trans } = this._flip;
    if (state === 'open' && !this._model.isReady) {
      this._notice.waiting(trans.__('Reading the lab…'));
    } else if (state === 'waiting') {
      this._model.lost();
      const words = this._model.isReady
        ? trans.__('Reconnecting… What you see is the last that came.')
        : trans.__('The lab does not answer yet. Trying again…');
      this._notice.waiting(words, () => this._socket?.hurry());
    } else if (state === 'closed' && this._problem !== null) {
      this._socket = null;
      this._model.lost();
      this._notice.problem(
        this._problem,
        () => this._connect(),
        () => this.parent?.close()
      );
    }
  }

  // --- the script

  private async _loadScript(): Promise<void> {
    this._numTries += 1;
    try {
      const [script] = await Promise.all([this._import(), this._loadStyle()]);
      this._script = script;
    } catch (error) {
      if (this.isDisposed) return;
      console.warn(`FLIP Lab: the script of the ${this.kind} board did not come; trying again.`, error);
      this._retry = window.setTimeout(() => void this._loadScript(), SCRIPT_RETRY_MS);
      return;
    }
    if (!this.isDisposed) this._render();
  }

  private _import(): Promise<IBoardScript> {
    // A browser remembers that a module failed, so another try needs another address.
    const url = this._flip.api.url(`ui/${this.kind}.js`, { again: this._numTries > 1 ? this._numTries : null });
    return import(/* webpackIgnore: true */ url) as Promise<IBoardScript>;
  }

  private _loadStyle(): Promise<void> {
    const url = this._flip.api.url(`ui/${this.kind}.css`);
    const known = document.head.querySelector(`link[data-flip-board="${this.kind}"]`);
    if (known !== null) return Promise.resolve();
    const link = document.createElement('link');
    Object.assign(link, { rel: 'stylesheet', href: url });
    link.dataset['flipBoard'] = this.kind;
    return new Promise((done, fail) => {
      link.onload = () => done();
      link.onerror = () => {
        link.remove();
        fail(new Error(url));
      };
      document.head.append(link);
    });
  }

  private _render(): void {
    if (this._leave !== null || this._script === null || !this._model.isReady) return;
    this._leave = this._script.default.render({ model: this._model, el: this._host });
  }
}
