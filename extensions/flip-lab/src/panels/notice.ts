import { TranslationBundle } from '@jupyterlab/translation';
import { ApiError } from '../api';

/** A line above a panel that says why it is not, or no longer, live. */
export class Notice {
  readonly node = document.createElement('div');

  constructor(private readonly _trans: TranslationBundle) {
    this.node.className = 'jp-FlipNotice';
    this.node.setAttribute('role', 'status');
    this.clear();
  }

  /** Says nothing any more. */
  clear(): void {
    this.node.hidden = true;
    this.node.replaceChildren();
  }

  /** Says that something is awaited. */
  waiting(words: string, hurry?: () => void): void {
    const actions: [string, () => void][] = hurry ? [[this._trans.__('Try now'), hurry]] : [];
    this._show('waiting', [text('span', words)], ...actions);
  }

  /** Says what the API refused, why, and what to do. */
  problem({ code, message, fix }: ApiError, again: () => void, close: () => void): void {
    const words = [text('strong', code), text('span', message), text('span', fix)].filter(
      node => node.textContent !== ''
    );
    this._show('problem', words, [this._trans.__('Try again'), again], [this._trans.__('Close'), close]);
  }

  private _show(kind: string, words: HTMLElement[], ...actions: [string, () => void][]): void {
    const buttons = actions.map(([label, onclick]) => {
      const node = text('button', label);
      Object.assign(node, { type: 'button', className: 'jp-FlipButton', onclick });
      return node;
    });
    this.node.dataset['kind'] = kind;
    this.node.replaceChildren(...words, ...buttons);
    this.node.hidden = false;
  }
}

function text(tag: string, words: string): HTMLElement {
  const node = document.createElement(tag);
  node.textContent = words;
  return node;
}
