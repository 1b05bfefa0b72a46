import { Extension, RangeSetBuilder, StateEffect, StateField, Text } from '@codemirror/state';
import { Decoration, DecorationSet, EditorView } from '@codemirror/view';

/** A line that something is wrong with, and what. */
export interface IMark {
  line: number;
  words: string;
}

const setMarks = StateEffect.define<IMark[]>();

const field = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update: (marks, transaction) => {
    const told = transaction.effects.find(effect => effect.is(setMarks));
    return told ? drawn(told.value as IMark[], transaction.state.doc) : marks.map(transaction.changes);
  },
  provide: marks => EditorView.decorations.from(marks)
});

/** Lets an editor mark lines. */
export const marking: Extension = field;

/** Marks lines, in place of those that are marked. */
export function mark(view: EditorView, marks: IMark[]): void {
  view.dispatch({ effects: setMarks.of(marks) });
}

function drawn(marks: readonly IMark[], text: Text): DecorationSet {
  const builder = new RangeSetBuilder<Decoration>();
  const lines = new Map(marks.map(({ line, words }) => [Math.min(Math.max(line, 1), text.lines), words]));
  for (const [line, words] of [...lines].sort(([one], [other]) => one - other)) {
    const { from } = text.line(line);
    builder.add(from, from, Decoration.line({ class: 'jp-FlipMark', attributes: { title: words } }));
  }
  return builder.finish();
}
