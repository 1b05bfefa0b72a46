import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { IScenarioCard, found, paragraphs, words } from '../src/panels/gallery_filter';
import { IModelVersion, Stage, consequence, modelsOf } from '../src/panels/models_list';
import { isCost, ranked, sweepsOf } from '../src/panels/sweeps_list';
import { IRunRow } from '../src/runs/rows';

function card(name: string, more: Partial<IScenarioCard> = {}): IScenarioCard {
  return {
    name,
    title: '',
    description: '',
    dataset: 'digits',
    partitioner: 'iid',
    num_nodes: 10,
    model: 'mlp',
    strategy: 'FedAvg',
    num_rounds: 5,
    ...more
  };
}

function run(run_id: string, more: Partial<IRunRow> = {}): IRunRow {
  return {
    run_id,
    name: run_id,
    kind: 'scenario',
    experiment: '',
    sweep: 'rates',
    tags: [],
    note: '',
    is_archived: false,
    state: 'completed',
    engine: 'auto',
    federation: null,
    seed: 0,
    num_rounds: 3,
    rounds_done: 3,
    num_nodes: 10,
    created_at: null,
    started_at: null,
    ended_at: null,
    parent_run_id: null,
    forked_at_round: null,
    error_code: null,
    error: null,
    headline: null,
    fraction: null,
    ...more
  };
}

function version(name: string, number: number, stage: Stage = 'none'): IModelVersion {
  return {
    name,
    version: number,
    stage,
    sha256: '',
    size_bytes: 1,
    num_parameters: 1,
    run_id: null,
    server_round: null,
    artifact: 'model',
    metrics: {},
    scenario: null,
    tags: [],
    note: '',
    registered_at: '',
    registered_by: ''
  };
}

describe('the gallery', () => {
  const cards = [
    card('a', { title: 'Label skew' }),
    card('b', { dataset: 'mnist-5k', description: 'Much SKEW, says the label' }),
    card('c', { strategy: 'FedProx' })
  ];

  it('finds what has all words, in any order and anywhere', () => {
    assert.deepEqual(
      found(cards, { words: ' skew  LABEL', dataset: '', strategy: '' }).map(each => each.name),
      ['a', 'b']
    );
    assert.deepEqual(found(cards, { words: 'nothing', dataset: '', strategy: '' }), []);
  });

  it('narrows by data set and strategy', () => {
    assert.deepEqual(
      found(cards, { words: '', dataset: 'mnist-5k', strategy: '' }).map(each => each.name),
      ['b']
    );
    assert.deepEqual(
      found(cards, { words: '', dataset: 'digits', strategy: 'FedProx' }).map(each => each.name),
      ['c']
    );
    assert.deepEqual(
      words(cards, each => each.dataset),
      ['digits', 'mnist-5k']
    );
  });

  it('takes a description to paragraphs of one line', () => {
    assert.deepEqual(paragraphs('\none\ntwo\n\n  \nthree\n'), ['one two', 'three']);
  });
});

describe('sweeps', () => {
  const value = (name: string, number: number | 'NaN'): Partial<IRunRow> => ({ headline: { name, value: number } });

  it('gather runs by their sweep, newest first, with states and progress', () => {
    const rows = [
      run('c'),
      run('b', { sweep: 'seeds', state: 'running', fraction: 0.5 }),
      run('a', { state: 'failed', fraction: 0.2 }),
      run('x', { sweep: null })
    ];
    const [rates, seeds] = sweepsOf(rows);
    assert.deepEqual([rates.name, rates.runs.map(row => row.run_id), rates.fraction], ['rates', ['c', 'a'], 0.6]);
    assert.deepEqual(rates.states, [
      { state: 'completed', count: 1 },
      { state: 'failed', count: 1 }
    ]);
    assert.deepEqual([seeds.name, seeds.fraction, seeds.best], ['seeds', 0.5, null]);
  });

  it('rank by the usual metric, the highest first', () => {
    const rows = [
      run('a', value('eval_accuracy', 0.8)),
      run('b', value('eval_accuracy', 0.9)),
      run('c', value('eval_loss', 99)),
      run('d', value('eval_accuracy', 'NaN')),
      run('e')
    ];
    assert.deepEqual(
      ranked(rows).map(row => row.run_id),
      ['b', 'a']
    );
  });

  it('rank losses and errors the lowest first', () => {
    const rows = [run('a', value('eval_loss', 2)), run('b', value('eval_loss', 1))];
    assert.equal(sweepsOf(rows)[0].best?.run_id, 'b');
    assert.deepEqual(['eval_accuracy', 'train_loss', 'rmse', 'f1'].map(isCost), [false, true, true, false]);
  });
});

describe('the registry', () => {
  const filled = (text: string, ...values: unknown[]): string =>
    text.replace(/%(\d)/g, (_, at) => String(values[Number(at) - 1]));
  const trans = { __: filled, _n: (_one: string, many: string, count: number): string => filled(many, count) };

  it('gathers versions by model, the newest first, and knows what is in production', () => {
    const [cats, digits] = modelsOf([version('digits', 1, 'production'), version('digits', 2), version('cats', 1)]);
    assert.deepEqual([cats.name, cats.production], ['cats', null]);
    assert.deepEqual(
      digits.versions.map(each => each.version),
      [2, 1]
    );
    assert.equal(digits.production?.version, 1);
  });

  it('says what moving a version does to the others', () => {
    const [model] = modelsOf([version('digits', 1, 'production'), version('digits', 2)]);
    const [second, first] = model.versions;
    assert.match(consequence(model, second, 'production', trans), /^Version 1, .* archived/);
    assert.match(consequence(model, first, 'archived', trans), /no version is in production/);
    assert.match(consequence(model, second, 'staging', trans), /Nothing else/);
    assert.match(consequence(model, first, 'production', trans), /Nothing else/);
  });
});
