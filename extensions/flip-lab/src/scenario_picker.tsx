import { Dialog, ReactWidget, showDialog } from '@jupyterlab/apputils';
import React from 'react';
import { INotebookScenario } from './notebook_cells';
import { IFlip } from './tokens';

/** The part of a scenario's card that is shown. */
interface ICard extends INotebookScenario {
  num_nodes: number;
  num_rounds: number;
  strategy: string;
}

/** Asks which scenario; gives `null` if none after all. */
export async function pickScenario(flip: IFlip): Promise<INotebookScenario | null> {
  const { trans } = flip;
  const cards = (await flip.api.get<{ items: ICard[] }>('scenarios')).items;
  const answer = await showDialog({
    title: trans.__('New federation notebook'),
    body: new Picker(flip, cards),
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: trans.__('Create') })],
    focusNodeSelector: 'input:checked'
  });
  return answer.button.accept ? answer.value : null;
}

/** One radio button for each scenario. */
class Picker extends ReactWidget implements Dialog.IBodyWidget<ICard | null> {
  private _chosen: ICard | null;

  constructor(
    private readonly _flip: IFlip,
    private readonly _cards: ICard[]
  ) {
    super();
    this._chosen = _cards[0] ?? null;
    this.addClass('jp-FlipLab-picker');
  }

  getValue(): ICard | null {
    return this._chosen;
  }

  protected override render(): JSX.Element {
    const { trans } = this._flip;
    return (
      <fieldset>
        <legend>{trans.__('Which scenario shall it launch?')}</legend>
        {this._cards.map((card, place) => (
          <label key={card.name}>
            <input
              type="radio"
              name="flip-lab-scenario"
              defaultChecked={place === 0}
              onChange={() => (this._chosen = card)}
            />
            <span>
              <strong>{card.title}</strong>
              <small>
                {card.name} · {trans._n('%1 node', '%1 nodes', card.num_nodes)} ·{' '}
                {trans._n('%1 round', '%1 rounds', card.num_rounds)} · {card.strategy}
              </small>
            </span>
          </label>
        ))}
      </fieldset>
    );
  }
}
