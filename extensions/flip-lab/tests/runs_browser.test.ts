import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Signal } from '@lumino/signaling';
import { RunsBrowser } from '../src/runs/browser';
import { filtered } from '../src/runs/filter';
import { IRunsModel, IStep } from '../src/runs/model';
import { ordered } from '../src/runs/order';
import { IRunRow } from '../src/runs/rows';
import { rowOf } from './rows';

/** Runs that change when we say so. */
class FakeRuns implements IRunsModel {
  readonly state = 'live';
  readonly version = 0;
  readonly active = [];
  readonly changed: Signal<IRunsModel, void> = new Signal<IRunsModel, void>(this);
  readonly stepped: Signal<IRunsModel, IStep> = new Signal<IRunsModel, IStep>(this);

  constructor(public rows: IRunRow[]) {}

  row(run_id: string): IRunRow | undefined {
    return this.rows.find(row => row.run_id === run_id);
  }

  become(rows: IRunRow[]): void {
    this.rows = rows;
    this.changed.emit();
  }
}

const ids = (rows: readonly IRunRow[]): string[] => rows.map(row => row.run_id);
const many = (count: number): IRunRow[] => Array.from({ length: count }, (_, place) => rowOf(count - place));

test('every word must occur somewhere, in small or capital letters', () => {
  const rows = [rowOf(3, { tags: ['Baseline'] }), rowOf(2, { note: 'too slow', engine: 'ray' }), rowOf(1)];
  const found = (text: string): string[] => ids(filtered(rows, { text, state: 'any', archived: false }));
  assert.deepEqual(found(''), ['run-00003', 'run-00002', 'run-00001']);
  assert.deepEqual(found('  BASE '), ['run-00003']);
  assert.deepEqual(found('ray slow'), ['run-00002']);
  assert.deepEqual(found('ray base'), []);
});

test('states are chosen one by one or as a group; archived runs only where they are wanted', () => {
  const rows = [
    rowOf(4, { state: 'running' }),
    rowOf(3, { state: 'paused' }),
    rowOf(2, { state: 'failed' }),
    rowOf(1, { is_archived: true })
  ];
  const found = (state: 'any' | 'active' | 'ended' | 'paused', archived = false): string[] =>
    ids(filtered(rows, { text: '', state, archived }));
  assert.deepEqual(found('any'), ['run-00004', 'run-00003', 'run-00002']);
  assert.deepEqual(found('active'), ['run-00004', 'run-00003']);
  assert.deepEqual(found('ended', true), ['run-00002', 'run-00001']);
  assert.deepEqual(found('paused'), ['run-00003']);
});

test('runs without a metric, and NaN, come after all others', () => {
  const rows = [
    rowOf(5, { headline: { name: 'eval_accuracy', value: 'NaN' } }),
    rowOf(4, { headline: { name: 'eval_accuracy', value: 0.5 } }),
    rowOf(3),
    rowOf(2, { headline: { name: 'eval_accuracy', value: 'Infinity' } }),
    rowOf(1, { headline: { name: 'eval_accuracy', value: -3 } })
  ];
  assert.deepEqual(ids(ordered(rows, 'metric')), ['run-00002', 'run-00004', 'run-00001', 'run-00005', 'run-00003']);
  assert.deepEqual(ids(ordered(rows, 'oldest')), ['run-00001', 'run-00002', 'run-00003', 'run-00004', 'run-00005']);
});

test('the cursor stays on its run while others come, and stops at the ends', () => {
  const runs = new FakeRuns(many(3));
  const browser = new RunsBrowser(runs);
  assert.equal(browser.move(1), 0);
  assert.equal(browser.move(1), 1);
  runs.become(many(5));
  assert.equal(browser.active?.run_id, 'run-00002');
  assert.equal(browser.place('run-00002'), 3);
  assert.equal(browser.move(9), 4);
  assert.equal(browser.move(-99), 0);
});

test('a run that is filtered away is neither active nor chosen', () => {
  const browser = new RunsBrowser(new FakeRuns(many(3)));
  browser.choose('run-00002');
  browser.narrow({ text: 'run-00003' });
  assert.equal(browser.active, null);
  assert.deepEqual(browser.chosen, []);
  assert.equal(browser.move(1), 0);
});

test('several are chosen one by one or as a range, in the order of the list', () => {
  const browser = new RunsBrowser(new FakeRuns(many(6)));
  browser.choose('run-00002');
  browser.choose('run-00005', 'toggle');
  assert.deepEqual(ids(browser.chosen), ['run-00005', 'run-00002']);
  browser.choose('run-00003', 'range');
  assert.deepEqual(ids(browser.chosen), ['run-00005', 'run-00004', 'run-00003']);
  browser.choose('run-00006', 'range');
  assert.deepEqual(ids(browser.chosen), ['run-00006', 'run-00005']);
  browser.choose('run-00005', 'toggle');
  assert.deepEqual(ids(browser.chosen), ['run-00006']);
});

test('an empty list has nowhere to go', () => {
  const browser = new RunsBrowser(new FakeRuns([]));
  assert.equal(browser.move(1), null);
  assert.deepEqual(browser.chosen, []);
});

test('after dispose the list does not follow its runs any more', () => {
  const runs = new FakeRuns(many(1));
  const browser = new RunsBrowser(runs);
  const before = browser.version;
  browser.dispose();
  runs.become(many(2));
  assert.equal(browser.version, before);
});
