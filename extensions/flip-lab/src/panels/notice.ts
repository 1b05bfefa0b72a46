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
    this._show('waiting', [text('span', words)], hurry && [this._trans.__('Try now'), hurry]);
  }

  /** Says what the API refused, why, and what to do. */
  problem({ code, message, fix }: ApiError, again: () => void): void {
    const words = [text('strong', code), text('span', message), text('span', fix)];
    this._show('problem', words.filter(node => node.textContent !== ''), [this._trans.__('Try again'), again]);
  }

  private _show(kind: string, words: HTMLElement[], action?: [string, () => void]): void {
    this.node.dataset['kind'] = kind;
    const button = document.createElement('button');
    button.className = 'jp-Button jp-FlipButton';
    if (action) {
      button.textContent = action[0];
      button.onclick = action[1];
    }
    this.node.replaceChildren(...words, ...(action ? [button] : []));
    this.node.hidden = false;
  }
}

function text(tag: string, words: string): HTMLElement {
  const node = document.createElement(tag);
  node.textContent = words;
  return node;
}
