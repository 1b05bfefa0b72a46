/** What went wrong, as the API tells it (RFC 9457), with our code and what to do about it. */
export interface IProblem {
  code: string;
  title: string;
  detail: string;
  fix: string;
  status: number;
  evidence: string;
}

/** A refusal of the API. `message` is what happened; `fix` is what to do. */
export class ApiError extends Error {
  readonly code: string;
  readonly fix: string;
  readonly status: number;
  readonly evidence: string;

  constructor(problem: IProblem) {
    super(problem.detail || problem.title);
    this.name = 'ApiError';
    this.code = problem.code;
    this.fix = problem.fix;
    this.status = problem.status;
    this.evidence = problem.evidence;
  }
}

/** Nobody answers: the API is still starting, has ended, or there is no network. */
export class UnreachableError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UnreachableError';
  }
}

/** Reads a problem out of a body; `null` where the body is something else. */
export function problemOf(body: unknown): IProblem | null {
  if (typeof body !== 'object' || body === null) return null;
  const told = body as Record<string, unknown>;
  if (typeof told['code'] !== 'string' || typeof told['detail'] !== 'string') return null;
  const text = (name: string): string => (typeof told[name] === 'string' ? (told[name] as string) : '');
  return {
    code: told['code'],
    title: text('title'),
    detail: told['detail'],
    fix: text('fix'),
    status: typeof told['status'] === 'number' ? told['status'] : 0,
    evidence: text('evidence')
  };
}
