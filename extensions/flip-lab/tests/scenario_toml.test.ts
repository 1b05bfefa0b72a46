import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { TomlError, readToml } from '../src/panels/scenario/toml';
import { ISplice, literalOf, removing, setting, spliced } from '../src/panels/scenario/toml_edit';

const TEXT = `# a scenario
name = "digits"  # its name
seed = 0

[data]
dataset = 'digits'
num_partitions = 10   # ten nodes

[data.options]
alpha = 0.3

[strategy]
name = "FedAvg"
options = { fraction_train = 0.5, accept_failures = true }

# what it must show
[[expect]]
says = "It learns."
at_least = 0.9

[[expect]]
says = "Well."
at_least = "pooled"
`;

function put(text: string, path: string, literal: string): string {
  return spliced(text, setting(readToml(text), path, literal));
}

function out(text: string, path: string): string {
  return spliced(text, removing(readToml(text), path) as ISplice);
}

const valuesOf = (text: string): Record<string, unknown> =>
  Object.fromEntries([...readToml(text).entries].map(([path, { value }]) => [path, value]));

describe('reading', () => {
  it('finds every value, of inline tables and arrays of tables, too', () => {
    const values = valuesOf(TEXT);
    assert.equal(values['name'], 'digits');
    assert.equal(values['data.dataset'], 'digits');
    assert.equal(values['data.options.alpha'], 0.3);
    assert.equal(values['strategy.options.accept_failures'], true);
    assert.equal(values['expect[1].at_least'], 'pooled');
  });

  it('reads all kinds of values', () => {
    const values = valuesOf(
      'a = 1_000\nb = -2.5e-3\nc = inf\nd = [1, [2, "x"], # two\n]\ne = """\none\n  two\\\n   three"""\nf = \'C:\\n\'\n' +
        'g = "\\u00e9\\t"\nh = 0xff\ni = 1979-05-27 07:32:00Z\n"j k".l = false\nm = """a"b"""""\nn = [{ x = 1 }, { x = 2 }]\r\n'
    );
    assert.deepEqual(values, {
      a: 1000,
      b: -0.0025,
      c: Infinity,
      d: [1, [2, 'x']],
      e: 'one\n  twothree',
      f: 'C:\\n',
      g: 'é\t',
      h: 255,
      i: '1979-05-27 07:32:00Z',
      'j k.l': false,
      m: 'a"b""',
      n: [{ x: 1 }, { x: 2 }]
    });
  });

  for (const [text, line] of [
    ['a = ', 1],
    ['a 1', 1],
    ['x = 1\n[data\ny = 2', 2],
    ['a = "open\n', 1],
    ['a = 1 2', 1],
    ['a = [1', 1],
    ['a = 1\na = 2', 2]
  ] as const) {
    it(`refuses ${JSON.stringify(text)} at line ${line}`, () => {
      assert.throws(
        () => readToml(text),
        (error: TomlError) => error.message.startsWith(`Line ${line}:`)
      );
    });
  }
});

describe('setting', () => {
  it('changes the characters of a value and nothing else', () => {
    assert.equal(put(TEXT, 'data.num_partitions', '12'), TEXT.replace('= 10 ', '= 12 '));
    assert.equal(put(TEXT, 'strategy.options.fraction_train', '1.0'), TEXT.replace('= 0.5', '= 1.0'));
  });

  it('puts a new line at the end of its table', () => {
    assert.equal(
      put(TEXT, 'data.test_fraction', '0.1'),
      TEXT.replace('ten nodes\n', 'ten nodes\ntest_fraction = 0.1\n')
    );
    assert.equal(put(TEXT, 'title', '"T"'), TEXT.replace('seed = 0\n', 'seed = 0\ntitle = "T"\n'));
  });

  it('puts a new key into an inline table, an empty one, too', () => {
    assert.ok(put(TEXT, 'strategy.options.x', '1').includes('accept_failures = true, x = 1 }'));
    assert.equal(put('[model]\noptions = {}\n', 'model.options.hidden', '8'), '[model]\noptions = { hidden = 8 }\n');
  });

  it('makes a table that is not there: after its parent, or at the end', () => {
    assert.equal(
      put('[model]\nname = "mlp"\n\n[train]\nnum_rounds = 1\n', 'model.options.hidden', '8'),
      '[model]\nname = "mlp"\n\n[model.options]\nhidden = 8\n\n[train]\nnum_rounds = 1\n'
    );
    assert.equal(put('name = "x"', 'train.num_rounds', '3'), 'name = "x"\n\n[train]\nnum_rounds = 3\n');
    assert.equal(put('', 'train.num_rounds', '3'), '[train]\nnum_rounds = 3\n');
    assert.equal(put('[train]\n', 'train.num_rounds', '3'), '[train]\nnum_rounds = 3\n');
    assert.equal(put('[train]\na = 1\n', 'name', '"x"'), 'name = "x"\n[train]\na = 1\n');
  });

  it('writes a dotted key as its neighbours are written', () => {
    assert.equal(
      put('[data]\noptions.alpha = 1\n', 'data.options.beta', '2'),
      '[data]\noptions.alpha = 1\noptions.beta = 2\n'
    );
  });

  it('is read back as it was meant, whatever was there before', () => {
    const values = {
      name: 'q"\\\n',
      'data.options.new': -1.5,
      'train.momentum': 0,
      'model.options.hidden': [1, 2],
      'strategy.options.x': true
    };
    let text = TEXT;
    for (const [path, value] of Object.entries(values)) text = put(text, path, literalOf(value));
    assert.deepEqual(
      { ...valuesOf(TEXT), ...values, 'strategy.options': valuesOf(text)['strategy.options'] },
      valuesOf(text)
    );
    for (const comment of ['# a scenario', '# its name', '# ten nodes', '# what it must show'])
      assert.ok(text.includes(comment));
  });
});

describe('removing', () => {
  it('takes a line of its own out', () => {
    assert.equal(out(TEXT, 'data.num_partitions'), TEXT.replace('num_partitions = 10   # ten nodes\n', ''));
  });

  it('takes a key out of an inline table, with one comma', () => {
    assert.ok(out(TEXT, 'strategy.options.fraction_train').includes('{ accept_failures = true }'));
    assert.ok(out(TEXT, 'strategy.options.accept_failures').includes('{ fraction_train = 0.5 }'));
    assert.equal(out('a = { b = 1 }', 'a.b'), 'a = { }');
  });

  it('takes a whole table out, with the empty line above it', () => {
    assert.equal(out(TEXT, 'data.options'), TEXT.replace('\n[data.options]\nalpha = 0.3\n', ''));
    assert.equal(out('[a]\n', 'a'), '');
  });

  it('knows nothing of what is not there', () => {
    assert.equal(removing(readToml(TEXT), 'train.num_rounds'), null);
  });
});

describe('literals', () => {
  it('are read back: quotes, breaks, backslashes', () => {
    for (const value of ['', 'a"b', 'a\nb', 'x\\y\n"""z"', "it's", '\x7f', 'ends"\n"', 'tab\tnewline\n']) {
      assert.equal(readToml(`v = ${literalOf(value)}\n`).entries.get('v')?.value, value);
    }
  });
});
