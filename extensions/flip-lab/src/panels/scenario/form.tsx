import { ReactWidget } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import React, { useId, useState } from 'react';
import { useVersion } from '../../views/hooks';
import { Prose } from '../parts';
import { lineFor } from './check';
import { GroupKey, IRow, ITrouble, groupsOf, rangeText } from './fields';
import { ScenarioModel } from './model';

/** The form beside a scenario's text. */
export class ScenarioForm extends ReactWidget {
  constructor(
    private readonly _model: ScenarioModel,
    private readonly _trans: TranslationBundle,
    private readonly _goTo: (line: number) => void
  ) {
    super();
    this.addClass('jp-FlipForm');
    this.title.label = _trans.__('Form');
  }

  protected override render(): JSX.Element {
    return <Form model={this._model} trans={this._trans} goTo={this._goTo} />;
  }
}

interface IProps {
  model: ScenarioModel;
  trans: TranslationBundle;
  goTo: (line: number) => void;
}

function Form(props: IProps): JSX.Element {
  const { model, trans } = props;
  useVersion(model);
  const { toml, fields, troubles } = model;
  if (toml === null || fields.length === 0) {
    return (
      <div className="jp-FlipForm-body">
        <Whole {...props} />
        {troubles.size === 0 && (
          <p className="jp-FlipEmpty">
            {model.isReachable ? trans.__('Reading the scenario…') : trans.__('The lab does not answer. Trying again…')}
          </p>
        )}
      </div>
    );
  }
  return (
    <div className="jp-FlipForm-body">
      <Status {...props} />
      <Whole {...props} />
      {groupsOf(toml, fields).map(({ key, rows }) => (
        <fieldset key={key} disabled={!model.isReadable}>
          <legend>{groupText(key, trans)}</legend>
          {rows.map(row => (
            <Field key={row.field.path} row={row} trouble={troubles.get(row.field.path)} {...props} />
          ))}
        </fieldset>
      ))}
    </div>
  );
}

/** Says in one line how the text stands. */
function Status({ model, trans }: IProps): JSX.Element {
  const count = model.troubles.size;
  const words = (): string => {
    if (!model.isReachable) return trans.__('The lab does not answer; what you write is not checked now.');
    if (!model.isChecked) return trans.__('Checking…');
    return count === 0 ? trans.__('This scenario can be run.') : trans._n('%1 problem', '%1 problems', count);
  };
  return (
    <p className="jp-FlipForm-status" role="status" data-tone={count > 0 ? 'bad' : model.isChecked ? 'good' : 'quiet'}>
      {words()}
    </p>
  );
}

/** Problems that no field is to blame for, and keys that mean nothing. */
function Whole({ model, trans, goTo }: IProps): JSX.Element {
  const paths = new Set(model.fields.map(field => field.path));
  const strangers = model.strangers;
  const others = [...model.troubles].filter(([path]) => !paths.has(path));
  const unsaid = strangers.filter(path => !others.some(([each]) => path === each || path.startsWith(`${each}.`)));
  return (
    <>
      {others.map(([path, trouble]) => (
        <div key={path} className="jp-FlipProblem" role="alert">
          <Trouble trouble={trouble} />
          <span className="jp-FlipActions">
            <GoTo line={lineFor(path, trouble, model.isReadable ? model.toml : null)} trans={trans} goTo={goTo} />
            {(strangers.includes(path) || strangers.some(each => each.startsWith(`${path}.`))) && path !== '' && (
              <button type="button" className="jp-FlipButton" onClick={() => model.remove(path)}>
                {trans.__('Remove %1', path)}
              </button>
            )}
          </span>
        </div>
      ))}
      {unsaid.length > 0 && model.isChecked && others.length === 0 && (
        <p className="jp-FlipNote">{trans.__('The form has no field for %1.', unsaid.join(', '))}</p>
      )}
    </>
  );
}

function Trouble({ trouble: { code, what, fix } }: { trouble: ITrouble }): JSX.Element {
  return (
    <>
      <strong>{code}</strong> {what} {fix}
    </>
  );
}

function GoTo({
  line,
  trans,
  goTo
}: {
  line: number | null;
  trans: TranslationBundle;
  goTo: (line: number) => void;
}): JSX.Element | null {
  if (line === null) return null;
  return (
    <button type="button" className="jp-FlipLink" onClick={() => goTo(line)}>
      {trans.__('Line %1', line)}
    </button>
  );
}

function Field({
  row,
  trouble,
  model,
  trans,
  goTo
}: IProps & { row: IRow; trouble: ITrouble | undefined }): JSX.Element {
  const { field, raw, isRemovable } = row;
  const id = useId();
  const help = (field.about || field.help).replace(/``/g, '`');
  const range = rangeText(field);
  const told = [trouble && `${id}-trouble`, range && `${id}-range`, help && `${id}-help`].filter(Boolean).join(' ');
  return (
    <div className="jp-FlipField" data-path={field.path} data-set={raw !== null}>
      <div className="jp-FlipField-head">
        <label htmlFor={id}>{field.label}</label>
        {range && (
          <span id={`${id}-range`} className="jp-FlipField-range">
            {range}
          </span>
        )}
      </div>
      <div className="jp-FlipField-control">
        <Control
          row={row}
          model={model}
          trans={trans}
          about={{ id, 'aria-describedby': told || undefined, 'aria-invalid': trouble !== undefined }}
        />
        {field.unit && <span className="jp-FlipField-range">{field.unit}</span>}
        {raw !== null && isRemovable && (
          <button
            type="button"
            className="jp-FlipUndo"
            title={trans.__('Take it out of the text: its default holds')}
            aria-label={trans.__('Use the default of %1', field.label)}
            onClick={() => model.remove(field.path)}
          >
            ↺
          </button>
        )}
      </div>
      {trouble && (
        <p className="jp-FlipField-trouble" id={`${id}-trouble`}>
          <Trouble trouble={trouble} />{' '}
          <GoTo line={lineFor(field.path, trouble, model.isReadable ? model.toml : null)} trans={trans} goTo={goTo} />
        </p>
      )}
      {help && (
        <p className="jp-FlipNote" id={`${id}-help`}>
          <Prose text={help} />
        </p>
      )}
    </div>
  );
}

interface IControl {
  row: IRow;
  model: ScenarioModel;
  trans: TranslationBundle;
  about: { id: string; 'aria-describedby': string | undefined; 'aria-invalid': boolean };
}

/** What a field is filled in with. What is typed stays as it is until the field is left. */
function Control({ row: { field, raw, usual }, model, trans, about }: IControl): JSX.Element {
  const [draft, setDraft] = useState<string | null>(null);
  if (field.kind === 'boolean' && typeof raw !== 'string') {
    const isOn = raw ?? usual === 'true';
    return (
      <input
        type="checkbox"
        {...about}
        checked={isOn}
        onChange={event => model.put(field, event.target.checked, true)}
      />
    );
  }
  const now = typeof raw === 'string' ? raw : '';
  if (field.is_closed) {
    const isKnown = now === '' || field.choices.includes(now);
    return (
      <select {...about} value={now} onChange={event => model.put(field, event.target.value, true)}>
        <option value="">{trans.__('default (%1)', usual)}</option>
        {(isKnown ? field.choices : [now, ...field.choices]).map(choice => (
          <option key={choice} value={choice}>
            {choice}
          </option>
        ))}
      </select>
    );
  }
  const type = (text: string): void => {
    setDraft(text);
    model.put(field, text, false);
  };
  const leave = (): void => {
    if (draft !== null && draft !== now) model.put(field, draft, true);
    setDraft(null);
  };
  const common = {
    ...about,
    value: draft ?? now,
    placeholder: usual,
    spellCheck: false,
    autoComplete: 'off',
    onChange: (event: React.ChangeEvent<HTMLInputElement | HTMLTextAreaElement>) => type(event.target.value),
    onBlur: leave
  };
  if (field.path === 'description') return <textarea rows={5} {...common} spellCheck />;
  const isNumber = field.kind === 'integer' || field.kind === 'number';
  return (
    <>
      <input
        type="text"
        inputMode={isNumber ? 'decimal' : undefined}
        list={field.choices.length ? `${about.id}-list` : undefined}
        {...common}
      />
      {field.choices.length > 0 && (
        <datalist id={`${about.id}-list`}>
          {field.choices.map(choice => (
            <option key={choice} value={choice} />
          ))}
        </datalist>
      )}
    </>
  );
}

function groupText(key: GroupKey, trans: TranslationBundle): string {
  const texts: Record<GroupKey, string> = {
    about: trans.__('Scenario'),
    data: trans.__('Data'),
    model: trans.__('Model'),
    strategy: trans.__('Strategy'),
    train: trans.__('Training')
  };
  return texts[key];
}
