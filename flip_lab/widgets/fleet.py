"""The nodes of a federation in a notebook: who works, who is slow, who fails."""

# ipywidgets ships no types, and the class we build on is one of its
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import traitlets

from flip_lab.boards.comparer.catalogue import Readable
from flip_lab.boards.fleet.board import FleetBoard
from flip_lab.boards.fleet.faces import card_html, text_of
from flip_lab.boards.scripts import script, style
from flip_lab.widgets.face import BoardFace

if TYPE_CHECKING:  # takes long to import, and is needed only when it is asked for
    import pandas as pd


class OfLab(Protocol):
    """A run's handle, as far as the fleet view needs it; ``flip_lab.Run`` is one."""

    @property
    def run_id(self) -> str:
        """The run's id."""
        ...

    @property
    def lab_path(self) -> Path:
        """The directory of its lab."""
        ...


class FleetView(BoardFace[FleetBoard]):
    """Shows what each node of a run did, or of all runs on one federation.

    It is a snapshot, taken anew with *Refresh*; ``flip_lab.watch`` follows a run live.
    The browser sets ``settings``; Python answers with ``fleet``. What one node did round
    by round is asked for by message when somebody clicks.

    Args:
        lab_or_run: A run; or a lab, of which the newest run is shown at first.
        federation: Show all runs on this federation, added up by node.
        metric: The metric whose last value is shown, as ``phase/name`` or its name;
            default: ``eval_accuracy``, or the first that there is.

    Raises:
        RunNotFoundError: If there is no run on such a federation.
        InvalidValueError: If no client reported such a metric lately.
    """

    _esm = script("fleet")
    _css = style("fleet")
    _chosen = ("settings",)

    fleet = traitlets.Dict().tag(sync=True)
    settings = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        lab_or_run: Readable | OfLab,
        *,
        federation: str | None = None,
        metric: str | None = None,
    ) -> None:
        """Read the store once; later when the browser asks."""
        lab, run_id = _lab_of(lab_or_run)
        super().__init__(FleetBoard(lab, run_id, federation=federation, metric=metric))

    @property
    def nodes(self) -> pd.DataFrame:
        """One row a node, as ``flip_lab.views.fleet_figure`` takes them."""
        return self._board.nodes

    def refresh(self) -> None:
        """Read the store again; what is chosen stays."""
        self._board.refresh()
        self._show(self._board.parts())

    def card(self) -> str:
        """Give what is shown as HTML that needs no script."""
        return card_html(self._board.fleet, css=style("fleet"))

    def __repr__(self) -> str:
        """Give the fleet as text: the same nodes always read the same."""
        return text_of(self._board.fleet)


def _lab_of(lab_or_run: Readable | OfLab) -> tuple[Readable, str]:
    """Give the lab, and the run's id where it is one."""
    from flip_lab.runs.lab import Lab

    run_id = getattr(lab_or_run, "run_id", "")
    if run_id:
        return Lab(cast("OfLab", lab_or_run).lab_path), str(run_id)
    return cast("Readable", lab_or_run), ""
