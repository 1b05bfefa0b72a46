import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attachCode, federationCells, freeName, notebookOf, pythonText } from '../src/notebook_cells';

test('a text is the same in Python, whatever is in it', () => {
  assert.equal(pythonText('C:\\labs\\"mine"\n'), '"C:\\\\labs\\\\\\"mine\\"\\n"');
});

test('attach code finds the run in the lab of this Jupyter, or in the one it names', () => {
  assert.equal(attachCode('r1'), 'from flip_lab import Lab, watch\n\nrun = Lab().run("r1")\nwatch(run)');
  assert.match(attachCode('r1', '/labs/mine'), /Lab\("\/labs\/mine"\)\.run\("r1"\)/);
});

test('the notebook of a scenario launches it, comes back to it and shows it', () => {
  const cells = federationCells({ name: 'digits-iid', title: 'Ten nodes', description: 'They read.\n' });
  assert.equal(cells[0].source, '# Ten nodes\n\nThey read.');
  const code = cells.filter(cell => cell.cell_type === 'code').map(cell => cell.source);
  assert.ok(code.some(source => source.includes('lab.launch("digits-iid")')));
  assert.ok(code.some(source => source.includes('lab.runs({"name": "digits-iid"}, limit=1)')));
});

test('a notebook is what nbformat 4.5 asks for: ids, no outputs', () => {
  let number = 0;
  const notebook = notebookOf(
    [
      { cell_type: 'markdown', source: '# A' },
      { cell_type: 'code', source: 'a' }
    ],
    () => `cell-${(number += 1)}`
  ) as { nbformat: number; nbformat_minor: number; cells: object[] };
  assert.deepEqual([notebook.nbformat, notebook.nbformat_minor], [4, 5]);
  assert.deepEqual(notebook.cells, [
    { id: 'cell-1', cell_type: 'markdown', source: '# A', metadata: {} },
    { id: 'cell-2', cell_type: 'code', source: 'a', metadata: {}, execution_count: null, outputs: [] }
  ]);
});

test('a file that is there is not written over', () => {
  assert.equal(freeName('hospitals', new Set()), 'hospitals.ipynb');
  assert.equal(freeName('hospitals', new Set(['hospitals.ipynb', 'hospitals-2.ipynb'])), 'hospitals-3.ipynb');
});
