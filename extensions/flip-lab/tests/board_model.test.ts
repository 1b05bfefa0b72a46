import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RESUMES } from '../src/panels/board_kinds';
import { BoardModel, Outgoing, Resume, withBytes } from '../src/panels/board_model';

function setUp(resume?: Resume): { model: BoardModel; sent: Outgoing[]; heard: any[] } {
  const sent: Outgoing[] = [];
  const heard: any[] = [];
  const model = new BoardModel(message => sent.push(message), resume);
  model.on('msg:custom', answer => heard.push(answer));
  return { model, sent, heard };
}

const tick = (): Promise<void> => new Promise(done => setTimeout(done));

describe('a board that is connected', () => {
  it('tells its script of each part that came', () => {
    const { model } = setUp();
    const seen: unknown[] = [];
    model.on('change:head', head => seen.push(head));
    assert.equal(model.isReady, false);
    model.takeParts({ head: { state: 'running' }, log: {} });
    model.takeParts({ head: { state: 'completed' } });
    assert.equal(model.isReady, true);
    assert.deepEqual(seen, [{ state: 'running' }, { state: 'completed' }]);
    assert.deepEqual(model.get('log'), {});
  });

  it('gives bytes as a DataView', () => {
    const { model } = setUp();
    model.takeParts({ cells: { $base64: btoa('\x01\xff') } });
    const cells = model.get('cells') as DataView;
    assert.ok(cells instanceof DataView);
    assert.deepEqual([cells.getUint8(0), cells.getUint8(1), cells.byteLength], [1, 255, 2]);
    assert.equal(withBytes(null), null);
  });

  it('sends what was chosen at save_changes, all in one message', () => {
    const { model, sent } = setUp();
    model.takeParts({ settings: { x: 1 } });
    let changes = 0;
    model.on('change:settings', () => (changes += 1));
    model.set('settings', { x: 2 });
    model.set('chosen', [1]);
    assert.deepEqual(sent, []);
    model.save_changes();
    model.save_changes();
    assert.deepEqual(sent, [{ type: 'change', values: { settings: { x: 2 }, chosen: [1] } }]);
    model.set('settings', { x: 2 });
    assert.equal(changes, 1);
  });

  it('passes questions on and answers back', () => {
    const { model, sent, heard } = setUp();
    model.takeParts({});
    model.send({ cells: [1], ticket: 't' });
    model.takeAnswer({ type: 'answer', ticket: 't', rows: [] });
    assert.deepEqual(sent, [{ type: 'ask', cells: [1], ticket: 't' }]);
    assert.equal(heard[0].ticket, 't');
  });

  it('forgets who listens no more', () => {
    const { model } = setUp();
    const seen: string[] = [];
    const first = (): void => {
      seen.push('first');
    };
    model.on('change:a', first);
    model.on('change:a', () => seen.push('second'));
    model.off('change:a', first);
    model.takeParts({ a: 1 });
    model.off();
    model.takeParts({ a: 2 });
    assert.deepEqual(seen, ['second']);
  });
});

describe('a board whose connection broke', () => {
  it('shows what it showed, and what is new when it is back', () => {
    const { model } = setUp();
    model.takeParts({ head: 1, log: 1 });
    const seen: string[] = [];
    for (const name of ['head', 'log']) model.on(`change:${name}`, () => seen.push(name));
    model.lost();
    assert.equal(model.get('head'), 1);
    model.takeParts({ head: 2, log: 1 });
    assert.deepEqual(seen, ['head']);
  });

  it('asks again what had no answer, and what was asked meanwhile', () => {
    const { model, sent } = setUp();
    model.takeParts({});
    model.send({ ask: 'run', ticket: 1 });
    model.send({ ask: 'round', ticket: 2 });
    model.takeAnswer({ ticket: 1 });
    model.lost();
    model.send({ ask: 'client', ticket: 3 });
    sent.length = 0;
    model.takeParts({});
    assert.deepEqual(
      sent.map(each => (each as any).ask),
      ['round', 'client']
    );
  });

  it('never sends a command twice, or late, but says so', async () => {
    const { model, sent, heard } = setUp();
    model.takeParts({});
    model.send({ command: 'stop', ticket: 1 });
    model.lost();
    model.send({ ask: 'launch', ticket: 2 });
    await tick();
    model.takeParts({});
    assert.deepEqual(sent, [{ type: 'ask', command: 'stop', ticket: 1 }]);
    assert.deepEqual(
      heard.map(({ ticket, error }) => [ticket, Boolean(error.what && error.fix)]),
      [
        [1, true],
        [2, true]
      ]
    );
  });
});

describe('a comparer on another connection', () => {
  const fresh = {
    catalogue: { ids: ['new', 'a', 'b'] },
    chosen: [0, 1, 2],
    settings: { x: 'round' },
    picture: 'default'
  };

  it('has the ticks and settings of before, and does not flash', () => {
    const { model, sent } = setUp(RESUMES.comparer);
    model.takeParts({
      catalogue: { ids: ['a', 'b', 'gone'] },
      chosen: [0, 1, 2],
      settings: { x: 'round' },
      picture: 'first'
    });
    model.set('chosen', [1, 2]);
    model.set('settings', { x: 'seconds' });
    model.save_changes();
    model.lost();
    sent.length = 0;
    const pictures: unknown[] = [];
    model.on('change:picture', picture => pictures.push(picture));
    model.takeParts(fresh);
    assert.deepEqual(sent[0], { type: 'change', values: { chosen: [2], settings: { x: 'seconds' } } });
    model.takeParts({ picture: 'mine' }); // a server does not say again what it was told
    assert.deepEqual(pictures, []);
    model.takeAnswer({ ticket: (sent[1] as any).ticket });
    assert.deepEqual(pictures, ['mine']);
    assert.deepEqual(model.get('catalogue'), fresh.catalogue);
    assert.deepEqual([model.get('chosen'), model.get('settings')], [[2], { x: 'seconds' }]);
  });

  it('takes the new board as it is where nothing was chosen', () => {
    const { model, sent } = setUp(RESUMES.comparer);
    model.takeParts({ ...fresh, catalogue: { ids: ['a'] }, chosen: [0] });
    model.lost();
    model.takeParts(fresh);
    assert.deepEqual(sent, []);
    assert.deepEqual(model.get('chosen'), [0, 1, 2]);
  });

  it('begins anew if the connection breaks while it is put back', () => {
    const { model, sent } = setUp(RESUMES.comparer);
    model.takeParts({ ...fresh });
    model.set('settings', { x: 'bytes' });
    model.save_changes();
    for (let time = 0; time < 2; time += 1) {
      model.lost();
      sent.length = 0;
      model.takeParts(fresh);
      assert.equal(sent.length, 2);
    }
    model.takeParts({ settings: { x: 'bytes' } });
    model.takeAnswer({ ticket: (sent[1] as any).ticket });
    assert.deepEqual(model.get('settings'), { x: 'bytes' });
  });
});

describe('a launch form on another connection', () => {
  const parts = (what: string, edits: object): Record<string, unknown> => ({
    form: { what },
    verdict: { edits, by: 'me' }
  });

  it('is filled in again, for the same scenario', () => {
    const { model, sent } = setUp(RESUMES.launcher);
    model.takeParts(parts('hospitals', { seed: '7' }));
    model.lost();
    model.takeParts(parts('digits-iid', {}));
    assert.deepEqual(
      sent.map(each => (each as any).ask),
      ['choose', 'change', 'draw']
    );
    assert.deepEqual((sent[1] as any).edits, { seed: '7' });
    assert.equal(model.get('form').what, 'hospitals');
    model.takeParts(parts('hospitals', { seed: '7' }));
    model.takeAnswer({ ticket: (sent[2] as any).ticket });
    assert.deepEqual(model.get('verdict').edits, { seed: '7' });
  });

  it('needs nothing where nothing was filled in', () => {
    const { model, sent } = setUp(RESUMES.launcher);
    model.takeParts(parts('hospitals', {}));
    model.lost();
    model.takeParts(parts('hospitals', {}));
    assert.deepEqual(sent, []);
  });
});
