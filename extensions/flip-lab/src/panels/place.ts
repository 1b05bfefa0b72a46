import { JupyterFrontEnd } from '@jupyterlab/application';
import { MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import { Widget } from '@lumino/widgets';
import { showPage } from '../main_area';

/** Shows a panel in the main area: the one that is open already, or a new one. */
export function showIn<T extends Widget>(
  app: JupyterFrontEnd,
  tracker: WidgetTracker<MainAreaWidget<T>>,
  id: string,
  make: () => MainAreaWidget<T>
): void {
  let panel = tracker.find(each => each.id === id);
  if (panel === undefined) {
    panel = make();
    panel.id = id;
    panel.title.closable = true;
    void tracker.add(panel);
  }
  showPage(app, panel);
}
