/** A scenario as the gallery shows it (`GET /scenarios`). */
export interface IScenarioCard {
  name: string;
  title: string;
  description: string;
  dataset: string;
  partitioner: string;
  num_nodes: number;
  model: string;
  strategy: string;
  num_rounds: number;
}

/** What is looked for; the empty word stands for anything. */
export interface IWanted {
  /** Words that must all be in it, in any order. */
  words: string;
  dataset: string;
  strategy: string;
}

/** Gives the scenarios that are looked for, in their order. */
export function found<T extends IScenarioCard>(cards: readonly T[], wanted: IWanted): T[] {
  const words = wanted.words.toLowerCase().split(/\s+/).filter(Boolean);
  return cards.filter(card => {
    if (wanted.dataset && card.dataset !== wanted.dataset) return false;
    if (wanted.strategy && card.strategy !== wanted.strategy) return false;
    const { name, title, description, dataset, partitioner, model, strategy } = card;
    const text = [name, title, description, dataset, partitioner, model, strategy].join(' ').toLowerCase();
    return words.every(word => text.includes(word));
  });
}

/** Gives what there is to choose from, each once, in the alphabet's order. */
export function words<T>(items: readonly T[], of: (item: T) => string): string[] {
  return [...new Set(items.map(of))].sort();
}

/** Gives a description's paragraphs, each in one line. */
export function paragraphs(text: string): string[] {
  return text
    .trim()
    .split(/\n\s*\n/)
    .map(each => each.replace(/\s+/g, ' ').trim())
    .filter(Boolean);
}
