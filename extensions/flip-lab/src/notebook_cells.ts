/** The text of notebooks and cells, as data: no JupyterLab here. */

/** A cell: Markdown or code. */
export interface ICell {
  cell_type: 'markdown' | 'code';
  source: string;
}

/** The scenario that a notebook is made for. */
export interface INotebookScenario {
  name: string;
  title: string;
  description: string;
}

/** Writes a text as Python: JSON's escapes mean the same there. */
export function pythonText(text: string): string {
  return JSON.stringify(text);
}

/**
 * Code that finds a run again.
 *
 * @param lab The lab's directory, for code that goes elsewhere; kernels of this Jupyter know it.
 */
export function attachCode(run_id: string, lab = ''): string {
  return [
    'from flip_lab import Lab, watch',
    '',
    `run = Lab(${lab === '' ? '' : pythonText(lab)}).run(${pythonText(run_id)})`,
    'watch(run)'
  ].join('\n');
}

/** A notebook that launches a scenario, comes back to its run, and looks at it. */
export function federationCells(scenario: INotebookScenario): ICell[] {
  const name = pythonText(scenario.name);
  return [
    { cell_type: 'markdown', source: `# ${scenario.title}\n\n${scenario.description.trim()}`.trim() },
    {
      cell_type: 'code',
      source: ['from flip_lab import Lab, views, watch', '', 'lab = Lab()  # the lab that this Jupyter shows'].join(
        '\n'
      )
    },
    {
      cell_type: 'markdown',
      source:
        '## Launch\n\nThe run lives in a process of its own: interrupt this kernel, close the browser, and it goes on.'
    },
    { cell_type: 'code', source: `run = lab.launch(${name})\nwatch(run)` },
    {
      cell_type: 'markdown',
      source: '## Come back\n\nAfter a restart of the kernel, this finds the newest run of the scenario again.'
    },
    {
      cell_type: 'code',
      source: `newest = lab.runs({"name": ${name}}, limit=1)\nrun = lab.run(newest["run_id"].iloc[0])\nwatch(run)`
    },
    { cell_type: 'markdown', source: '## Look' },
    { cell_type: 'code', source: 'run.result()  # waits for the end\nviews.training_curves(run.metrics())' }
  ];
}

/** A notebook's file with these cells, as `nbformat` 4.5 has it. */
export function notebookOf(cells: readonly ICell[], id: () => string): object {
  return {
    nbformat: 4,
    nbformat_minor: 5,
    metadata: {
      kernelspec: { display_name: 'Python 3', language: 'python', name: 'python3' },
      language_info: { name: 'python' }
    },
    cells: cells.map(({ cell_type, source }) => ({
      id: id(),
      cell_type,
      source,
      metadata: {},
      ...(cell_type === 'code' ? { execution_count: null, outputs: [] } : {})
    }))
  };
}

/** Gives a file name that is not taken yet: the name itself, or one with a number. */
export function freeName(stem: string, taken: ReadonlySet<string>): string {
  let name = `${stem}.ipynb`;
  for (let number = 2; taken.has(name); number += 1) name = `${stem}-${number}.ipynb`;
  return name;
}
