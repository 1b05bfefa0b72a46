import { ISignal } from '@lumino/signaling';
import React from 'react';

/** What has a version that grows with each of its changes. */
interface IVersioned {
  readonly version: number;
  readonly changed: ISignal<unknown, unknown>;
}

/** Draws anew whenever one of these changes. */
export function useVersion(shown: IVersioned): number {
  const follow = React.useCallback(
    (draw: () => void) => {
      const slot = (): void => draw();
      shown.changed.connect(slot);
      return () => void shown.changed.disconnect(slot);
    },
    [shown]
  );
  return React.useSyncExternalStore(follow, () => shown.version);
}

/** Reads a value anew whenever a signal says so; it is compared with `===`. */
export function useSignal<T>(signal: ISignal<unknown, unknown>, read: () => T): T {
  const follow = React.useCallback(
    (draw: () => void) => {
      const slot = (): void => draw();
      signal.connect(slot);
      return () => void signal.disconnect(slot);
    },
    [signal]
  );
  return React.useSyncExternalStore(follow, read);
}

/** The time, told anew every so often: for moments that are shown as "3 min ago". */
export function useNow(every_ms = 20_000): number {
  const [now, setNow] = React.useState(Date.now);
  React.useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), every_ms);
    return () => window.clearInterval(timer);
  }, [every_ms]);
  return now;
}

/** A document that is read now, and again every so often while it is looked at. */
export interface IPolled<T> {
  value: T | null;
  error: Error | null;
  /** Reads it again now. */
  again: () => void;
}

/** @param place What shows the document: while that is hidden, nothing is read. */
export function usePolled<T>(
  read: () => Promise<T>,
  every_ms: number,
  place: React.RefObject<HTMLElement>
): IPolled<T> {
  const [state, setState] = React.useState<{ value: T | null; error: Error | null }>({ value: null, error: null });
  const [turn, setTurn] = React.useState(0);
  React.useEffect(() => {
    let isOver = false;
    const load = (): void => {
      read().then(
        value => isOver || setState({ value, error: null }),
        (error: Error) => isOver || setState(known => ({ value: known.value, error }))
      );
    };
    load();
    const timer = window.setInterval(() => {
      if (place.current?.checkVisibility() && document.visibilityState === 'visible') load();
    }, every_ms);
    return () => {
      isOver = true;
      window.clearInterval(timer);
    };
  }, [read, every_ms, turn, place]);
  return { ...state, again: () => setTurn(turn + 1) };
}
