import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from '../src/problem';
import { ILiveMessage, ISocketOptions, IWebSocket, LiveSocket, SocketState } from '../src/socket';

/** A server's end of a WebSocket. */
class Wire implements IWebSocket {
  onopen: ((event: Event) => void) | null = null;
  onmessage: ((event: MessageEvent) => void) | null = null;
  onclose: ((event: CloseEvent) => void) | null = null;
  onerror: ((event: Event) => void) | null = null;
  sent: string[] = [];
  isClosed = false;

  constructor(readonly url: string) {}

  send(text: string): void {
    this.sent.push(text);
  }

  close(): void {
    this.isClosed = true;
  }

  opens(): void {
    this.onopen?.({} as Event);
  }

  says(message: object | string): void {
    this.onmessage?.({ data: typeof message === 'string' ? message : JSON.stringify(message) } as MessageEvent);
  }

  breaks(code: number): void {
    this.onclose?.({ code } as CloseEvent);
  }
}

/** A socket with wires and a clock of our own. */
class Bench {
  wires: Wire[] = [];
  states: SocketState[] = [];
  heard: ILiveMessage[] = [];
  problems: ApiError[] = [];
  ends: ILiveMessage[] = [];
  position = 0;
  now_ms = 0;
  private _timers = new Map<number, { at_ms: number; call: () => void }>();
  private _next = 1;
  readonly socket: LiveSocket;

  constructor() {
    const options: ISocketOptions = {
      url: () => `ws://lab/live?after=${this.position}`,
      onMessage: message => this.heard.push(message),
      onState: state => this.states.push(state),
      onProblem: error => this.problems.push(error),
      onEnd: message => this.ends.push(message),
      open: url => {
        this.wires.push(new Wire(url));
        return this.wire;
      },
      timers: {
        set: (call, delay_ms) => {
          this._timers.set(this._next, { at_ms: this.now_ms + delay_ms, call });
          return this._next++;
        },
        clear: timer => void this._timers.delete(timer),
        random: () => 0.5
      }
    };
    this.socket = new LiveSocket(options);
  }

  get wire(): Wire {
    return this.wires[this.wires.length - 1];
  }

  get waiting(): number {
    return this._timers.size;
  }

  pass(ms: number): void {
    const until = this.now_ms + ms;
    for (;;) {
      const due = [...this._timers]
        .filter(([, { at_ms }]) => at_ms <= until)
        .sort((a, b) => a[1].at_ms - b[1].at_ms)[0];
      if (due === undefined) break;
      this._timers.delete(due[0]);
      this.now_ms = due[1].at_ms;
      due[1].call();
    }
    this.now_ms = until;
  }
}

test('messages arrive, heartbeats do not', () => {
  const bench = new Bench();
  bench.wire.opens();
  bench.wire.says({ type: 'heartbeat', time_s: 1 });
  bench.wire.says({ type: 'runs', rows: [] });
  assert.deepEqual(bench.heard, [{ type: 'runs', rows: [] }]);
  assert.equal(bench.socket.state, 'open');
});

test('a socket that breaks comes back, and goes on from where it was', () => {
  const bench = new Bench();
  bench.wire.opens();
  bench.position = 7;
  bench.wire.breaks(1006);
  assert.equal(bench.socket.state, 'waiting');
  bench.pass(499);
  assert.equal(bench.wires.length, 1);
  bench.pass(1);
  assert.equal(bench.wires.length, 2);
  assert.equal(bench.wire.url, 'ws://lab/live?after=7');
  bench.wire.opens();
  assert.deepEqual(bench.states, ['open', 'waiting', 'connecting', 'open']);
});

test('delays double up to fifteen seconds, and begin anew with a message', () => {
  const bench = new Bench();
  for (const delay_ms of [500, 1000, 2000, 4000, 8000, 15_000, 15_000]) {
    const before = bench.wires.length;
    bench.wire.breaks(1006);
    bench.pass(delay_ms - 1);
    assert.equal(bench.wires.length, before, `not before ${delay_ms} ms`);
    bench.pass(1);
    assert.equal(bench.wires.length, before + 1);
  }
  bench.wire.opens();
  bench.wire.says({ type: 'heartbeat' });
  bench.wire.breaks(1006);
  bench.pass(500);
  assert.equal(bench.wires.length, 9);
});

test('a door that opens and shuts at once does not reset the delay', () => {
  const bench = new Bench();
  bench.wire.opens();
  bench.wire.breaks(1011);
  bench.pass(500);
  bench.wire.opens();
  bench.wire.breaks(1011);
  bench.pass(500);
  assert.equal(bench.wires.length, 2);
  bench.pass(500);
  assert.equal(bench.wires.length, 3);
});

test('a server that falls silent counts as gone', () => {
  const bench = new Bench();
  bench.wire.opens();
  bench.pass(29_000);
  bench.wire.says({ type: 'heartbeat' });
  bench.pass(29_000);
  assert.equal(bench.socket.state, 'open');
  const silent = bench.wire;
  bench.pass(2_000);
  assert.ok(silent.isClosed);
  assert.equal(bench.wires.length, 2);
});

test('what would be refused again is not tried again', () => {
  for (const code of [4401, 4403, 4404]) {
    const bench = new Bench();
    bench.wire.opens();
    bench.wire.says({
      type: 'problem',
      code: 'FLIP-301',
      title: '',
      detail: 'No such run.',
      fix: 'Look.',
      status: 404
    });
    bench.wire.breaks(code);
    assert.equal(bench.socket.state, 'closed');
    assert.equal(bench.waiting, 0);
    assert.deepEqual(
      [bench.problems[0].code, bench.problems[0].message, bench.problems[0].fix],
      ['FLIP-301', 'No such run.', 'Look.']
    );
  }
});

test('a flood, a restart and a half-open line are tried again', () => {
  for (const code of [1001, 1006, 1012, 4408, 4429]) {
    const bench = new Bench();
    bench.wire.breaks(code);
    assert.equal(bench.socket.state, 'waiting');
  }
});

test('the end is the end', () => {
  const bench = new Bench();
  bench.wire.opens();
  bench.wire.says({ type: 'end', state: 'completed' });
  assert.deepEqual(bench.ends, [{ type: 'end', state: 'completed' }]);
  assert.equal(bench.socket.state, 'closed');
  assert.ok(bench.wire.isClosed);
  assert.equal(bench.waiting, 0);
});

test('whoever is in a hurry does not wait', () => {
  const bench = new Bench();
  bench.wire.breaks(1006);
  bench.socket.hurry();
  assert.equal(bench.wires.length, 2);
  bench.socket.hurry();
  assert.equal(bench.wires.length, 2);
});

test('after dispose nothing is heard and nothing tried', () => {
  const bench = new Bench();
  bench.wire.opens();
  const { wire } = bench;
  bench.socket.dispose();
  wire.says({ type: 'runs' });
  wire.breaks(1006);
  bench.pass(60_000);
  assert.deepEqual([bench.heard.length, bench.wires.length, bench.waiting], [0, 1, 0]);
});

test('a message that is no JSON breaks the line, not the page', () => {
  const bench = new Bench();
  bench.wire.opens();
  bench.wire.says('{"type":');
  assert.equal(bench.socket.state, 'waiting');
});

test('what is sent while nobody is there is refused', () => {
  const bench = new Bench();
  assert.equal(bench.socket.send({ type: 'ask' }), false);
  bench.wire.opens();
  assert.equal(bench.socket.send({ type: 'ask' }), true);
  assert.deepEqual(bench.wire.sent, ['{"type":"ask"}']);
});
