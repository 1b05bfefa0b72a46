import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Answer, culprit, examined, lineFor, readable } from '../src/panels/scenario/check';
import {
  IField,
  ITrouble,
  groupsOf,
  literalAnyhow,
  literalFor,
  rangeText,
  strangers
} from '../src/panels/scenario/fields';
import { IToml, readToml } from '../src/panels/scenario/toml';

function field(path: string, more: Partial<IField> = {}): IField {
  return {
    path,
    label: path,
    kind: 'number',
    of: more.kind ?? 'number',
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

const FIELDS = [
  field('name', { kind: 'text', default: 'x' }),
  field('seed', { kind: 'integer', default: 0 }),
  field('data.dataset', { kind: 'text', default: 'digits' }),
  field('data.num_partitions', { kind: 'integer', default: 10 }),
  field('data.partitioner', { kind: 'text', default: 'iid', choices: ['iid', 'dirichlet'], is_closed: true }),
  field('train.learning_rate', { default: 0.05, above: 0 }),
  field('expect', { kind: 'prose' })
];

const TEXT = 'name = "x"\n[data]\ndataset = "digits"\nnum_partitions = 10\n[train]\nlearning_rate = 1e-3\n';

describe('the form of a text', () => {
  it('has every field in its group, with what stands in the text as it is typed', () => {
    const groups = groupsOf(readToml(TEXT), FIELDS);
    assert.deepEqual(
      groups.map(({ key, rows }) => [key, rows.map(({ raw, usual }) => [raw, usual])]),
      [
        [
          'about',
          [
            ['x', 'x'],
            [null, '0']
          ]
        ],
        [
          'data',
          [
            ['digits', 'digits'],
            ['10', '10'],
            [null, 'iid']
          ]
        ],
        ['train', [['1e-3', '0.05']]]
      ]
    );
  });

  it('lets go of what has a default, and keeps what is needed', () => {
    const rows = groupsOf(readToml(TEXT), FIELDS).flatMap(each => each.rows);
    assert.deepEqual(
      rows.filter(row => !row.isRemovable).map(row => row.field.path),
      ['name', 'data.dataset', 'data.num_partitions']
    );
  });

  it('names the keys that no field is for', () => {
    const toml = readToml(
      `${TEXT}learning_rat = 1\n[trian]\nx = 1\n[data.options]\nalpha = 1\n[[expect]]\nsays = "x"\n`
    );
    assert.deepEqual(strangers(toml, FIELDS), ['train.learning_rat', 'trian.x', 'data.options.alpha']);
  });
});

describe('what is put into a field', () => {
  const cases: [Partial<IField>, string | boolean, string | null | undefined][] = [
    [{ kind: 'integer' }, '12', '12'],
    [{ kind: 'integer' }, '1.5', undefined],
    [{ kind: 'integer' }, ' ', null],
    [{ kind: 'integer' }, '007', undefined],
    [{}, '1e-3', '1e-3'],
    [{}, '.5', '0.5'],
    [{}, '1.', undefined],
    [{}, '-', undefined],
    [{}, 'inf', 'inf'],
    [{}, '1_000', '1_000'],
    [{}, '1e999', '1e999'],
    [{ kind: 'text' }, 'a "b"', '"a \\"b\\""'],
    [{ kind: 'text' }, '', '""'],
    [{ kind: 'text', is_optional: true }, '', null],
    [{ kind: 'text', choices: ['a'] }, '', null],
    [{ kind: 'boolean' }, true, 'true'],
    [{ kind: 'boolean' }, 'yes', undefined],
    [{ kind: 'list', of: 'integer' }, '1, 2,', '[1, 2]'],
    [{ kind: 'list', of: 'text' }, '1, b', '["1", "b"]'],
    [{ kind: 'list', of: 'text' }, ' ', null],
    [{ kind: 'scalar' }, 'true', 'true'],
    [{ kind: 'scalar' }, '2.5', '2.5'],
    [{ kind: 'scalar' }, 'abc', '"abc"']
  ];
  for (const [more, raw, literal] of cases) {
    it(`${JSON.stringify(more)} ${JSON.stringify(raw)} is written ${literal}`, () => {
      assert.equal(literalFor(field('a', more), raw), literal);
    });
  }

  it('is written as a text where it is no such value: the check says so', () => {
    assert.equal(literalAnyhow(field('a', { kind: 'integer' }), ' 1.5 '), '"1.5"');
    assert.equal(literalAnyhow(field('a', { kind: 'integer' }), '1'), '1');
  });

  it('has its range said in signs', () => {
    assert.deepEqual(
      [rangeText(field('a', { above: 0 })), rangeText(field('a', { least: 0, most: 1 })), rangeText(field('a'))],
      ['> 0', '0 – 1', '']
    );
  });
});

describe('what is wrong with a text', () => {
  const trouble = (what: string): ITrouble => ({ code: 'FLIP-103', what, fix: '' });

  it('is known by the path that a message names, or by the value that it quotes', () => {
    const toml = readToml(
      '[train]\nlearning_rate = 0\nnum_round = 1\n[model]\nname = "mlpp"\n[trian]\n[[expect]]\nat_least = "foo"\n'
    );
    const found = (what: string): string => culprit(trouble(what), toml, FIELDS);
    assert.equal(found('train.learning_rate is 0.'), 'train.learning_rate');
    assert.equal(found("There is no key 'train.num_round'."), 'train.num_round');
    assert.equal(found("There is no model 'mlpp'."), 'model.name');
    assert.equal(found("'data.dataset' is missing."), 'data.dataset');
    assert.equal(found("There is no key 'trian'."), 'trian');
    assert.equal(found("expect[0].at_least is 'foo'."), 'expect[0].at_least');
    assert.equal(found('Something else is wrong.'), '');
  });

  /** A server that tells the first problem it meets, as ours does. */
  async function ask(text: string): Promise<Answer> {
    const toml = readable(text);
    if (toml === null) return { trouble: trouble('The text is not valid TOML: Invalid value (at line 2, column 3).') };
    const value = (path: string): unknown => toml.entries.get(path)?.value;
    if (value('train.num_round') !== undefined) return { trouble: trouble("There is no key 'train.num_round'.") };
    if (value('data.dataset') === undefined) return { trouble: trouble("'data.dataset' is missing.") };
    if (value('data.dataset') !== 'digits')
      return { trouble: trouble(`There is no data set '${value('data.dataset')}'.`) };
    if ((value('train.learning_rate') as number) <= 0) return { trouble: trouble('train.learning_rate is 0.') };
    return { fields: [field('train.learning_rate')] };
  }

  it('is found for all values at once', async () => {
    const text = TEXT.replace('"digits"', '"dgits"').replace('1e-3', '0\nnum_round = 3');
    const { fields, troubles } = await examined(text, ask, FIELDS);
    assert.deepEqual([...troubles.keys()], ['train.num_round', 'data.dataset', 'train.learning_rate']);
    assert.deepEqual(
      fields.map(each => each.path),
      ['train.learning_rate']
    );
  });

  it('is found where something is missing', async () => {
    const { troubles } = await examined(TEXT.replace('dataset = "digits"\n', ''), ask, FIELDS);
    assert.deepEqual([...troubles.keys()], ['data.dataset']);
  });

  it('is one problem of the whole where the text is no TOML', async () => {
    const { fields, troubles } = await examined('name = "x"\nseed = \n', ask, FIELDS);
    assert.deepEqual([...troubles.keys()], ['']);
    assert.equal(fields.length, FIELDS.length);
    assert.equal(lineFor('', troubles.get('') as ITrouble, null), 2);
  });

  it('does not go on for ever with a server that always finds something', async () => {
    let times = 0;
    await examined(TEXT, async () => ({ trouble: trouble(`train.learning_rate is ${(times += 1)}.`) }), FIELDS);
    assert.equal(times, 2);
  });

  it('stands in a line', () => {
    assert.equal(lineFor('train.learning_rate', trouble(''), readToml(TEXT) as IToml), 6);
    assert.equal(lineFor('train', trouble(''), readToml(TEXT)), 5);
    assert.equal(lineFor('', trouble('x'), readToml(TEXT)), null);
  });
});
