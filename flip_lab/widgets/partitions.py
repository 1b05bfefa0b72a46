"""Explore in a notebook how data lies on nodes, before anything is launched."""

# ipywidgets ships no types, and the class we build on is one of its
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import anywidget
import traitlets

from flip_lab.analysis.distances import Distance
from flip_lab.boards.partitions.choice import ORDERS, Order, Split, launch_text
from flip_lab.boards.partitions.faces import card_html, text_of
from flip_lab.boards.partitions.options import option_fields
from flip_lab.boards.partitions.payload import Shown
from flip_lab.boards.partitions.picture import LIVE_NODES, draw_split
from flip_lab.boards.scripts import script, style
from flip_lab.core.errors import FlipLabError
from flip_lab.core.scenario import Scenario
from flip_lab.fl.data.catalog import DATASETS
from flip_lab.fl.partition import partition_frame
from flip_lab.fl.partitioners import PARTITIONERS
from flip_lab.fl.scenarios import load_scenario, validate

if TYPE_CHECKING:  # takes long to import, and is needed only when it is asked for
    import pandas as pd

_Bundle: TypeAlias = tuple[dict[str, Any], dict[str, Any]]


class PartitionExplorer(anywidget.AnyWidget):
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
        self._what = scenario
        self._start = (
            scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
        )
        begun = self._start.override(overrides or {})
        self._split = Split.of(begun, distance=distance, order=order)
        self._error: FlipLabError | None = None
        self._shown = self._draw(self._split)
        super().__init__(
            catalogue=self._catalogue(),
            settings=self._split.to_json(),
            picture=self._payload(),
        )
        self.observe(self._redraw, ["settings"])
        self.on_msg(self._answer)

    @property
    def overrides(self) -> dict[str, Any]:
        """What the picture has other than the scenario, as ``Lab.launch`` takes it."""
        return self._split.overrides(self._start)

    @property
    def scenario(self) -> Scenario:
        """The scenario as it is drawn, ready to be launched."""
        return self._split.scenario(self._start)

    @property
    def partitions(self) -> pd.DataFrame:
        """The counts that are drawn, as ``flip_lab.views.partition_map`` takes them."""
        import pandas as pd

        return pd.DataFrame(partition_frame(self.scenario))

    @property
    def python(self) -> str:
        """The launch that splits data as it is drawn."""
        return launch_text(self._what, self.overrides)

    def _catalogue(self) -> dict[str, Any]:
        """Say what there is to choose from."""
        start = Split.of(self._start, distance="total_variation", order="auto")
        datasets = {*DATASETS.names(), start.dataset, self._split.dataset}
        return {
            "scenario": self._start.name,
            "start": start.to_json(),
            "datasets": sorted(datasets),
            "partitioners": {
                name: list(option_fields(name)) for name in PARTITIONERS.names()
            },
            "orders": list(ORDERS),
            "live_nodes": LIVE_NODES,
        }

    def _draw(self, split: Split) -> Shown:
        return draw_split(validate(split.scenario(self._start)), split)

    def _payload(self) -> dict[str, Any]:
        error = self._error and {
            "code": self._error.code,
            "what": self._error.what,
            "fix": self._error.fix,
        }
        return {**self._shown, "python": self.python, "error": error}

    def _redraw(self, _change: object) -> None:
        try:
            split = Split.from_json(cast("Mapping[str, Any]", self.settings))
            self._shown = self._draw(split)
        except FlipLabError as error:
            self._error = error
        else:
            self._split, self._error = split, None
        self.picture = self._payload()

    def _answer(self, _widget: object, asked: object, _buffers: object) -> None:
        """Tell the browser that all it chose before has been drawn."""
        if isinstance(asked, dict):
            told = cast("dict[str, Any]", asked)
            self.send({"ask": told.get("ask"), "ticket": told.get("ticket")})

    def __repr__(self) -> str:
        """Give the picture as text: the same picture always reads the same."""
        return text_of(self._shown, self.python, self._error)

    def _repr_mimebundle_(self, **_options: object) -> _Bundle:
        """Give the live view, and a table and a text for pages that cannot show it."""
        data, metadata = cast("_Bundle", super()._repr_mimebundle_() or ({}, {}))
        card = card_html(self._shown, self.python, self._error, css=style("partitions"))
        return {**data, "text/plain": repr(self), "text/html": card}, metadata
