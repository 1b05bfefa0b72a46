import { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { ICommandPalette, MainAreaWidget, ReactWidget, WidgetTracker } from '@jupyterlab/apputils';
import { LabIcon } from '@jupyterlab/ui-components';
import React from 'react';
import { nodesIcon, runsIcon } from './icons';
import { showPage } from './main_area';
import { RunsBrowser } from './runs/browser';
import { CATEGORY, CommandIDs, IFlip } from './tokens';
import { Banner } from './views/banner';
import { NodesView } from './views/nodes_view';
import { RunsView } from './views/runs_view';

/** What there is a page of. */
interface IPageKind {
  command: string;
  name: string;
  label: string;
  icon: LabIcon;
  view: () => JSX.Element;
}

/** A page of the main area: the same views as in the side bar, with room for more columns. */
class LabPage extends ReactWidget {
  constructor(
    private readonly _flip: IFlip,
    private readonly _view: () => JSX.Element
  ) {
    super();
    this.addClass('jp-FlipLab');
    this.addClass('jp-FlipLab-page');
  }

  protected override render(): JSX.Element {
    return React.createElement(React.Fragment, null, React.createElement(Banner, { flip: this._flip }), this._view());
  }
}

/** Adds the commands that open pages, and lets a workspace bring them back. */
export function addPages(
  app: JupyterFrontEnd,
  flip: IFlip,
  runs: RunsBrowser,
  restorer: ILayoutRestorer | null,
  palette: ICommandPalette | null
): void {
  const { commands } = app;
  const { trans } = flip;
  const kinds: IPageKind[] = [
    {
      command: CommandIDs.openRuns,
      name: 'runs',
      label: trans.__('Runs'),
      icon: runsIcon,
      view: () => React.createElement(RunsView, { flip, browser: runs, commands })
    },
    {
      command: CommandIDs.openNodes,
      name: 'nodes',
      label: trans.__('Nodes'),
      icon: nodesIcon,
      view: () => React.createElement(NodesView, { flip, commands })
    }
  ];
  for (const { command, name, label, icon, view } of kinds) {
    const tracker = new WidgetTracker<MainAreaWidget<LabPage>>({ namespace: `flip-lab-${name}` });
    const make = (): MainAreaWidget<LabPage> => {
      const page = new MainAreaWidget({ content: new LabPage(flip, view) });
      page.toolbar.hide(); // nothing is in it
      page.id = `flip-lab-page-${name}`;
      page.title.label = label;
      page.title.icon = icon;
      page.title.closable = true;
      void tracker.add(page);
      return page;
    };
    commands.addCommand(command, {
      label,
      icon: args => (args['isPalette'] ? undefined : icon),
      execute: () => showPage(app, tracker.currentWidget ?? make())
    });
    palette?.addItem({ command, category: CATEGORY, args: { isPalette: true } });
    void restorer?.restore(tracker, { command, name: () => name });
  }
}
