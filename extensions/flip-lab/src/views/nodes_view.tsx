import { CommandRegistry } from '@lumino/commands';
import React from 'react';
import { IPage } from '../api';
import { JsonNumber, agoText, bytesText, numberText } from '../format';
import { titleText } from '../runs/words';
import { CommandIDs, IFlip } from '../tokens';
import { useNow, usePolled, useVersion } from './hooks';
import { Trouble } from './trouble';

/** What is known of a node in a run. */
interface INode {
  run_id: string;
  node_id: number;
  /** -1 if unknown. */
  partition_id: number;
  last_round: number;
  num_replies: number;
  num_failed: number;
  num_examples: JsonNumber;
  mean_duration_s: JsonNumber;
  bytes_down: number;
  bytes_up: number;
  last_seen_at: string;
  last_error: string;
}

/** Where a run can happen. */
interface IPlace {
  name: string;
  kind: 'engine' | 'federation';
  address: string | null;
  is_secure: boolean | null;
}

interface IKnown {
  nodes: INode[];
  has_more: boolean;
  places: IPlace[];
}

const EVERY_MS = 5_000;
/** More than these belong into the fleet's board. */
const MOST = 200;

/** Nodes of the runs under way, or of the newest run; and where runs can happen. */
export function NodesView({ flip, commands }: { flip: IFlip; commands: CommandRegistry }): JSX.Element {
  const { api, runs, trans } = flip;
  useVersion(runs);
  const run_id = runs.active.length > 0 ? null : (runs.rows[0]?.run_id ?? null);
  const isNone = runs.rows.length === 0;
  const read = React.useCallback(async (): Promise<IKnown> => {
    const places = (await api.get<{ items: IPlace[] }>('federations')).items;
    if (isNone) return { nodes: [], has_more: false, places };
    const page = await api.get<IPage<INode>>('nodes', { run_id, limit: MOST });
    return { nodes: page.items, has_more: page.next_cursor !== null, places };
  }, [api, run_id, isNone]);
  const place = React.useRef<HTMLDivElement>(null);
  const { value, error, again } = usePolled(read, EVERY_MS, place);
  if (value === null) {
    return <div ref={place}>{error !== null && <Trouble flip={flip} error={error} onAgain={again} />}</div>;
  }
  const groups = new Map<string, INode[]>();
  for (const node of value.nodes) groups.set(node.run_id, [...(groups.get(node.run_id) ?? []), node]);
  return (
    <div className="jp-FlipLab-nodes" ref={place}>
      {groups.size === 0 && <p className="jp-FlipLab-nothing">{trans.__('No node has worked yet.')}</p>}
      {[...groups].map(([id, nodes]) => (
        <NodesOfRun key={id} flip={flip} commands={commands} run_id={id} nodes={nodes} />
      ))}
      {value.has_more && (
        <p className="jp-FlipLab-hint">{trans.__('There are more: open a run’s nodes to see them all.')}</p>
      )}
      <Places flip={flip} commands={commands} places={value.places} />
    </div>
  );
}

interface INodesOfRun {
  flip: IFlip;
  commands: CommandRegistry;
  run_id: string;
  nodes: INode[];
}

function NodesOfRun({ flip, commands, run_id, nodes }: INodesOfRun): JSX.Element {
  const { trans } = flip;
  const now_ms = useNow();
  const row = flip.runs.row(run_id);
  const title = row === undefined ? run_id : titleText(row);
  return (
    <section aria-label={trans.__('Nodes of %1', title)}>
      <h2>
        <button
          type="button"
          className="jp-FlipLab-link"
          onClick={() => void commands.execute(CommandIDs.openFleet, { run_id })}
        >
          {title}
        </button>
        <small>{trans._n('%1 node', '%1 nodes', nodes.length)}</small>
      </h2>
      <table>
        <thead>
          <tr>
            <th scope="col">{trans.__('Node')}</th>
            <th scope="col">{trans.__('Examples')}</th>
            <th scope="col">{trans.__('Takes')}</th>
            <th scope="col">{trans.__('Failed')}</th>
            <th scope="col">{trans.__('Traffic')}</th>
            <th scope="col">{trans.__('Seen')}</th>
          </tr>
        </thead>
        <tbody>
          {nodes.map(node => (
            <tr
              key={`${node.partition_id} ${node.node_id}`}
              data-failed={node.num_failed > 0 || undefined}
              title={node.last_error || undefined}
            >
              <th scope="row">{node.partition_id < 0 ? '–' : node.partition_id}</th>
              <td>{numberText(node.num_examples)}</td>
              <td>{tookText(node.mean_duration_s)}</td>
              <td>{node.num_failed}</td>
              <td>{bytesText(node.bytes_down + node.bytes_up)}</td>
              <td>{agoText(node.last_seen_at, now_ms, 'narrow')}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

interface IPlaces {
  flip: IFlip;
  commands: CommandRegistry;
  places: IPlace[];
}

function Places({ flip: { trans }, commands, places }: IPlaces): JSX.Element {
  return (
    <section aria-label={trans.__('Where runs can happen')}>
      <h2>{trans.__('Where runs can happen')}</h2>
      <ul>
        {places.map(place => (
          <li key={place.name}>
            {place.kind === 'federation' ? (
              <button
                type="button"
                className="jp-FlipLab-link"
                onClick={() => void commands.execute(CommandIDs.openFleet, { federation: place.name })}
              >
                {place.name}
              </button>
            ) : (
              <code>{place.name}</code>
            )}
            <small>
              {place.kind === 'engine' ? trans.__('simulated here') : (place.address ?? '')}
              {place.is_secure === false && ` · ${trans.__('without certificates')}`}
            </small>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** How long a reply takes; milliseconds below one second. */
function tookText(seconds: JsonNumber): string {
  const took = Number(seconds);
  if (!Number.isFinite(took)) return '–';
  return took < 1 ? `${Number((1000 * took).toPrecision(3))} ms` : `${Number(took.toPrecision(3))} s`;
}
