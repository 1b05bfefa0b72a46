import React from 'react';
import { IPage } from '../api';
import { agoText, durationText } from '../format';
import { IFlip } from '../tokens';
import { useNow, usePolled } from './hooks';
import { Trouble } from './trouble';

/** What is known of a node, of all runs together. */
interface INode {
  node_id: string | number;
  partition_id: number | null;
  federation: string | null;
  state: string;
  last_seen_at: string | null;
  num_replies: number;
  num_failed: number;
  median_duration_s: number | null;
}

const EVERY_MS = 10_000;

export function NodesView({ flip }: { flip: IFlip }): JSX.Element {
  const { api, trans } = flip;
  const read = React.useCallback(() => api.get<IPage<INode>>('nodes', { limit: 1000 }), [api]);
  const { value, error, again } = usePolled(read, EVERY_MS);
  const now_ms = useNow();
  if (error !== null && value === null) return <Trouble flip={flip} error={error} onAgain={again} />;
  if (value === null) return <div className="jp-FlipLab-nothing" />;
  if (value.items.length === 0) return <p className="jp-FlipLab-nothing">{trans.__('No node has been seen yet.')}</p>;
  return (
    <ul className="jp-FlipLab-nodes">
      {value.items.map(node => (
        <li key={String(node.node_id)}>
          {String(node.node_id)} {node.last_seen_at && agoText(node.last_seen_at, now_ms)}{' '}
          {node.median_duration_s && durationText(node.median_duration_s)}
        </li>
      ))}
    </ul>
  );
}
