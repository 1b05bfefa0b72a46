import { JsonNumber } from '../format';
import { IWords } from '../runs/words';

export type Stage = 'none' | 'staging' | 'production' | 'archived';

export const STAGES: readonly Stage[] = ['none', 'staging', 'production', 'archived'];

/** One version of a model (`GET /models`). */
export interface IModelVersion {
  name: string;
  version: number;
  stage: Stage;
  sha256: string;
  size_bytes: number;
  num_parameters: number;
  /** `null` for a file from elsewhere. */
  run_id: string | null;
  server_round: number | null;
  artifact: string;
  metrics: Record<string, JsonNumber>;
  scenario: string | null;
  tags: string[];
  note: string;
  registered_at: string;
  registered_by: string;
}

/** A model with its versions, the newest first. */
export interface IRegisteredModel {
  name: string;
  versions: IModelVersion[];
  production: IModelVersion | null;
}

/** Gathers versions by the model they are of; models in the alphabet's order. */
export function modelsOf(versions: readonly IModelVersion[]): IRegisteredModel[] {
  const names = [...new Set(versions.map(each => each.name))].sort();
  return names.map(name => {
    const own = versions.filter(each => each.name === name).sort((one, other) => other.version - one.version);
    return { name, versions: own, production: own.find(each => each.stage === 'production') ?? null };
  });
}

/** Says what moving a version to a stage means for the others. */
export function consequence(
  { production }: IRegisteredModel,
  version: IModelVersion,
  stage: Stage,
  trans: IWords
): string {
  if (stage === 'production' && production !== null && production !== version) {
    return trans.__(
      'Version %1, which is in production now, is archived. A roll back brings it back.',
      production.version
    );
  }
  if (stage !== 'production' && production === version) return trans.__('Then no version is in production.');
  return trans.__('Nothing else changes.');
}
