import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServerConnection } from '@jupyterlab/services';
import { Api, ApiError, ApiState, UnreachableError } from '../src/api';

Object.assign(globalThis, {
  window: { addEventListener: () => undefined, setTimeout: () => 1, clearTimeout: () => undefined },
  document: { addEventListener: () => undefined, cookie: '', visibilityState: 'visible' }
});

interface IAsked {
  url: URL;
  method: string;
  headers: Headers;
  body: string;
}

/** An API whose server answers what we say, one answer after the other. */
function served(...answers: (Response | Error)[]): { api: Api; asked: IAsked[]; states: ApiState[]; urls: string[] } {
  const asked: IAsked[] = [];
  const urls: string[] = [];
  const answer = async (request: Request): Promise<Response> => {
    const { url, method, headers } = request;
    asked.push({ url: new URL(url), method, headers, body: await request.text() });
    const next = answers.shift() as Response | Error;
    if (next instanceof Error) throw next;
    return next;
  };
  class FakeWebSocket {
    constructor(url: string) {
      urls.push(url);
    }

    close(): void {}
  }
  const settings: ServerConnection.ISettings = {
    baseUrl: 'http://hub/user/ada/',
    wsUrl: 'ws://hub/user/ada/',
    token: 'secret',
    appendToken: true,
    fetch: answer as typeof fetch,
    WebSocket: FakeWebSocket as unknown as typeof WebSocket,
    Request,
    Headers,
    appUrl: '',
    init: {},
    serializer: undefined as unknown as ServerConnection.ISettings['serializer']
  };
  const api = new Api(settings);
  const states: ApiState[] = [];
  api.stateChanged.connect((_, state) => states.push(state));
  return { api, asked, states, urls };
}

const json = (body: unknown, status = 200): Response => new Response(JSON.stringify(body), { status });

const problem = (code: string, status: number): Response =>
  json(
    { type: 't', title: 'Title.', status, code, detail: 'What happened.', fix: 'What to do.', evidence: '' },
    status
  );

test('requests go below the base URL, with the query that has values', async () => {
  const { api, asked, states } = served(json({ items: [] }));
  await api.get('runs', { limit: 5, q: 'a b', state: ['failed', 'stopped'], cursor: null, sweep: undefined });
  assert.equal(asked[0].url.pathname, '/user/ada/flip/v1/runs');
  assert.deepEqual(asked[0].url.searchParams.getAll('state'), ['failed', 'stopped']);
  assert.deepEqual([asked[0].url.searchParams.get('q'), asked[0].url.searchParams.has('cursor')], ['a b', false]);
  assert.deepEqual(states, ['ready']);
});

test('what is sent is JSON with the headers it was given; an empty answer is null', async () => {
  const { api, asked } = served(json({ run_id: 'r1' }, 201), new Response(null, { status: 204 }));
  assert.deepEqual(await api.send('POST', 'runs', { scenario: 'x' }, { 'Idempotency-Key': 'k' }), { run_id: 'r1' });
  assert.equal(await api.send('DELETE', 'runs/r1'), null);
  assert.deepEqual(
    [asked[0].method, asked[0].body, asked[0].headers.get('content-type')],
    ['POST', '{"scenario":"x"}', 'application/json']
  );
  assert.equal(asked[0].headers.get('idempotency-key'), 'k');
  assert.deepEqual([asked[1].method, asked[1].body], ['DELETE', '']);
});

test('a refusal is an error with code and fix', async () => {
  const { api, states } = served(problem('FLIP-301', 404));
  await assert.rejects(api.get('runs/none'), (error: ApiError) => {
    assert.ok(error instanceof ApiError);
    assert.deepEqual(
      [error.code, error.message, error.fix, error.status],
      ['FLIP-301', 'What happened.', 'What to do.', 404]
    );
    return true;
  });
  assert.deepEqual(states, ['ready']);
});

test('an API that does not answer yet is connecting; one that did is gone, and comes back', async () => {
  const { api, states } = served(
    new TypeError('refused'),
    json({}),
    problem('FLIP-700', 503),
    json({}),
    new Response('', { status: 502 })
  );
  await assert.rejects(api.get('about'), UnreachableError);
  assert.equal(api.state, 'connecting');
  await api.get('about');
  await assert.rejects(api.get('about'), UnreachableError);
  await api.get('about');
  await assert.rejects(api.get('about'), UnreachableError);
  assert.deepEqual(states, ['ready', 'gone', 'ready', 'gone']);
});

test('a busy store is a refusal, not an absence', async () => {
  const { api, states } = served(problem('FLIP-602', 503));
  await assert.rejects(api.get('runs'), ApiError);
  assert.deepEqual(states, ['ready']);
});

test('a crash is told as what it is', async () => {
  const { api, states } = served(
    json({}),
    new Response('Internal Server Error', { status: 500, statusText: 'Internal Server Error' })
  );
  await api.get('about');
  await assert.rejects(
    api.get('runs'),
    (error: ApiError) => error instanceof ApiError && error.message === '500 Internal Server Error'
  );
  assert.deepEqual(states, ['ready']);
});

test('a server without a lab is told apart from one that is silent', async () => {
  const { api, states } = served(json({ message: 'Not Found' }, 404));
  await assert.rejects(api.get('runs'), (error: ApiError) => error instanceof ApiError && error.status === 404);
  assert.deepEqual(states, ['absent']);
});

test('pages follow their cursors to the end', async () => {
  const { api, asked } = served(json({ items: [1, 2], next_cursor: 'c1' }), json({ items: [3], next_cursor: null }));
  const found: number[] = [];
  for await (const page of api.pages<number>('runs', { archived: true })) found.push(...page.items);
  assert.deepEqual(found, [1, 2, 3]);
  assert.deepEqual(
    asked.map(({ url }) => [
      url.searchParams.get('cursor'),
      url.searchParams.get('archived'),
      url.searchParams.get('limit')
    ]),
    [
      [null, 'true', '1000'],
      ['c1', 'true', '1000']
    ]
  );
});

test('a WebSocket says from where it goes on, and who asks where no cookie can', () => {
  const { api, urls } = served();
  const socket = api.live('runs/r1/live', { query: () => ({ after: 7 }), onMessage: () => undefined });
  assert.deepEqual(urls, ['ws://hub/user/ada/flip/v1/runs/r1/live?after=7&token=secret']);
  socket.dispose();
});
