import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { Signal } from '@lumino/signaling';
import { ApiError, UnreachableError } from '../src/problem';
import { IField } from '../src/panels/scenario/fields';
import { Checking, IText, ScenarioModel } from '../src/panels/scenario/model';
import { readToml } from '../src/panels/scenario/toml';
import { ISplice, spliced } from '../src/panels/scenario/toml_edit';

/** The page's clock: what is due is called when a test says so. */
let due: (() => void)[] = [];
Object.assign(globalThis, {
  window: {
    setTimeout: (call: () => void) => due.push(call),
    clearTimeout: (timer: number) => {
      if (timer > 0) due[timer - 1] = () => undefined;
    }
  }
});

async function pass(): Promise<void> {
  const calls = due;
  due = [];
  for (const call of calls) call();
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}

class Text implements IText {
  readonly changed = new Signal<Text, void>(this);
  constructor(public now: string) {}
  read(): string {
    return this.now;
  }
  splice(change: ISplice): void {
    this.type(spliced(this.now, change));
  }
  type(text: string): void {
    this.now = text;
    this.changed.emit();
  }
}

function field(path: string, more: Partial<IField> = {}): IField {
  return {
    path,
    label: path,
    kind: 'text',
    of: 'text',
    words: '',
    help: '',
    unit: '',
    default: null,
    choices: [],
    is_closed: false,
    about: '',
    least: null,
    most: null,
    above: null,
    below: null,
    is_option: false,
    is_optional: false,
    ...more
  };
}

/** A server that knows two partitioners, of which one has an option. */
class Server {
  isThere = true;
  asked = 0;

  readonly api = {
    get: async (path: string): Promise<unknown> =>
      path === 'scenarios' ? { items: [{ name: 'any' }] } : { fields: this.fieldsOf('dirichlet') },
    send: async (_method: string, _path: string, body: { toml: string }): Promise<unknown> => {
      this.asked += 1;
      if (!this.isThere) throw new UnreachableError('nobody');
      const { entries } = readToml(body.toml);
      const partitioner = String(entries.get('data.partitioner')?.value ?? 'iid');
      const fields = this.fieldsOf(partitioner);
      const odd = [...entries.keys()].find(
        path => !fields.some(each => each.path === path) && !path.endsWith('.options')
      );
      if (odd !== undefined)
        throw new ApiError({
          code: 'FLIP-102',
          title: '',
          detail: `There is no key '${odd}'.`,
          fix: 'Take it out.',
          status: 422,
          evidence: ''
        });
      return { fields };
    }
  } as unknown as Checking;

  private fieldsOf(partitioner: string): IField[] {
    const fields = [
      field('name'),
      field('data.partitioner', { choices: ['iid', 'dirichlet'], is_closed: true }),
      field('train.rate', { kind: 'number' })
    ];
    return partitioner === 'dirichlet' ? [...fields, field('data.options.alpha', { kind: 'number' })] : fields;
  }
}

const TEXT = 'name = "x"  # mine\n[data]\npartitioner = "dirichlet"\n\n[data.options]\nalpha = 0.3\n';

describe('a scenario as a form', () => {
  let text: Text;
  let server: Server;
  let model: ScenarioModel;
  const fieldOf = (path: string): IField => model.fields.find(each => each.path === path) as IField;

  beforeEach(async () => {
    due = [];
    text = new Text(TEXT);
    server = new Server();
    model = new ScenarioModel(text, server.api);
    await pass();
  });

  it('is checked when it is opened, and again after it was changed', async () => {
    assert.deepEqual([model.isChecked, model.troubles.size, model.fields.length], [true, 0, 4]);
    text.type(`${TEXT}beta = 1\n`);
    assert.equal(model.isChecked, false);
    await pass();
    assert.deepEqual([...model.troubles.keys()], ['data.options.beta']);
    assert.deepEqual(model.strangers, ['data.options.beta']);
  });

  it('is checked once for all that is typed in a go', async () => {
    const before = server.asked;
    for (const letter of 'abc') text.type(text.now.replace('"x', `"x${letter}`));
    await pass();
    assert.equal(server.asked, before + 1);
  });

  it('writes what is put in, and leaves the rest as it was', () => {
    model.put(fieldOf('data.options.alpha'), '1e-1', false);
    assert.equal(text.now, TEXT.replace('0.3', '1e-1'));
    model.put(fieldOf('train.rate'), '0.5', true);
    assert.ok(text.now.endsWith('\n[train]\nrate = 0.5\n'));
  });

  it('does not write half a number until the field is left', () => {
    model.put(fieldOf('data.options.alpha'), '1.', false);
    assert.equal(text.now, TEXT);
    model.put(fieldOf('data.options.alpha'), '1.', true);
    assert.ok(text.now.includes('alpha = "1."'));
  });

  it('takes a value out when its field is emptied', () => {
    model.put(fieldOf('data.options.alpha'), '', true);
    assert.ok(!text.now.includes('alpha'));
  });

  it('takes the options of a name out when the form puts another there', async () => {
    model.put(fieldOf('data.partitioner'), 'iid', true);
    await pass();
    assert.equal(text.now, 'name = "x"  # mine\n[data]\npartitioner = "iid"\n');
  });

  it('leaves them where the name was changed in the text: somebody may be at work', async () => {
    text.type(TEXT.replace('dirichlet', 'iid'));
    await pass();
    assert.ok(text.now.includes('alpha = 0.3'));
    assert.deepEqual([...model.troubles.keys()], ['data.options.alpha']);
  });

  it('keeps its fields while the text is no TOML, and changes nothing then', async () => {
    text.type('name = "x');
    assert.equal(model.isReadable, false);
    model.put(fieldOf('name'), 'y', true);
    assert.equal(text.now, 'name = "x');
    assert.equal(model.fields.length, 4);
  });

  it('asks on while nobody answers', async () => {
    server.isThere = false;
    text.type(`${TEXT}# more\n`);
    await pass();
    assert.deepEqual([model.isReachable, model.isChecked, model.fields.length], [false, false, 4]);
    server.isThere = true;
    await pass();
    assert.deepEqual([model.isReachable, model.isChecked], [true, true]);
  });

  it('is left alone once it was disposed of', async () => {
    const before = server.asked;
    model.dispose();
    text.type('name = "y"');
    await pass();
    assert.equal(server.asked, before);
  });
});
