import React from 'react';
import { IFlip } from '../tokens';
import { useSignal } from './hooks';

/** Says so when what is shown may be out of date, or nobody answers at all. */
export function Banner({ flip }: { flip: IFlip }): JSX.Element | null {
  const api = useSignal(flip.api.stateChanged, () => flip.api.state);
  const runs = useSignal(flip.runs.changed, () => flip.runs.state);
  const { trans } = flip;
  const text = (): [tone: string, words: string] | null => {
    if (api === 'absent') {
      return ['trouble', trans.__('This Jupyter server has no lab: install flip-lab[lab] beside it and restart it.')];
    }
    if (api === 'gone' || (runs === 'stale' && api === 'ready')) {
      return ['stale', trans.__('The lab does not answer now. What you see may be out of date; trying again…')];
    }
    if (api === 'connecting') return ['quiet', trans.__('The lab is starting…')];
    return null;
  };
  const told = text();
  return (
    <div role="status" className="jp-FlipLab-banner-place">
      {told !== null && (
        <div className="jp-FlipLab-banner" data-tone={told[0]}>
          {told[1]}
        </div>
      )}
    </div>
  );
}
