import { JupyterFrontEnd } from '@jupyterlab/application';
import { TabPanel, Widget } from '@lumino/widgets';

/**
 * Shows a page where there is room for one.
 *
 * JupyterLab has a main area. Notebook 7 has one widget there: on its front page one with tabs,
 * which takes our pages, too; beside a notebook the right side takes them.
 */
export function showPage(app: JupyterFrontEnd, page: Widget): void {
  const { shell } = app;
  if (page.parent === null) shell.add(page, 'main');
  if (page.parent === null) {
    const tabs = [...shell.widgets('main')].find(widget => widget instanceof TabPanel);
    if (tabs === undefined) shell.add(page, 'right');
    else tabs.addWidget(page);
  }
  const tabs = page.parent?.parent;
  if (tabs instanceof TabPanel) tabs.currentWidget = page;
  else shell.activateById(page.id);
}
