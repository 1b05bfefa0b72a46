import { Dialog, ReactWidget, showDialog } from '@jupyterlab/apputils';
import { CommandRegistry } from '@lumino/commands';
import React, { useState } from 'react';
import { agoText, bytesText, numberText } from '../format';
import { CommandIDs, IFlip } from '../tokens';
import { useNow } from '../views/hooks';
import { IModelVersion, IRegisteredModel, STAGES, Stage, consequence, modelsOf } from './models_list';
import { Button, Choice, Problem, Search, useDeed, useLoaded } from './parts';
import { register } from './register';

/** The model registry: versions with their stages, and where each comes from. */
export class Models extends ReactWidget {
  constructor(
    private readonly _flip: IFlip,
    private readonly _commands: CommandRegistry
  ) {
    super();
    this.addClass('jp-FlipPanel');
  }

  protected override render(): JSX.Element {
    return <Registry flip={this._flip} commands={this._commands} />;
  }
}

interface IProps {
  flip: IFlip;
  commands: CommandRegistry;
}

function Registry({ flip, commands }: IProps): JSX.Element {
  const { trans, api } = flip;
  const [words, setWords] = useState('');
  const [stage, setStage] = useState('');
  const { value, error, isLoading, reload } = useLoaded(async () => {
    const versions: IModelVersion[] = [];
    for await (const page of api.pages<IModelVersion>('models')) versions.push(...page.items);
    return modelsOf(versions);
  }, [api]);
  const { error: refusal, act } = useDeed();
  const add = async (): Promise<void> => {
    if (
      await register(
        flip,
        (value ?? []).map(({ name }) => name)
      )
    )
      reload();
  };
  const models = (value ?? [])
    .filter(({ name }) => name.toLowerCase().includes(words.trim().toLowerCase()))
    .filter(({ versions }) => stage === '' || versions.some(each => each.stage === stage));
  return (
    <section aria-label={trans.__('Models')}>
      <header className="jp-FlipHeader">
        <h1>{trans.__('Models')}</h1>
        <p>
          {trans.__(
            'Versions never change. One of each model is in production; a roll back brings back the one before.'
          )}
        </p>
      </header>
      <div className="jp-FlipBar" role="search">
        <Search label={trans.__('Search models')} value={words} onChange={setWords} />
        <Choice label={trans.__('Stage')} all={trans.__('all')} words={STAGES} value={stage} onChange={setStage} />
        <Button isBusy={isLoading} onClick={reload}>
          {trans.__('Refresh')}
        </Button>
        <Button isMain onClick={() => act(add)}>
          {trans.__('Register…')}
        </Button>
        <span className="jp-FlipCount" role="status">
          {value !== null && trans._n('%1 model', '%1 models', models.length)}
        </span>
      </div>
      {[error, refusal].map((each, at) => each && <Problem key={at} error={each} trans={trans} />)}
      {value === null && error === null && <p className="jp-FlipEmpty">{trans.__('Reading the registry…')}</p>}
      {value?.length === 0 && (
        <p className="jp-FlipEmpty">
          {trans.__('No model is registered yet. Take that of a run with Register…, or in a notebook:')}{' '}
          <code>lab.models.register(run, "digits")</code>
        </p>
      )}
      {models.map(model => (
        <Model key={model.name} model={model} flip={flip} commands={commands} reload={reload} />
      ))}
    </section>
  );
}

function Model({
  model,
  flip,
  commands,
  reload
}: IProps & { model: IRegisteredModel; reload: () => void }): JSX.Element {
  const { trans, api } = flip;
  const { isBusy, error, act } = useDeed();
  const { name, versions, production } = model;
  const path = `models/${encodeURIComponent(name)}`;
  const promote = async (version: IModelVersion, stage: Stage): Promise<void> => {
    const title = trans.__('Move %1 %2 to %3?', name, version.version, stageText(flip, stage));
    if (!(await isConfirmed(flip, title, consequence(model, version, stage, trans)))) return;
    await api.send('PATCH', `${path}/versions/${version.version}`, { stage });
    reload();
  };
  const rollBack = async (): Promise<void> => {
    const seen = await api.request(path);
    const { before } = (await seen.json()) as { before: number | null };
    if (before === null) throw new Error(trans.__('No other version of %1 was in production.', name));
    const body = production
      ? trans.__('Version %1 is in production again; version %2 is archived.', before, production.version)
      : trans.__('Version %1 is in production again.', before);
    if (!(await isConfirmed(flip, trans.__('Roll %1 back?', name), body))) return;
    // What was confirmed is done, or nothing: somebody else may have moved a version meanwhile.
    await api.send('POST', `${path}/roll-back`, undefined, { 'If-Match': seen.headers.get('ETag') ?? '*' });
    reload();
  };
  return (
    <details className="jp-FlipGroup" open data-model={name}>
      <summary>
        <h2>{name}</h2>
        <span>{trans._n('%1 version', '%1 versions', versions.length)}</span>
        <span>
          {production ? trans.__('version %1 is in production', production.version) : trans.__('none in production')}
        </span>
      </summary>
      <div className="jp-FlipBar">
        <Button
          isBusy={isBusy}
          isOff={versions.length < 2}
          onClick={() => act(rollBack)}
          label={trans.__('Roll %1 back', name)}
        >
          {trans.__('Roll back')}
        </Button>
      </div>
      {error && <Problem error={error} trans={trans} />}
      <div className="jp-FlipScroll">
        <table className="jp-FlipTable">
          <thead>
            <tr>
              <th scope="col">{trans.__('Version')}</th>
              <th scope="col">{trans.__('Stage')}</th>
              <th scope="col">{trans.__('Metrics')}</th>
              <th scope="col">{trans.__('Comes from')}</th>
              <th scope="col">{trans.__('Size')}</th>
              <th scope="col">{trans.__('Registered')}</th>
              <th scope="col">{trans.__('File')}</th>
            </tr>
          </thead>
          <tbody>
            {versions.map(version => (
              <Version
                key={version.version}
                version={version}
                href={api.url(`${path}/versions/${version.version}/file`)}
                promote={stage => act(() => promote(version, stage))}
                flip={flip}
                commands={commands}
              />
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}

function Version(
  props: IProps & { version: IModelVersion; href: string; promote: (stage: Stage) => void }
): JSX.Element {
  const { version, href, promote, flip, commands } = props;
  const { trans } = flip;
  const now = useNow();
  const language = document.documentElement.lang || undefined;
  return (
    <tr>
      <th scope="row">
        {version.version}
        {version.note && <p className="jp-FlipNote">{version.note}</p>}
        {version.tags.map(tag => (
          <span key={tag} className="jp-FlipTag">
            {tag}
          </span>
        ))}
      </th>
      <td>
        <select
          className="jp-FlipStage"
          data-stage={version.stage}
          aria-label={trans.__('Stage of version %1', version.version)}
          value={version.stage}
          onChange={event => promote(event.target.value as Stage)}
        >
          {STAGES.map(stage => (
            <option key={stage} value={stage}>
              {stageText(flip, stage)}
            </option>
          ))}
        </select>
      </td>
      <td>
        <dl className="jp-FlipMetrics">
          {Object.entries(version.metrics).map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{numberText(value)}</dd>
            </div>
          ))}
        </dl>
      </td>
      <td>
        {version.run_id === null ? (
          trans.__('a file: %1', version.artifact)
        ) : (
          <button
            type="button"
            className="jp-FlipLink"
            onClick={() => void commands.execute(CommandIDs.openRun, { run_id: version.run_id })}
          >
            {version.run_id}
          </button>
        )}
        <p className="jp-FlipNote">
          {[version.scenario, version.server_round === null ? null : trans.__('round %1', version.server_round)]
            .filter(Boolean)
            .join(' · ')}
        </p>
      </td>
      <td>
        {bytesText(version.size_bytes)}
        <p className="jp-FlipNote">{trans.__('%1 parameters', version.num_parameters.toLocaleString(language))}</p>
      </td>
      <td title={version.registered_at}>
        {agoText(version.registered_at, now)}
        <p className="jp-FlipNote">{version.registered_by}</p>
      </td>
      <td>
        <a
          className="jp-FlipLink"
          href={href}
          download={`${version.name}-${version.version}.safetensors`}
          aria-label={trans.__('Download version %1', version.version)}
          title={`SHA-256 ${version.sha256}`}
        >
          {trans.__('Download')}
        </a>
      </td>
    </tr>
  );
}

function stageText({ trans }: IFlip, stage: Stage): string {
  const texts: Record<Stage, string> = {
    none: trans.__('no stage'),
    staging: trans.__('staging'),
    production: trans.__('production'),
    archived: trans.__('archived')
  };
  return texts[stage];
}

async function isConfirmed({ trans }: IFlip, title: string, body: string): Promise<boolean> {
  const buttons = [Dialog.cancelButton({ label: trans.__('Cancel') }), Dialog.okButton({ label: trans.__('Yes') })];
  return (await showDialog({ title, body, buttons })).button.accept;
}
