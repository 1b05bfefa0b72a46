import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, ReactWidget } from '@jupyterlab/apputils';
import { IStateDB } from '@jupyterlab/statedb';
import { CommandRegistry } from '@lumino/commands';
import React from 'react';
import { Alerts, ISeenStore } from './alerts';
import { federationIcon } from './icons';
import { RunsBrowser } from './runs/browser';
import { addPages } from './pages';
import { CATEGORY, CommandIDs, IFlip } from './tokens';
import { SidebarView, Tab } from './views/sidebar_view';

const SEEN = 'flip-lab:alerts-seen';

/** The side bar: runs, nodes, alerts. */
export class Sidebar extends ReactWidget {
  private _tab: Tab = 'runs';

  constructor(
    private readonly _flip: IFlip,
    private readonly _commands: CommandRegistry,
    readonly browser: RunsBrowser,
    readonly alerts: Alerts
  ) {
    super();
    this.id = 'flip-lab-sidebar';
    this.addClass('jp-FlipLab');
    this.title.icon = federationIcon;
    this.title.caption = _flip.trans.__('Federated Learning');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', _flip.trans.__('Federated Learning'));
  }

  /** Shows one of the three. */
  turn(tab: Tab): void {
    this._tab = tab;
    this.update();
  }

  protected override render(): JSX.Element {
    return React.createElement(SidebarView, {
      flip: this._flip,
      browser: this.browser,
      alerts: this.alerts,
      commands: this._commands,
      tab: this._tab,
      onTab: tab => this.turn(tab)
    });
  }
}

/** Puts the side bar in its place, and lets it be found. */
export const sidebar: JupyterFrontEndPlugin<void> = {
  id: 'flip-lab:sidebar',
  description: 'The side bar: runs, nodes, alerts; and pages of the same in the main area.',
  autoStart: true,
  requires: [IFlip],
  optional: [ILayoutRestorer, ICommandPalette, IStateDB],
  activate: (
    app: JupyterFrontEnd,
    flip: IFlip,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    stateDB: IStateDB | null
  ): void => {
    const { commands, shell } = app;
    const alerts = new Alerts(flip.api, flip.runs, seenStore(stateDB));
    const bar = new Sidebar(flip, commands, browserOf(flip), alerts);
    shell.add(bar, 'left', { rank: 600, type: 'FLIP Lab' });
    restorer?.add(bar, bar.id);
    void app.started.then(() => alerts.start());

    const show = (id: string, tab: Tab, label: string): void => {
      commands.addCommand(id, {
        label,
        icon: args => (args['isPalette'] ? undefined : federationIcon),
        execute: () => {
          bar.turn(tab);
          shell.activateById(bar.id);
        }
      });
      palette?.addItem({ command: id, category: CATEGORY, args: { isPalette: true } });
    };
    show(CommandIDs.showSidebar, 'runs', flip.trans.__('Show Runs in the Side Bar'));
    show(CommandIDs.openAlerts, 'alerts', flip.trans.__('Alerts'));
    addPages(app, flip, browserOf(flip), restorer, palette);
  }
};

/** A list of runs of its own, which keeps to the settings and tells which run is current. */
function browserOf(flip: IFlip): RunsBrowser {
  const browser = new RunsBrowser(flip.runs);
  const archived = (): void => browser.narrow({ archived: flip.settings.showArchived });
  flip.settings.changed.connect(archived);
  browser.changed.connect(() => {
    flip.currentRun = browser.active?.run_id ?? flip.currentRun;
  });
  archived();
  return browser;
}

function seenStore(stateDB: IStateDB | null): ISeenStore {
  return {
    read: async () => ((await stateDB?.fetch(SEEN)) as string | undefined) ?? null,
    write: async time_at => void (await stateDB?.save(SEEN, time_at))
  };
}
