import assert from 'node:assert/strict';
import { test } from 'node:test';
import { activeText, metricName, metricValue, roundsText, shortId, titleText, tookText } from '../src/runs/words';
import { asked, isPossible } from '../src/steering';
import { rowOf } from './rows';

const trans = {
  __: (text: string, ...values: unknown[]) => text.replace(/%(\d)/g, (_, place) => String(values[Number(place) - 1])),
  _n: (one: string, many: string, count: number, ...values: unknown[]) =>
    trans.__(count === 1 ? one : many, count, ...values)
};

test('a run is told apart by its name and the end of its id', () => {
  const row = rowOf(1, { run_id: '261122-094248-pg7d', name: 'hospitals' });
  assert.equal(shortId(row), 'pg7d');
  assert.equal(titleText(row), 'hospitals · pg7d');
});

test('rounds and metrics are told as far as they are known', () => {
  assert.equal(roundsText(rowOf(1, { rounds_done: 7 })), '7/20');
  assert.equal(roundsText(rowOf(1, { rounds_done: 7, num_rounds: null })), '7');
  assert.equal(metricName(rowOf(1)) + metricValue(rowOf(1)), '');
  const good = rowOf(1, { headline: { name: 'eval_accuracy', value: 0.86944 } });
  assert.deepEqual([metricName(good), metricValue(good)], ['accuracy', '0.8694']);
  const lost = rowOf(1, { headline: { name: 'train_loss', value: 'NaN' } });
  assert.deepEqual([metricName(lost), metricValue(lost)], ['train_loss', 'NaN']);
});

test('a run under way takes longer and longer; one that was lost took nobody knows how long', () => {
  const started_at = '2030-01-01T00:00:00Z';
  const now_ms = Date.parse('2030-01-01T00:01:05Z');
  assert.equal(tookText(rowOf(1, { state: 'running', started_at }), now_ms), '1:05 min');
  assert.equal(tookText(rowOf(1, { started_at, ended_at: '2030-01-01T00:00:00.348Z' }), now_ms), '0.3 s');
  assert.equal(tookText(rowOf(1, { started_at, ended_at: '2030-01-01T00:00:42.9Z' }), now_ms), '42 s');
  assert.equal(tookText(rowOf(1, { state: 'failed', started_at }), now_ms), '');
  assert.equal(tookText(rowOf(1, { state: 'pending' }), now_ms), '');
});

test('the status bar tells how far all runs under way are together', () => {
  const running = (fraction: number | null) => rowOf(1, { state: 'running', fraction });
  assert.equal(activeText([], trans), '');
  assert.equal(activeText([running(0.256)], trans), '1 run · 25 %');
  assert.equal(activeText([running(0.2), running(0.6), running(null)], trans), '3 runs · 40 %');
  assert.equal(activeText([running(null)], trans), '1 run');
});

test('a run can be asked for what its state allows', () => {
  const possible = (state: 'running' | 'paused' | 'completed' | 'failed', kind = 'scenario') =>
    (['pause', 'resume', 'stop'] as const).filter(action => isPossible(action, rowOf(1, { state, kind })));
  assert.deepEqual(possible('running'), ['pause', 'stop']);
  assert.deepEqual(possible('paused'), ['resume', 'stop']);
  assert.deepEqual(possible('completed'), []);
  assert.deepEqual(possible('failed'), ['resume']);
  assert.deepEqual(possible('failed', 'imported'), []);
});

test('a paused run is resumed by a command, one that ended from its checkpoint', () => {
  assert.deepEqual(asked('resume', rowOf(1, { state: 'paused' })), {
    path: 'runs/run-00001/commands',
    body: { command: 'resume' }
  });
  assert.deepEqual(asked('resume', rowOf(1, { state: 'failed' })), { path: 'runs/run-00001/resume', body: {} });
  assert.deepEqual(asked('stop', rowOf(1, { run_id: 'a/b', state: 'running' })).path, 'runs/a%2Fb/commands');
});
