import { TranslationBundle } from '@jupyterlab/translation';
import React, { useCallback, useEffect, useRef, useState } from 'react';
import { ApiError, UnreachableError } from '../api';

/** What was asked for: there, not yet there, or refused. */
export interface ILoaded<T> {
  value: T | null;
  error: Error | null;
  /** Whether an answer is awaited. */
  isLoading: boolean;
  reload: () => void;
}

const RETRY_MS = 3_000;

/**
 * Loads something, and again when a dependency changes; asks on while nobody answers.
 *
 * What was there stays until something newer comes; of several answers the newest counts.
 */
export function useLoaded<T>(load: () => Promise<T>, dependencies: readonly unknown[]): ILoaded<T> {
  const [loaded, setLoaded] = useState<{ value: T | null; error: Error | null }>({ value: null, error: null });
  const [isLoading, setIsLoading] = useState(true);
  const [numAsked, setNumAsked] = useState(0);
  useEffect(() => {
    let isCurrent = true;
    let retry = 0;
    setIsLoading(true);
    load().then(
      value => {
        if (!isCurrent) return;
        setLoaded({ value, error: null });
        setIsLoading(false);
      },
      (error: Error) => {
        if (!isCurrent) return;
        setLoaded(({ value }) => ({ value, error }));
        setIsLoading(false);
        if (error instanceof UnreachableError)
          retry = window.setTimeout(() => setNumAsked(asked => asked + 1), RETRY_MS);
      }
    );
    return () => {
      isCurrent = false;
      window.clearTimeout(retry);
    };
  }, [...dependencies, numAsked]);
  const reload = useCallback(() => setNumAsked(asked => asked + 1), []);
  return { ...loaded, isLoading, reload };
}

/** Does something when a button is pressed: once at a time, and says what was refused. */
export function useDeed(): { isBusy: boolean; error: Error | null; act: (deed: () => Promise<unknown>) => void } {
  const [isBusy, setIsBusy] = useState(false);
  const [error, setError] = useState<Error | null>(null);
  const isGone = useRef(false);
  useEffect(() => {
    isGone.current = false;
    return () => {
      isGone.current = true;
    };
  }, []);
  const act = (deed: () => Promise<unknown>): void => {
    if (isBusy) return;
    setIsBusy(true);
    setError(null);
    deed()
      .catch((refusal: Error) => {
        if (!isGone.current) setError(refusal);
      })
      .finally(() => {
        if (!isGone.current) setIsBusy(false);
      });
  };
  return { isBusy, error, act };
}

/** What went wrong: its code, what happened, what to do. */
export function Problem(props: { error: Error; trans: TranslationBundle }): JSX.Element {
  const { error, trans } = props;
  if (error instanceof UnreachableError) {
    return (
      <p className="jp-FlipProblem" role="status">
        {trans.__('The lab does not answer. Trying again…')}
      </p>
    );
  }
  const told = error instanceof ApiError ? error : null;
  return (
    <div className="jp-FlipProblem" role="alert">
      {told?.code && <strong>{told.code} </strong>}
      {error.message} {told?.fix}
    </div>
  );
}

/** `code` between backticks, as descriptions have it. */
export function Prose(props: { text: string }): JSX.Element {
  const pieces = props.text.split('`');
  return <>{pieces.map((piece, at) => (at % 2 ? <code key={at}>{piece}</code> : piece))}</>;
}

/** A field to search with. */
export function Search(props: { label: string; value: string; onChange: (text: string) => void }): JSX.Element {
  return (
    <input
      className="jp-FlipSearch"
      type="search"
      placeholder={props.label}
      aria-label={props.label}
      value={props.value}
      onChange={event => props.onChange(event.target.value)}
    />
  );
}

/** A field to choose with; the empty word stands for all. */
export function Choice(props: {
  label: string;
  all: string;
  words: readonly string[];
  value: string;
  onChange: (word: string) => void;
}): JSX.Element {
  return (
    <label className="jp-FlipChoice">
      <span>{props.label}</span>
      <select value={props.value} onChange={event => props.onChange(event.target.value)}>
        <option value="">{props.all}</option>
        {props.words.map(word => (
          <option key={word} value={word}>
            {word}
          </option>
        ))}
      </select>
    </label>
  );
}

/** A button with words. */
export function Button(props: {
  children: React.ReactNode;
  onClick: () => void;
  isMain?: boolean;
  isBusy?: boolean;
  isOff?: boolean;
  label?: string;
  title?: string;
}): JSX.Element {
  return (
    <button
      type="button"
      className={props.isMain ? 'jp-FlipButton jp-mod-main' : 'jp-FlipButton'}
      aria-label={props.label}
      title={props.title}
      aria-busy={props.isBusy || undefined}
      disabled={props.isOff}
      onClick={() => !props.isBusy && props.onClick()}
    >
      {props.children}
    </button>
  );
}
