import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Clipboard, ICommandPalette, Notification } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { UUID } from '@lumino/coreutils';
import { attachIcon, newNotebookIcon } from './icons';
import { tellTrouble } from './notice';
import { ICell, INotebookScenario, attachCode, federationCells, freeName, notebookOf } from './notebook_cells';
import { pickScenario } from './scenario_picker';
import { named } from './steering_commands';
import { CATEGORY, CommandIDs, IFlip } from './tokens';

/** Code into notebooks: find a run again, or begin with a scenario. */
export const notebooks: JupyterFrontEndPlugin<void> = {
  id: 'flip-lab:notebooks',
  description: 'Notebooks from scenarios, and the code that finds a run again.',
  autoStart: true,
  requires: [IFlip],
  optional: [INotebookTracker, IDefaultFileBrowser, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    flip: IFlip,
    tracker: INotebookTracker | null,
    browser: IDefaultFileBrowser | null,
    palette: ICommandPalette | null
  ): void => {
    const { commands } = app;
    const { trans } = flip;
    const folder = (): string => browser?.model.path ?? '';
    const wanted = (args: { run_id?: unknown }): string | null => named(app, flip, args.run_id)?.run_id ?? null;

    commands.addCommand(CommandIDs.copyAttachCode, {
      label: trans.__('Copy Attach Code'),
      caption: trans.__('Copy the Python that finds the run again'),
      isEnabled: args => wanted(args) !== null,
      execute: args =>
        guarded(flip, async () => {
          const run_id = wanted(args);
          if (run_id === null) return;
          Clipboard.copyToSystem(attachCode(run_id, await labPath(flip)));
          Notification.success(trans.__('The code that finds %1 again is copied.', run_id), { autoClose: 3_000 });
        })
    });
    commands.addCommand(CommandIDs.insertAttachCode, {
      label: trans.__('Insert Attach Code into Notebook'),
      caption: trans.__('A cell that finds the run again: in the open notebook, or in a new one'),
      icon: args => (args['isPalette'] ? undefined : attachIcon),
      isEnabled: args => wanted(args) !== null,
      execute: args =>
        guarded(flip, async () => {
          const run_id = wanted(args);
          if (run_id === null) return;
          const code = attachCode(run_id);
          const open = tracker?.currentWidget ?? null;
          if (open !== null && !open.isDisposed) {
            insert(open, code);
            app.shell.activateById(open.id);
          } else {
            await create(app, folder(), run_id, [{ cell_type: 'code', source: code }]);
          }
        })
    });
    commands.addCommand(CommandIDs.newNotebook, {
      label: args => (args['isPalette'] ? trans.__('New Federation Notebook…') : trans.__('Federation Notebook')),
      caption: trans.__('A notebook that launches a scenario and comes back to its run'),
      icon: args => (args['isPalette'] ? undefined : newNotebookIcon),
      execute: args =>
        guarded(flip, async () => {
          const scenario = await chosenScenario(flip, args['scenario']);
          if (scenario === null) return;
          const cells = federationCells(scenario);
          const cwd = typeof args['cwd'] === 'string' ? args['cwd'] : folder();
          await create(app, cwd, scenario.name, cells);
        })
    });
    for (const command of [CommandIDs.newNotebook, CommandIDs.insertAttachCode, CommandIDs.copyAttachCode]) {
      palette?.addItem({ command, category: CATEGORY, args: { isPalette: true } });
    }
  }
};

async function guarded(flip: IFlip, deed: () => Promise<void>): Promise<void> {
  try {
    await deed();
  } catch (error) {
    tellTrouble(error, flip.trans);
  }
}

async function labPath(flip: IFlip): Promise<string> {
  return (await flip.api.get<{ lab: string }>('about')).lab;
}

async function chosenScenario(flip: IFlip, name: unknown): Promise<INotebookScenario | null> {
  if (typeof name !== 'string') return pickScenario(flip);
  return flip.api.get<INotebookScenario>(`scenarios/${encodeURIComponent(name)}`);
}

/** Puts a cell below the one that is active; an active cell without a text takes it itself. */
function insert(panel: NotebookPanel, code: string): void {
  const { content } = panel;
  const active = content.activeCell?.model.sharedModel;
  if (active === undefined || active.cell_type !== 'code' || active.getSource().trim() !== '') {
    NotebookActions.insertBelow(content);
  }
  content.activeCell?.model.sharedModel.setSource(code);
}

async function create(app: JupyterFrontEnd, folder: string, stem: string, cells: ICell[]): Promise<void> {
  const { contents } = app.serviceManager;
  const around = await contents.get(folder);
  const taken = new Set((around.content as { name: string }[]).map(file => file.name));
  const path = PathExt.join(folder, freeName(stem, taken));
  const content = notebookOf(cells, () => UUID.uuid4());
  await contents.save(path, { type: 'notebook', format: 'json', content });
  await app.commands.execute('docmanager:open', { path });
}
