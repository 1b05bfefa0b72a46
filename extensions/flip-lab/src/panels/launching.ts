import { UUID } from '@lumino/coreutils';
import { IApi } from '../api';

/** What a launch is asked for (`POST /runs`): a scenario's name or text, and more. */
export interface ILaunch {
  scenario?: string;
  toml?: string;
}

/**
 * Launches a run and gives its id.
 *
 * The key makes one run of one press, even where an answer is lost and the request is sent
 * again by something in between.
 *
 * @throws ApiError where the API refuses; then nothing was started.
 */
export async function launched(api: IApi, launch: ILaunch): Promise<string> {
  const headers = { 'Idempotency-Key': UUID.uuid4() };
  const { run_id } = await api.send<{ run_id: string }>('POST', 'runs', launch, headers);
  return run_id;
}
