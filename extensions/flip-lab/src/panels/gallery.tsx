import { Dialog, ReactWidget, showDialog } from '@jupyterlab/apputils';
import { CommandRegistry } from '@lumino/commands';
import React, { useState } from 'react';
import { CommandIDs, IFlip } from '../tokens';
import { IScenarioCard, found, paragraphs, words } from './gallery_filter';
import { launched } from './launching';
import { Button, Choice, Problem, Prose, Search, useDeed, useLoaded } from './parts';
import { useTheme } from './theme';

/** All scenarios that can be launched by name, with pictures. */
export class Gallery extends ReactWidget {
  constructor(
    private readonly _flip: IFlip,
    private readonly _commands: CommandRegistry
  ) {
    super();
    this.addClass('jp-FlipPanel');
  }

  protected override render(): JSX.Element {
    return <Cards flip={this._flip} commands={this._commands} />;
  }
}

interface IProps {
  flip: IFlip;
  commands: CommandRegistry;
}

function Cards({ flip, commands }: IProps): JSX.Element {
  const { trans, api } = flip;
  const { value, error } = useLoaded(async () => (await api.get<{ items: IScenarioCard[] }>('scenarios')).items, []);
  const [wanted, setWanted] = useState({ words: '', dataset: '', strategy: '' });
  const theme = useTheme(flip.settings);
  const cards = value ?? [];
  const shown = found(cards, wanted);
  return (
    <section aria-label={trans.__('Scenarios')}>
      <header className="jp-FlipHeader">
        <h1>{trans.__('Scenarios')}</h1>
        <p>{trans.__('Federations that are ready to run: each shows one thing, and says what to look for.')}</p>
      </header>
      <div className="jp-FlipBar" role="search">
        <Search
          label={trans.__('Search scenarios')}
          value={wanted.words}
          onChange={each => setWanted({ ...wanted, words: each })}
        />
        <Choice
          label={trans.__('Data set')}
          all={trans.__('all')}
          words={words(cards, each => each.dataset)}
          value={wanted.dataset}
          onChange={dataset => setWanted({ ...wanted, dataset })}
        />
        <Choice
          label={trans.__('Strategy')}
          all={trans.__('all')}
          words={words(cards, each => each.strategy)}
          value={wanted.strategy}
          onChange={strategy => setWanted({ ...wanted, strategy })}
        />
        <span className="jp-FlipCount" role="status">
          {value !== null && trans._n('%1 scenario', '%1 scenarios', shown.length)}
        </span>
      </div>
      {error && <Problem error={error} trans={trans} />}
      {value === null && error === null && <p className="jp-FlipEmpty">{trans.__('Reading the scenarios…')}</p>}
      {value !== null && shown.length === 0 && <p className="jp-FlipEmpty">{trans.__('No scenario is like that.')}</p>}
      <ul className="jp-FlipCards">
        {shown.map(card => (
          <Card key={card.name} card={card} theme={theme} flip={flip} commands={commands} />
        ))}
      </ul>
    </section>
  );
}

function Card({ card, theme, flip, commands }: IProps & { card: IScenarioCard; theme: string }): JSX.Element {
  const { trans, api } = flip;
  const { isBusy, error, act } = useDeed();
  const [isWhole, setIsWhole] = useState(false);
  const prose = paragraphs(card.description);
  const start = async (): Promise<void> => {
    const run_id = await launched(api, { scenario: card.name });
    await commands.execute(CommandIDs.openRun, { run_id });
  };
  const facts: [string, string][] = [
    [trans.__('Data set'), card.dataset],
    [trans.__('Nodes'), `${card.num_nodes} · ${card.partitioner}`],
    [trans.__('Model'), card.model],
    [trans.__('Strategy'), card.strategy],
    [trans.__('Rounds'), String(card.num_rounds)]
  ];
  return (
    <li className="jp-FlipCard" aria-label={card.title || card.name} data-scenario={card.name}>
      <img
        className="jp-FlipCard-picture"
        loading="lazy"
        alt={trans.__('How the data of %1 lies on its nodes', card.name)}
        src={api.url(`scenarios/${encodeURIComponent(card.name)}/picture.svg`, { theme })}
      />
      <h2>{card.title || card.name}</h2>
      <code className="jp-FlipCard-name">{card.name}</code>
      {prose.slice(0, isWhole ? undefined : 1).map((text, at) => (
        <p key={at}>
          <Prose text={text} />
        </p>
      ))}
      <div className="jp-FlipLinks">
        {prose.length > 1 && (
          <button type="button" className="jp-FlipLink" aria-expanded={isWhole} onClick={() => setIsWhole(!isWhole)}>
            {isWhole ? trans.__('Less') : trans.__('What to look for')}
          </button>
        )}
        <button
          type="button"
          className="jp-FlipLink"
          aria-label={trans.__('Show TOML of %1', card.name)}
          onClick={() => act(() => showToml(flip, commands, card.name))}
        >
          {trans.__('Show TOML')}
        </button>
      </div>
      <dl className="jp-FlipFacts">
        {facts.map(([name, fact]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{fact}</dd>
          </div>
        ))}
      </dl>
      {error && <Problem error={error} trans={trans} />}
      <div className="jp-FlipActions">
        <Button isMain isBusy={isBusy} onClick={() => act(start)} label={trans.__('Start %1', card.name)}>
          {isBusy ? trans.__('Starting…') : trans.__('Start')}
        </Button>
        <Button
          onClick={() => void commands.execute(CommandIDs.openLaunchForm, { scenario: card.name })}
          label={trans.__('Open form of %1', card.name)}
        >
          {trans.__('Open form')}
        </Button>
        <Button
          onClick={() => void commands.execute(CommandIDs.newNotebook, { scenario: card.name })}
          label={trans.__('New notebook from %1', card.name)}
        >
          {trans.__('New notebook')}
        </Button>
      </div>
    </li>
  );
}

/** Shows a scenario's file; a copy of it can be edited. */
async function showToml({ api, trans }: IFlip, commands: CommandRegistry, name: string): Promise<void> {
  const { toml } = await api.get<{ toml: string }>(`scenarios/${encodeURIComponent(name)}`);
  const edit = Dialog.okButton({
    label: trans.__('Edit a copy'),
    caption: trans.__('Write it to a file of your own, and open it as a form')
  });
  const { button } = await showDialog({
    title: `${name}.flip.toml`,
    body: (
      <pre className="jp-FlipToml" tabIndex={0}>
        {toml}
      </pre>
    ),
    buttons: [Dialog.cancelButton({ label: trans.__('Close') }), edit],
    defaultButton: 0
  });
  if (button.accept) await commands.execute(CommandIDs.editScenario, { name, toml });
}
