import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, WidgetTracker } from '@jupyterlab/apputils';
import { IEditorServices } from '@jupyterlab/codeeditor';
import { PathExt } from '@jupyterlab/coreutils';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { ILauncher } from '@jupyterlab/launcher';
import { Contents } from '@jupyterlab/services';
import { tellTrouble } from '../../notice';
import { CATEGORY, CommandIDs, IFlip } from '../../tokens';
import { scenarioIcon } from '../icons';
import { ScenarioDocument, ScenarioFactory } from './editor';

const FACTORY = 'Scenario';
const FILE_TYPE = 'flip-scenario';
const ENDING = '.flip.toml';

/** Scenario files: their type, and the form that edits them beside their text. */
export const scenarios: JupyterFrontEndPlugin<void> = {
  id: 'flip-lab:scenarios',
  description: 'A form beside the text of scenario files.',
  autoStart: true,
  requires: [IFlip, IEditorServices],
  optional: [ICommandPalette, ILauncher, ILayoutRestorer, IDefaultFileBrowser],
  activate: (
    app: JupyterFrontEnd,
    flip: IFlip,
    editors: IEditorServices,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    restorer: ILayoutRestorer | null,
    browser: IDefaultFileBrowser | null
  ): void => {
    const { trans } = flip;
    app.docRegistry.addFileType({
      name: FILE_TYPE,
      displayName: trans.__('Scenario'),
      extensions: [ENDING],
      mimeTypes: ['text/x-toml'],
      fileFormat: 'text',
      contentType: 'file',
      icon: scenarioIcon
    });
    const factory = new ScenarioFactory({
      name: FACTORY,
      label: trans.__('Scenario'),
      fileTypes: [FILE_TYPE],
      defaultFor: [FILE_TYPE],
      flip,
      editors,
      commands: app.commands
    });
    const tracker = new WidgetTracker<ScenarioDocument>({ namespace: 'flip-lab-scenarios' });
    factory.widgetCreated.connect((_factory, document) => {
      document.title.icon = scenarioIcon;
      document.context.pathChanged.connect(() => void tracker.save(document));
      void tracker.add(document);
    });
    app.docRegistry.addWidgetFactory(factory);
    void restorer?.restore(tracker, {
      command: 'docmanager:open',
      args: ({ context }) => ({ path: context.path, factory: FACTORY }),
      name: ({ context }) => context.path
    });
    const folder = (): string => browser?.model.path ?? '';
    app.commands.addCommand(CommandIDs.editScenario, {
      label: trans.__('Scenario File'),
      caption: trans.__('Write a scenario of your own, as a form beside its text'),
      icon: args => (args['isPalette'] ? undefined : scenarioIcon),
      execute: async args => {
        try {
          const path =
            typeof args['path'] === 'string'
              ? args['path']
              : await written(app.serviceManager.contents, flip, folder(), args);
          await app.commands.execute('docmanager:open', { path, factory: FACTORY });
        } catch (error) {
          tellTrouble(error, trans);
        }
      }
    });
    palette?.addItem({ command: CommandIDs.editScenario, category: CATEGORY, args: { isPalette: true } });
    launcher?.add({ command: CommandIDs.editScenario, category: CATEGORY, rank: 7 });
  }
};

/** Writes a new scenario file, and says where: that of a scenario, or of the first one. */
async function written(
  contents: Contents.IManager,
  { api }: IFlip,
  folder: string,
  args: { [name: string]: unknown }
): Promise<string> {
  let { name, toml } = args as { name?: string; toml?: string };
  if (name === undefined) {
    const { items } = await api.get<{ items: { name: string }[] }>('scenarios');
    name = items[0]?.name ?? 'scenario';
  }
  toml ??= (await api.get<{ toml: string }>(`scenarios/${encodeURIComponent(name)}`)).toml;
  const there = await contents.get(folder, { content: true });
  const taken = new Set((there.content as Contents.IModel[]).map(each => each.name));
  let at = 1;
  const file = (): string => (at === 1 ? `${name}${ENDING}` : `${name}-${at}${ENDING}`);
  while (taken.has(file())) at += 1;
  const path = PathExt.join(folder, file());
  await contents.save(path, { type: 'file', format: 'text', content: toml });
  return path;
}
