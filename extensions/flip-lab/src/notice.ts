import { Notification } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import { ApiError, UnreachableError } from './api';

/** Gives what went wrong, and what to do about it, in one text. */
export function troubleText(error: unknown, trans: TranslationBundle): string {
  if (error instanceof ApiError) {
    const code = error.code === '' ? '' : ` (${error.code})`;
    return [error.message + code, error.fix].filter(Boolean).join('\n');
  }
  if (error instanceof UnreachableError) {
    return trans.__('The lab does not answer: %1', error.message);
  }
  return String((error as Error).message ?? error);
}

/** Tells of trouble that a person's wish ran into. */
export function tellTrouble(error: unknown, trans: TranslationBundle): void {
  Notification.error(troubleText(error, trans), { autoClose: 12_000 });
}
