import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ReactWidget } from '@jupyterlab/apputils';
import { IStatusBar } from '@jupyterlab/statusbar';
import { Signal } from '@lumino/signaling';
import React from 'react';
import { federationIcon } from './icons';
import { activeText } from './runs/words';
import { CommandIDs, IFlip } from './tokens';

/** How many runs are under way and how far; a click shows them. */
class RunsStatus extends ReactWidget {
  readonly shown = new Signal<this, void>(this);
  private _isShown = false;

  constructor(
    private readonly _flip: IFlip,
    private readonly _open: () => void
  ) {
    super();
    this.addClass('jp-FlipLab-status');
    _flip.runs.changed.connect(this._look, this);
    _flip.settings.changed.connect(this._look, this);
  }

  get isShown(): boolean {
    return this._isShown;
  }

  protected override render(): JSX.Element {
    const { runs, trans } = this._flip;
    const text = activeText(runs.active, trans);
    return React.createElement(
      'button',
      { type: 'button', onClick: this._open, title: trans.__('Federated runs under way') },
      React.createElement(federationIcon.react, { tag: 'span', width: '14px', height: '14px' }),
      text
    );
  }

  private _look(): void {
    const isShown = this._flip.settings.statusBar && this._flip.runs.active.length > 0;
    this.update();
    if (isShown === this._isShown) return;
    this._isShown = isShown;
    this.shown.emit();
  }
}

export const statusBar: JupyterFrontEndPlugin<void> = {
  id: 'flip-lab:status-bar',
  description: 'Runs under way, in the status bar.',
  autoStart: true,
  requires: [IFlip],
  optional: [IStatusBar],
  activate: (app: JupyterFrontEnd, flip: IFlip, bar: IStatusBar | null): void => {
    if (bar === null) return;
    const item = new RunsStatus(flip, () => void app.commands.execute(CommandIDs.showSidebar));
    bar.registerStatusItem('flip-lab:runs', {
      item,
      align: 'left',
      rank: 20,
      isActive: () => item.isShown,
      activeStateChanged: item.shown
    });
  }
};
