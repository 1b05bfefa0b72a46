import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import { LabIcon } from '@jupyterlab/ui-components';
import { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import { Query } from '../api';
import { compareIcon, nodesIcon } from '../icons';
import { stateText } from '../runs/words';
import { meant } from '../steering_commands';
import { CATEGORY, CommandIDs, IFlip, RunState } from '../tokens';
import { BoardView } from './board';
import { BoardKind } from './board_kinds';
import { Values } from './board_model';
import { launchIcon, partitionsIcon, runIcon } from './icons';
import { showIn } from './place';

type BoardPanel = MainAreaWidget<BoardView>;

/** What restores a board after a reload; not for people. */
const OPEN_BOARD = 'flip-lab:open-board';

const ICONS: Record<BoardKind, LabIcon> = {
  run: runIcon,
  comparer: compareIcon,
  launcher: launchIcon,
  partitions: partitionsIcon,
  fleet: nodesIcon
};

/** Runs, comparisons, launch forms, nodes and partitions in the main area. */
export const boards: JupyterFrontEndPlugin<void> = {
  id: 'flip-lab:boards',
  description: 'Runs, comparisons, launch forms, nodes and partitions in the main area.',
  autoStart: true,
  requires: [IFlip],
  optional: [ICommandPalette, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    flip: IFlip,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null
  ): void => {
    const tracker = new WidgetTracker<BoardPanel>({ namespace: 'flip-lab-boards' });
    const open = (kind: BoardKind, query: Query): void =>
      showIn(app, tracker, idOf(kind, query), () => boardPanel(app, flip, kind, query));
    addCommands(app, flip, open);
    void restorer?.restore(tracker, {
      command: OPEN_BOARD,
      args: ({ content }) => ({ kind: content.kind, query: content.query }) as ReadonlyPartialJSONObject,
      name: panel => panel.id
    });
    tracker.currentChanged.connect((_tracker, panel) => {
      if (panel?.content.kind === 'run') flip.currentRun = String(panel.content.query['run_id']);
    });
    for (const command of [
      CommandIDs.compareRuns,
      CommandIDs.openLaunchForm,
      CommandIDs.openFleet,
      CommandIDs.openPartitions
    ]) {
      palette?.addItem({ command, category: CATEGORY, args: { isPalette: true } });
    }
  }
};

function addCommands(app: JupyterFrontEnd, flip: IFlip, open: (kind: BoardKind, query: Query) => void): void {
  const { commands } = app;
  const { trans } = flip;
  const text = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);
  const runOf = (args: ReadonlyPartialJSONObject): string | null => text(args['run_id']) ?? flip.currentRun;
  commands.addCommand(OPEN_BOARD, {
    label: trans.__('Open a Board'),
    execute: args => open(args['kind'] as BoardKind, (args['query'] ?? {}) as Query)
  });
  commands.addCommand(CommandIDs.openRun, {
    label: trans.__('Open Run'),
    caption: trans.__('Watch and steer a run'),
    icon: runIcon,
    execute: args => {
      const run_id = meant(app, flip, args['run_id']);
      if (run_id !== null) open('run', { run_id });
    },
    isEnabled: args => meant(app, flip, args['run_id']) !== null
  });
  commands.addCommand(CommandIDs.compareRuns, {
    label: trans.__('Compare Runs'),
    caption: trans.__('Curves, parameters and clients of runs, side by side'),
    icon: args => (args['isPalette'] ? undefined : compareIcon),
    execute: args => open('comparer', { runs: (args['run_ids'] as string[] | undefined) ?? [] })
  });
  commands.addCommand(CommandIDs.openLaunchForm, {
    label: trans.__('Launch Form'),
    caption: trans.__('Set every value of a scenario, and launch it'),
    icon: args => (args['isPalette'] ? undefined : launchIcon),
    execute: args => open('launcher', { scenario: text(args['scenario']) })
  });
  commands.addCommand(CommandIDs.openFleet, {
    label: trans.__('Nodes of a Run'),
    caption: trans.__('Who works, who is slow, who fails'),
    icon: args => (args['isPalette'] ? undefined : nodesIcon),
    execute: args => {
      const federation = text(args['federation']);
      open('fleet', { run_id: federation === null ? runOf(args) : null, federation });
    }
  });
  commands.addCommand(CommandIDs.openPartitions, {
    label: trans.__('Partition Explorer'),
    caption: trans.__('See how data lies on the nodes, and try other splits'),
    icon: args => (args['isPalette'] ? undefined : partitionsIcon),
    execute: args => open('partitions', { scenario: text(args['scenario']) })
  });
}

function boardPanel(app: JupyterFrontEnd, flip: IFlip, kind: BoardKind, query: Query): BoardPanel {
  const content = new BoardView({ flip, kind, query });
  const panel = new MainAreaWidget({ content });
  panel.toolbar.hide(); // nothing is in it
  panel.title.icon = ICONS[kind];
  const show = (parts: Values): void => entitle(panel, flip, parts);
  content.partsCame.connect((_sender, parts) => {
    show(parts);
    const shown = parts['shown']; // the run that a launch form launched, or was asked for
    if (kind === 'launcher' && typeof shown === 'string' && shown !== '') {
      void app.commands.execute(CommandIDs.openRun, { run_id: shown });
    }
  });
  if (kind === 'run') {
    const follow = (): void => show({});
    flip.runs.changed.connect(follow);
    panel.disposed.connect(() => flip.runs.changed.disconnect(follow));
  }
  show({});
  return panel;
}

/** Names a tab by what it shows; what is not known yet is left as it is. */
function entitle({ title, content }: BoardPanel, flip: IFlip, parts: Values): void {
  const { trans } = flip;
  const { kind, query } = content;
  const part = <T>(name: string): T | undefined => parts[name] as T | undefined;
  if (kind === 'run') {
    const run_id = String(query['run_id']);
    const head = part<{ name: string; state: RunState }>('head');
    const row = flip.runs.row(run_id) ?? head;
    if (row === undefined && title.label !== '') return;
    title.label = row ? `${row.name || run_id} · ${stateText(row.state, trans)}` : run_id;
    title.caption = trans.__('Run %1', run_id);
    title.className = 'jp-FlipTab';
    title.dataset = { state: row?.state ?? '' };
  } else if (kind === 'comparer') {
    const count = part<{ num_runs: number }>('picture')?.num_runs ?? (query['runs'] as readonly string[]).length;
    if ('picture' in parts || title.label === '') {
      title.label = count > 0 ? trans._n('%1 run compared', '%1 runs compared', count) : trans.__('Comparer');
    }
  } else if (kind === 'launcher') {
    const what = part<{ what: string }>('form')?.what ?? query['scenario'];
    if (what || title.label === '') title.label = what ? trans.__('Launch %1', String(what)) : trans.__('Launch Form');
  } else if (kind === 'fleet') {
    const of = query['federation'] ?? flip.runs.row(String(query['run_id']))?.name ?? query['run_id'];
    title.label = of ? trans.__('Nodes of %1', String(of)) : trans.__('Nodes');
  } else {
    title.label = query['scenario'] ? trans.__('Partitions of %1', String(query['scenario'])) : trans.__('Partitions');
  }
}

/** The same question opens the same tab. */
function idOf(kind: BoardKind, query: Query): string {
  const text = JSON.stringify(
    Object.entries(query)
      .filter(([, value]) => value !== null)
      .sort()
  );
  let hash = 5381;
  for (const letter of text) hash = (hash * 33 + (letter.codePointAt(0) as number)) >>> 0;
  return `flip-board-${kind}-${hash.toString(36)}`;
}
