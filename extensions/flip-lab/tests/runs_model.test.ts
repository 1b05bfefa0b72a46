import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IApi, ILiveOptions, IPage } from '../src/api';
import { IStep, RunsModel } from '../src/runs/model';
import { IRunRow } from '../src/runs/rows';
import { rowOf } from './rows';

/** A lab with rows of our own, and time that passes when we say so. */
class FakeLab {
  rows: IRunRow[] = [];
  position = 100;
  isDown = false;
  line: ILiveOptions | null = null;
  numReads = 0;
  numChanges = 0;
  steps: IStep[] = [];
  delays_ms: number[] = [];
  private _later: (() => void)[] = [];
  readonly model: RunsModel;

  constructor() {
    const api = {
      pages: () => this._pages(),
      live: (_path: string, options: ILiveOptions) => {
        this.line = options;
        return { dispose: () => (this.line = null) };
      }
    } as unknown as Pick<IApi, 'pages' | 'live'>;
    const later = (call: () => void, delay_ms: number): void => {
      this._later.push(call);
      this.delays_ms.push(delay_ms);
    };
    this.model = new RunsModel({ api, later });
    this.model.changed.connect(() => (this.numChanges += 1));
    this.model.stepped.connect((_, step) => this.steps.push(step));
  }

  /** The server says what is new. */
  tell(rows: IRunRow[], gone: string[] = []): void {
    this.position += 1;
    this.line?.onMessage({ type: 'runs', rows, gone, position: this.position });
  }

  async pass(): Promise<void> {
    for (const call of this._later.splice(0)) call();
    await new Promise(resolve => setImmediate(resolve));
  }

  private async *_pages(): AsyncGenerator<IPage<IRunRow>> {
    this.numReads += 1;
    if (this.isDown) throw new Error('down');
    for (let first = 0; first === 0 || first < this.rows.length; first += 1000) {
      const next_cursor = first + 1000 < this.rows.length ? 'more' : null;
      yield { items: this.rows.slice(first, first + 1000), next_cursor, position: this.position + first };
    }
  }
}

test('all pages are read, newest first, and followed from the position of the first', async () => {
  const lab = new FakeLab();
  lab.rows = Array.from({ length: 2500 }, (_, number) => rowOf(number));
  await lab.model.start();
  assert.equal(lab.model.rows.length, 2500);
  assert.equal(lab.model.rows[0].run_id, 'run-02499');
  assert.equal(lab.model.state, 'live');
  assert.deepEqual(lab.line?.query?.(), { after: 100 });
});

test('rows come, change and go; where to go on from is remembered', async () => {
  const lab = new FakeLab();
  lab.rows = [rowOf(1), rowOf(2)];
  await lab.model.start();
  lab.tell([rowOf(3, { state: 'running' }), rowOf(1, { note: 'good' })], ['run-00002']);
  assert.deepEqual(
    lab.model.rows.map(row => [row.run_id, row.note]),
    [
      ['run-00003', ''],
      ['run-00001', 'good']
    ]
  );
  assert.deepEqual(
    lab.model.active.map(row => row.run_id),
    ['run-00003']
  );
  assert.deepEqual(lab.line?.query?.(), { after: 101 });
});

test('a row that changes keeps its place, and a list that somebody holds stays as it was', async () => {
  const lab = new FakeLab();
  lab.rows = [rowOf(1), rowOf(2), rowOf(3)];
  await lab.model.start();
  const held = lab.model.rows;
  lab.tell([rowOf(2, { rounds_done: 7 })]);
  lab.tell([rowOf(2, { rounds_done: 8 }), rowOf(1, { note: 'good' })]);
  assert.deepEqual(
    lab.model.rows.map(row => [row.run_id, row.rounds_done, row.note]),
    [
      ['run-00003', 20, ''],
      ['run-00002', 8, ''],
      ['run-00001', 20, 'good']
    ]
  );
  assert.equal(held[1].rounds_done, 20);
  assert.equal(lab.model.row('run-00002'), lab.model.rows[1]);
});

test('whoever looks is told at once, and then once for all that comes while he rests', async () => {
  const lab = new FakeLab();
  await lab.model.start();
  await lab.pass();
  await lab.pass();
  const before = lab.numChanges;
  lab.delays_ms = [];
  for (let number = 0; number < 50; number += 1) lab.tell([rowOf(number)]);
  assert.equal(lab.numChanges, before);
  await lab.pass();
  assert.equal(lab.numChanges, before + 1);
  for (let number = 50; number < 70; number += 1) lab.tell([rowOf(number)]);
  await lab.pass();
  assert.equal(lab.numChanges, before + 2);
  assert.deepEqual(lab.delays_ms, [0, 100, 100]);
  assert.equal(lab.model.rows.length, 70);
});

test('steps are told as they happen, but not those of the first reading', async () => {
  const lab = new FakeLab();
  lab.rows = [rowOf(1, { state: 'running' })];
  await lab.model.start();
  assert.equal(lab.steps.length, 0);
  lab.tell([rowOf(1, { state: 'running', rounds_done: 3 })]);
  assert.equal(lab.steps.length, 0);
  lab.tell([rowOf(1, { state: 'failed' }), rowOf(2, { state: 'pending' })]);
  assert.deepEqual(
    lab.steps.map(({ row, before }) => [row.run_id, before, row.state]),
    [
      ['run-00001', 'running', 'failed'],
      ['run-00002', null, 'pending']
    ]
  );
});

test('a server that lost its memory is read anew: what went meanwhile goes, steps are told', async () => {
  const lab = new FakeLab();
  lab.rows = [rowOf(1, { state: 'running' }), rowOf(2)];
  await lab.model.start();
  lab.rows = [rowOf(1, { state: 'completed' })];
  lab.line?.onMessage({ type: 'reload' });
  await lab.pass();
  assert.equal(lab.numReads, 2);
  assert.deepEqual(
    lab.model.rows.map(row => row.run_id),
    ['run-00001']
  );
  assert.deepEqual(
    lab.steps.map(({ row }) => row.state),
    ['completed']
  );
});

test('what is known stays while nobody answers, and is called stale', async () => {
  const lab = new FakeLab();
  lab.rows = [rowOf(1)];
  await lab.model.start();
  lab.line?.onState?.('waiting');
  assert.equal(lab.model.state, 'stale');
  assert.equal(lab.model.rows.length, 1);
  lab.line?.onState?.('open');
  assert.equal(lab.model.state, 'live');
});

test('a lab that does not answer yet is asked again, less and less often', async () => {
  const lab = new FakeLab();
  lab.isDown = true;
  await lab.model.start();
  for (let turn = 0; turn < 5; turn += 1) await lab.pass();
  assert.equal(lab.model.state, 'loading');
  assert.deepEqual(lab.delays_ms.slice(0, 6), [1000, 2000, 4000, 8000, 10_000, 10_000]);
  lab.isDown = false;
  lab.rows = [rowOf(1)];
  await lab.pass();
  assert.equal(lab.model.state, 'live');
  assert.deepEqual(lab.steps, []);
});
