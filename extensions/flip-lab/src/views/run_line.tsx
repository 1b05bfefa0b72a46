import React from 'react';
import { metricName, metricValue, roundsText, shortId, stateText, tookText, whenText } from '../runs/words';
import { IRunRow } from '../runs/rows';
import { IFlip } from '../tokens';

export interface IRunLine {
  flip: IFlip;
  row: IRunRow;
  place: number;
  line_px: number;
  now_ms: number;
  isActive: boolean;
  isChosen: boolean;
  id: string;
  isWide: boolean;
}

/** One run: name and age above, state, progress and metric below; one line where there is room. */
export const RunLine = React.memo(function RunLine(props: IRunLine): JSX.Element {
  const { flip, row, now_ms, isWide } = props;
  const { trans } = flip;
  const percent = Math.round(100 * (row.fraction ?? 0));
  return (
    <div
      role="row"
      id={props.id}
      className="jp-FlipLab-run"
      aria-rowindex={props.place + 2}
      aria-selected={props.isChosen}
      data-run={row.run_id}
      data-state={row.state}
      data-active={props.isActive || undefined}
      style={{ height: props.line_px, transform: `translateY(${props.place * props.line_px}px)` }}
      title={tip(row)}
    >
      <span role="gridcell" className="jp-FlipLab-run-name">
        {row.name} <span className="jp-FlipLab-run-id">{isWide ? row.run_id : shortId(row)}</span>
        {isWide && row.is_archived && <em className="jp-FlipLab-run-tag">{trans.__('archived')}</em>}
        {isWide &&
          row.tags.map(tag => (
            <em className="jp-FlipLab-run-tag" key={tag}>
              {tag}
            </em>
          ))}
      </span>
      <span role="gridcell" className="jp-FlipLab-run-state">
        {stateText(row.state, trans)}
      </span>
      <span role="gridcell" className="jp-FlipLab-run-progress">
        <span className="jp-FlipLab-run-bar" aria-hidden="true">
          <span style={{ width: `${percent}%` }} />
        </span>
        <span className="jp-FlipLab-run-rounds">{roundsText(row)}</span>
      </span>
      <span role="gridcell" className="jp-FlipLab-run-metric">
        <span>{metricName(row)}</span> <span>{metricValue(row)}</span>
      </span>
      <span role="gridcell" className="jp-FlipLab-run-where">
        {`${row.federation ?? row.engine} · ${trans._n('%1 node', '%1 nodes', row.num_nodes)}`}
      </span>
      <span role="gridcell" className="jp-FlipLab-run-took">
        {tookText(row, now_ms)}
      </span>
      <span role="gridcell" className="jp-FlipLab-run-when">
        {whenText(row, now_ms, isWide ? 'short' : 'narrow')}
      </span>
    </div>
  );
});

function tip(row: IRunRow): string {
  const experiment = row.experiment === row.name ? '' : row.experiment;
  const told = [`${row.name} ${row.run_id}`, experiment, row.tags.join(', '), row.note, row.error ?? ''];
  return told.filter(Boolean).join('\n');
}
