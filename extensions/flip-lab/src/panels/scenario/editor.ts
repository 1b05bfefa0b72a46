import { CodeEditor, IEditorServices } from '@jupyterlab/codeeditor';
import { CodeMirrorEditor } from '@jupyterlab/codemirror';
import { ABCWidgetFactory, DocumentRegistry, DocumentWidget } from '@jupyterlab/docregistry';
import { FileEditor } from '@jupyterlab/fileeditor';
import { LabIcon, ToolbarButton, runIcon } from '@jupyterlab/ui-components';
import { CommandRegistry } from '@lumino/commands';
import { Message } from '@lumino/messaging';
import { Signal } from '@lumino/signaling';
import { SplitPanel, Widget } from '@lumino/widgets';
import { tellTrouble } from '../../notice';
import { CommandIDs, IFlip } from '../../tokens';
import { launchIcon, partitionsIcon } from '../icons';
import { launched } from '../launching';
import { lineFor } from './check';
import { ScenarioForm } from './form';
import { mark, marking } from './marks';
import { IText, ScenarioModel } from './model';

/** What is seen of a scenario: its form, its text, or both. */
export type Sides = 'both' | 'form' | 'text';

const NARROW_PX = 760; // below, the form stands above the text

/** A scenario's form and text, side by side; each follows the other. */
export class ScenarioEditor extends SplitPanel {
  readonly model: ScenarioModel;
  private readonly _form: ScenarioForm;
  private readonly _text: FileEditor;

  constructor(context: DocumentRegistry.Context, text: FileEditor, flip: IFlip) {
    super({ orientation: 'horizontal' });
    this.addClass('jp-FlipScenario');
    this._text = text;
    this.model = new ScenarioModel(textOf(context), flip.api);
    this._form = new ScenarioForm(this.model, flip.trans, line => this._goTo(line));
    this.addWidget(this._form);
    this.addWidget(text);
    this.setRelativeSizes([1, 1]);
    if (text.editor instanceof CodeMirrorEditor) text.editor.injectExtension(marking);
    this.model.changed.connect(this._mark, this);
  }

  override dispose(): void {
    if (this.isDisposed) return;
    this.model.dispose();
    Signal.clearData(this);
    super.dispose();
  }

  get sides(): Sides {
    if (this._form.isHidden) return 'text';
    return this._text.isHidden ? 'form' : 'both';
  }

  set sides(sides: Sides) {
    this._form.setHidden(sides === 'text');
    this._text.setHidden(sides === 'form');
  }

  protected override onResize(message: Widget.ResizeMessage): void {
    const width = message.width < 0 ? this.node.offsetWidth : message.width;
    if (width > 0) this.orientation = width < NARROW_PX ? 'vertical' : 'horizontal';
    super.onResize(message);
  }

  protected override onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    const first = this._form.node.querySelector<HTMLElement>('input, select, textarea');
    if (this.sides === 'text' || first === null) this._text.activate();
    else first.focus();
  }

  private _goTo(line: number): void {
    if (this.sides === 'form') this.sides = 'both';
    const { editor } = this._text;
    const position: CodeEditor.IPosition = { line: line - 1, column: 0 };
    editor.setCursorPosition(position);
    editor.revealPosition(position);
    editor.focus();
  }

  private _mark(): void {
    const { editor } = this._text;
    if (!(editor instanceof CodeMirrorEditor) || !this.model.isChecked) return;
    const toml = this.model.isReadable ? this.model.toml : null;
    const marks = [...this.model.troubles].flatMap(([path, trouble]) => {
      const line = lineFor(path, trouble, toml);
      return line === null ? [] : [{ line, words: [trouble.code, trouble.what, trouble.fix].join(' ') }];
    });
    mark(editor.editor, marks);
  }
}

/** The text of a document, changed in place: cursor, undo and other pages go along. */
function textOf(context: DocumentRegistry.Context): IText {
  const model = context.model as DocumentRegistry.ICodeModel;
  return {
    read: () => model.sharedModel.getSource(),
    splice: ({ start, end, text }) => model.sharedModel.updateSource(start, end, text),
    changed: model.contentChanged
  };
}

export interface IScenarioFactoryOptions extends DocumentRegistry.IWidgetFactoryOptions {
  flip: IFlip;
  editors: IEditorServices;
  commands: CommandRegistry;
}

export type ScenarioDocument = DocumentWidget<ScenarioEditor, DocumentRegistry.ICodeModel>;

/** Makes editors of `.flip.toml` files. */
export class ScenarioFactory extends ABCWidgetFactory<ScenarioDocument, DocumentRegistry.ICodeModel> {
  constructor(private readonly _options: IScenarioFactoryOptions) {
    super(_options);
  }

  protected override createNewWidget(context: DocumentRegistry.CodeContext): ScenarioDocument {
    const { editors, flip, commands } = this._options;
    const text = new FileEditor({
      factory: options =>
        editors.factoryService.newDocumentEditor({ ...options, config: { lineNumbers: true, lineWrap: true } }),
      mimeTypeService: editors.mimeTypeService,
      context
    });
    const content = new ScenarioEditor(context, text, flip);
    const document = new DocumentWidget({ content, context }) as ScenarioDocument;
    addTools(document, flip, commands);
    return document;
  }
}

function addTools({ content, context, toolbar }: ScenarioDocument, flip: IFlip, commands: CommandRegistry): void {
  const { trans } = flip;
  const run = async (): Promise<void> => {
    try {
      const run_id = await launched(flip.api, { toml: content.model.text() });
      await commands.execute(CommandIDs.openRun, { run_id });
    } catch (error) {
      tellTrouble(error, trans);
    }
  };
  const button = new ToolbarButton({
    className: 'jp-FlipTool',
    icon: runIcon,
    label: trans.__('Run this scenario'),
    tooltip: trans.__('Launch what stands in the text, saved or not, and watch it'),
    onClick: () => {
      button.enabled = false; // a double click is one
      void run().finally(() => {
        button.enabled = true;
      });
    }
  });
  toolbar.addItem('run', button);
  // These read the file, so it is saved first; the Jupyter server's root is the API's, too.
  const openSaved = async (command: string): Promise<void> => {
    if (context.model.dirty) await context.save();
    await commands.execute(command, { scenario: context.localPath });
  };
  const others: [string, LabIcon, string, string][] = [
    [
      CommandIDs.openLaunchForm,
      launchIcon,
      trans.__('Launch form'),
      trans.__('Save it, and choose where and how often it runs')
    ],
    [
      CommandIDs.openPartitions,
      partitionsIcon,
      trans.__('Partitions'),
      trans.__('Save it, and see how its data lies on the nodes')
    ]
  ];
  for (const [command, icon, label, tooltip] of others) {
    const onClick = (): void => void openSaved(command).catch(error => tellTrouble(error, trans));
    toolbar.addItem(command, new ToolbarButton({ className: 'jp-FlipTool', icon, label, tooltip, onClick }));
  }
  const sides: [Sides, string][] = [
    ['form', trans.__('Form')],
    ['both', trans.__('Both')],
    ['text', trans.__('Text')]
  ];
  toolbar.addItem('sides', new SidesSwitch(content, sides, trans.__('What is shown')));
}

/** Three buttons of which one is pressed. */
class SidesSwitch extends Widget {
  constructor(editor: ScenarioEditor, sides: [Sides, string][], label: string) {
    super();
    this.addClass('jp-FlipSides');
    this.node.setAttribute('role', 'group');
    this.node.setAttribute('aria-label', label);
    const buttons = sides.map(([side, words]) => {
      const node = document.createElement('button');
      node.textContent = words;
      node.onclick = () => {
        editor.sides = side;
        show();
      };
      return { side, node };
    });
    const show = (): void =>
      buttons.forEach(({ side, node }) => node.setAttribute('aria-pressed', String(side === editor.sides)));
    this.node.append(...buttons.map(({ node }) => node));
    show();
  }
}
