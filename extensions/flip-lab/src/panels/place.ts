import { JupyterFrontEnd } from '@jupyterlab/application';
import { MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import { Widget } from '@lumino/widgets';

/** Shows a panel in the main area: the one that is open already, or a new one. */
export function showIn<T extends Widget>(
  app: JupyterFrontEnd,
  tracker: WidgetTracker<MainAreaWidget<T>>,
  id: string,
  make: () => MainAreaWidget<T>
): void {
  const known = tracker.find(panel => panel.id === id);
  if (known === undefined) {
    const panel = make();
    panel.id = id;
    panel.title.closable = true;
    void tracker.add(panel);
    app.shell.add(panel, 'main');
  }
  app.shell.activateById(id);
}
