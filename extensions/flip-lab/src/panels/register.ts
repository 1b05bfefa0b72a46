import { Dialog, showDialog } from '@jupyterlab/apputils';
import { Widget } from '@lumino/widgets';
import { isFinal } from '../runs/rows';
import { stateText } from '../runs/words';
import { IFlip } from '../tokens';

/** What `POST /models` takes. */
interface IRegistration {
  name: string;
  run_id: string;
  note: string;
}

const MOST_RUNS = 500;

/**
 * Asks which run's final model to register, and under which name.
 *
 * @param names Names that there are already: a version more is the usual wish.
 * @returns Whether something was registered.
 * @throws ApiError where the API refuses, such as a run that kept no model.
 */
export async function register(flip: IFlip, names: readonly string[]): Promise<boolean> {
  const { trans, api } = flip;
  const body = new RegisterForm(flip, names);
  const { button, value } = await showDialog({
    title: trans.__('Register a model'),
    body,
    buttons: [Dialog.cancelButton({ label: trans.__('Cancel') }), Dialog.okButton({ label: trans.__('Register') })],
    focusNodeSelector: 'select'
  });
  if (!button.accept || !value) return false;
  await api.send('POST', 'models', value);
  return true;
}

class RegisterForm extends Widget implements Dialog.IBodyWidget<IRegistration> {
  private readonly _run = document.createElement('select');
  private readonly _name = document.createElement('input');
  private readonly _note = document.createElement('input');

  constructor({ trans, runs }: IFlip, names: readonly string[]) {
    super();
    this.addClass('jp-FlipRegister');
    const ended = runs.rows.filter(row => isFinal(row.state)).slice(0, MOST_RUNS);
    for (const row of ended) {
      this._run.add(new Option(`${row.name} · ${row.run_id} · ${stateText(row.state, trans)}`, row.run_id));
    }
    const known = document.createElement('datalist');
    known.id = 'jp-FlipRegister-names';
    known.append(...names.map(name => new Option(name)));
    this._name.setAttribute('list', known.id);
    this._name.value = names[0] ?? ended[0]?.name ?? '';
    this.node.append(
      labelled(trans.__('Final model of the run'), this._run),
      labelled(trans.__('Name of the model'), this._name),
      labelled(trans.__('Note'), this._note),
      known
    );
  }

  getValue(): IRegistration {
    return { name: this._name.value.trim(), run_id: this._run.value, note: this._note.value };
  }
}

function labelled(words: string, field: HTMLElement): HTMLElement {
  const label = document.createElement('label');
  const span = document.createElement('span');
  span.textContent = words;
  label.append(span, field);
  return label;
}
