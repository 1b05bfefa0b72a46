import React from 'react';
import { troubleText } from '../notice';
import { IFlip } from '../tokens';

/** What went wrong, in place of what could not be shown. */
export function Trouble({ flip, error, onAgain }: { flip: IFlip; error: Error; onAgain?: () => void }): JSX.Element {
  return (
    <div className="jp-FlipLab-trouble" role="alert">
      <p>{troubleText(error, flip.trans)}</p>
      {onAgain !== undefined && (
        <button type="button" className="jp-FlipLab-button" onClick={onAgain}>
          {flip.trans.__('Try again')}
        </button>
      )}
    </div>
  );
}
