"""Compare runs in a notebook: choose, group, smooth, and look into what stands out."""

# ipywidgets ships no types, and the class we build on is one of its
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence

import traitlets

from flip_lab.boards.comparer.board import ComparerBoard
from flip_lab.boards.comparer.catalogue import Readable
from flip_lab.boards.comparer.choice import Choice, Draw, XAxis
from flip_lab.boards.comparer.faces import card_html, text_of
from flip_lab.boards.scripts import script, style
from flip_lab.runs.finding import Selection
from flip_lab.runs.search import Where
from flip_lab.widgets.face import BoardFace


class Comparer(BoardFace[ComparerBoard]):
    """Shows runs of a lab side by side; everything can be chosen anew in the notebook.

    The browser sets ``chosen`` and ``settings``; Python answers with ``picture``. What
    happened in one run or to one client is asked for by message when somebody clicks.

    Args:
        lab: The lab.
        runs: Runs to tick at first: handles, ids, or a frame; default: the newest 1,000.
        where: Which runs to offer, as ``Lab.runs`` takes it; default: all but archived
            ones.
        parameters: Values for its ``?`` marks.
        metric: One or up to six names; default: ``eval_accuracy``, or else what most runs
            recorded.
        by: What makes a group: one or two columns of ``runs``, or parameters.
        x: ``"round"``, ``"seconds"`` or ``"bytes"``, the last two summed up to each round.
        draw: ``"mean"``: each group's mean with its 95 % band; ``"lines"``: each run;
            default: lines where a run and a fork of it are ticked, otherwise means.
        smoothing: Points that a moving average looks at, 1 (none) to 50.
        log: Whether the vertical axis is logarithmic.

    Raises:
        QueryError: If the condition is wrong.
        RunNotFoundError: If one of ``runs`` is not offered.
        AnalysisError: If a metric or a key is unknown.
        InvalidValueError: If another argument will not do.
    """

    _esm = script("comparer")
    _css = style("comparer")
    _chosen = ("chosen", "settings")

    catalogue = traitlets.Dict().tag(sync=True)
    chosen = traitlets.List(traitlets.Int()).tag(sync=True)
    settings = traitlets.Dict().tag(sync=True)
    picture = traitlets.Dict().tag(sync=True)

    def __init__(  # noqa: PLR0913  # one parameter for each control of the widget
        self,
        lab: Readable,
        runs: Selection | None = None,
        *,
        where: Where = None,
        parameters: Sequence[object] = (),
        metric: str | Sequence[str] | None = None,
        by: str | Sequence[str] = (),
        x: XAxis = "round",
        draw: Draw | None = None,
        smoothing: int = 1,
        log: bool = False,
    ) -> None:
        """Draw the first picture; later ones are drawn when the browser asks."""
        board = ComparerBoard(
            lab,
            runs,
            where=where,
            parameters=parameters,
            metric=metric,
            by=by,
            x=x,
            draw=draw,
            smoothing=smoothing,
            log=log,
        )
        super().__init__(board)

    @property
    def run_ids(self) -> list[str]:
        """Ids of the runs that are ticked now."""
        return self._board.run_ids

    @property
    def choice(self) -> Choice:
        """How they are looked at now."""
        return self._board.choice

    def refresh(self) -> None:
        """Read the lab again: new runs, new rounds; ticks and settings stay."""
        self._board.refresh()
        self._show(self._board.parts())

    def card(self) -> str:
        """Give what is shown as HTML that needs no script."""
        return card_html(self._board.picture, css=style("comparer"))

    def __repr__(self) -> str:
        """Give the picture as text: the same picture always reads the same."""
        return text_of(self._board.picture)
