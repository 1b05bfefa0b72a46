import React from 'react';
import { Choice, RunsBrowser } from '../runs/browser';
import { drawn, scrolledTo } from '../runs/virtual';
import { IFlip } from '../tokens';
import { useNow, useVersion } from './hooks';
import { RunLine } from './run_line';

/** Height of a line; the style sheet knows the same two. */
const NARROW_PX = 50;
const WIDE_PX = 32;
/** Where there is room for all columns side by side. */
const WIDE_FROM_PX = 640;
/** The names of the columns stay above the lines. */
const HEADS_PX = 28;
const SPARE = 12;

export interface IRunsList {
  flip: IFlip;
  browser: RunsBrowser;
  /** Opens a run: Enter, or a double click. */
  onOpen: (run_id: string) => void;
  /** Keys that the list itself does not take, for the run under the cursor. */
  onKey?: (event: React.KeyboardEvent, run_id: string) => void;
}

/** A list of any length: only the lines that can be seen are in the page. */
export function RunsList({ flip, browser, onOpen, onKey }: IRunsList): JSX.Element {
  useVersion(browser);
  const now_ms = useNow();
  const place = React.useRef<HTMLDivElement>(null);
  const name = React.useId();
  const view = useView(place);
  const isWide = view.width_px >= WIDE_FROM_PX;
  const line_px = isWide ? WIDE_PX : NARROW_PX;
  const lines_px = view.height_px - (isWide ? HEADS_PX : 0);
  const { rows } = browser;
  const { first, end } = drawn(view.top_px, lines_px, line_px, rows.length, SPARE);
  const active = browser.active;

  const show = (at: number | null): void => {
    if (at === null || place.current === null) return;
    place.current.scrollTop = scrolledTo(at, place.current.scrollTop, lines_px, line_px);
  };
  const keys = (event: React.KeyboardEvent): void => {
    const page = Math.max(1, Math.floor(lines_px / line_px) - 1);
    const by = STEPS(page, rows.length)[event.key];
    if (by !== undefined) {
      event.preventDefault();
      show(browser.move(by, event.shiftKey ? 'range' : 'only'));
    } else if (active !== null && event.key === 'Enter') {
      event.preventDefault();
      onOpen(active.run_id);
    } else if (active !== null) {
      onKey?.(event, active.run_id);
    }
  };
  const click = (event: React.MouseEvent): void => {
    const run_id = runUnder(event);
    if (run_id !== null) browser.choose(run_id, choiceOf(event));
  };
  const menu = (event: React.MouseEvent): void => {
    const run_id = runUnder(event);
    if (run_id !== null && !browser.isChosen(run_id)) browser.choose(run_id);
  };
  const place_of = active === null ? null : browser.place(active.run_id);
  const isDrawn = place_of !== null && place_of >= first && place_of < end;
  return (
    <div className="jp-FlipLab-runs" data-wide={isWide || undefined}>
      <div
        ref={place}
        role="grid"
        tabIndex={0}
        className="jp-FlipLab-runs-scroll"
        aria-label={flip.trans.__('Runs')}
        aria-rowcount={rows.length + 1}
        aria-multiselectable="true"
        aria-activedescendant={isDrawn ? `${name}-${active?.run_id}` : undefined}
        onKeyDown={keys}
        onClick={click}
        onContextMenu={menu}
        onDoubleClick={event => {
          const run_id = runUnder(event);
          if (run_id !== null) onOpen(run_id);
        }}
      >
        <Heads flip={flip} />
        <div role="rowgroup" className="jp-FlipLab-runs-all" style={{ height: rows.length * line_px }}>
          {rows.slice(first, end).map((row, index) => (
            <RunLine
              key={row.run_id}
              id={`${name}-${row.run_id}`}
              flip={flip}
              row={row}
              place={first + index}
              line_px={line_px}
              now_ms={now_ms}
              isWide={isWide}
              isActive={row === active}
              isChosen={browser.isChosen(row.run_id)}
            />
          ))}
        </div>
      </div>
    </div>
  );
}

const STEPS = (page: number, all: number): Record<string, number | undefined> => ({
  ArrowDown: 1,
  ArrowUp: -1,
  PageDown: page,
  PageUp: -page,
  Home: -all,
  End: all
});

/** Names the columns; without room for them they are there for screen readers only. */
function Heads({ flip: { trans } }: { flip: IFlip }): JSX.Element {
  const names = [
    trans.__('Run'),
    trans.__('State'),
    trans.__('Rounds'),
    trans.__('Metric'),
    trans.__('Where'),
    trans.__('Time'),
    trans.__('Launched')
  ];
  return (
    <div role="rowgroup" className="jp-FlipLab-runs-heads">
      <div role="row" aria-rowindex={1}>
        {names.map(each => (
          <span role="columnheader" key={each}>
            {each}
          </span>
        ))}
      </div>
    </div>
  );
}

function runUnder(event: React.MouseEvent): string | null {
  return (event.target as Element).closest<HTMLElement>('[data-run]')?.dataset['run'] ?? null;
}

function choiceOf(event: React.MouseEvent): Choice {
  if (event.shiftKey) return 'range';
  return event.ctrlKey || event.metaKey ? 'toggle' : 'only';
}

interface IView {
  top_px: number;
  height_px: number;
  width_px: number;
}

/** How far the list is scrolled and how large it is, at most once a frame. */
function useView(place: React.RefObject<HTMLDivElement>): IView {
  const [view, setView] = React.useState<IView>({ top_px: 0, height_px: 600, width_px: 0 });
  React.useLayoutEffect(() => {
    const node = place.current;
    if (node === null) return;
    let frame = 0;
    const read = (): void => {
      frame = 0;
      setView({ top_px: node.scrollTop, height_px: node.clientHeight, width_px: node.clientWidth });
    };
    const soon = (): void => {
      if (frame === 0) frame = requestAnimationFrame(read);
    };
    const sizes = new ResizeObserver(soon);
    sizes.observe(node);
    node.addEventListener('scroll', soon, { passive: true });
    read();
    return () => {
      sizes.disconnect();
      node.removeEventListener('scroll', soon);
      cancelAnimationFrame(frame);
    };
  }, [place]);
  return view;
}
