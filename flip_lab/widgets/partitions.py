"""Explore in a notebook how data lies on nodes, before anything is launched."""

# ipywidgets ships no types, and the class we build on is one of its
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import traitlets

from flip_lab.analysis.distances import Distance
from flip_lab.boards.partitions.board import PartitionsBoard
from flip_lab.boards.partitions.choice import Order
from flip_lab.boards.partitions.faces import card_html, text_of
from flip_lab.boards.scripts import script, style
from flip_lab.core.scenario import Scenario
from flip_lab.fl.partition import partition_frame
from flip_lab.widgets.face import BoardFace

if TYPE_CHECKING:  # takes long to import, and is needed only when it is asked for
    import pandas as pd


class PartitionExplorer(BoardFace[PartitionsBoard]):
    """Shows how a scenario's data lies on its nodes; everything can be chosen anew.

    The browser sets ``settings``; Python splits the data with the code of a run and
    answers with ``picture``. What cannot be split leaves the last picture and says why.

    Args:
        scenario: A scenario, its name or its TOML file.
        overrides: Values to begin with, as ``Lab.launch`` takes them.
        distance: How label distributions are compared: ``"total_variation"``,
            ``"jensen_shannon"``, or ``"earth_mover"`` where labels are numbers.
        order: How nodes are put in order: ``"number"``, ``"label"`` (their main one),
            ``"size"``, ``"distance"`` (to the whole), or ``"auto"``.

    Raises:
        FlipLabError: If there is no such scenario, or its data cannot be split.
    """

    _esm = script("partitions")
    _css = style("partitions")
    _chosen = ("settings",)

    catalogue = traitlets.Dict().tag(sync=True)
    settings = traitlets.Dict().tag(sync=True)
    picture = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        scenario: str | Path | Scenario = "digits-dirichlet",
        *,
        overrides: Mapping[str, Any] | None = None,
        distance: Distance = "total_variation",
        order: Order = "auto",
    ) -> None:
        """Draw the first picture; later ones are drawn when the browser asks."""
        board = PartitionsBoard(
            scenario, overrides=overrides, distance=distance, order=order
        )
        super().__init__(board)

    @property
    def overrides(self) -> dict[str, Any]:
        """What the picture has other than the scenario, as ``Lab.launch`` takes it."""
        return self._board.overrides

    @property
    def scenario(self) -> Scenario:
        """The scenario as it is drawn, ready to be launched."""
        return self._board.scenario

    @property
    def partitions(self) -> pd.DataFrame:
        """The counts that are drawn, as ``flip_lab.views.partition_map`` takes them."""
        import pandas as pd

        return pd.DataFrame(partition_frame(self.scenario))

    @property
    def python(self) -> str:
        """The launch that splits data as it is drawn."""
        return self._board.python

    def card(self) -> str:
        """Give what is shown as HTML that needs no script."""
        board = self._board
        return card_html(board.shown, board.python, board.error, css=style("partitions"))

    def __repr__(self) -> str:
        """Give the picture as text: the same picture always reads the same."""
        return text_of(self._board.shown, self._board.python, self._board.error)
