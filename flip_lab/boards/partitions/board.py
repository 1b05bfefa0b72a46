"""The partition explorer's board: splits a scenario's data as it is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import RLock
from typing import Any, cast

from flip_lab.analysis.distances import Distance
from flip_lab.boards.board import Asked, Parts, ticket_of, told
from flip_lab.boards.partitions.choice import ORDERS, Order, Split, launch_text
from flip_lab.boards.partitions.options import option_fields
from flip_lab.boards.partitions.payload import Shown
from flip_lab.boards.partitions.picture import LIVE_NODES, draw_split
from flip_lab.core.errors import FlipLabError
from flip_lab.core.scenario import Scenario
from flip_lab.fl.data.catalog import DATASETS
from flip_lab.fl.partitioners import PARTITIONERS
from flip_lab.fl.scenarios import load_scenario, validate


class PartitionsBoard:
    """Shows how a scenario's data lies on its nodes.

    The page chooses ``settings``, which bring another ``picture``: the data is split with
    the code of a run. What cannot be split leaves the last picture and says why.

    Args:
        scenario: A scenario, its name or its TOML file.
        overrides: Values to begin with, as ``Lab.launch`` takes them.
        distance: How label distributions are compared: ``"total_variation"``,
            ``"jensen_shannon"``, or ``"earth_mover"`` where labels are numbers.
        order: How nodes are put in order: ``"number"``, ``"label"`` (their main one),
            ``"size"``, ``"distance"`` (to the whole), or ``"auto"``.

    Raises:
        FlipLabError: If there is no such scenario, or its data cannot be split.

    Attributes:
        shown: What is drawn.
        error: Why what is chosen cannot be drawn; ``None`` when it can.
    """

    def __init__(
        self,
        scenario: str | Path | Scenario,
        *,
        overrides: Mapping[str, Any] | None = None,
        distance: Distance = "total_variation",
        order: Order = "auto",
    ) -> None:
        """Draw the first picture; later ones are drawn when the page asks."""
        self._what = scenario
        self._lock = RLock()
        self._start = (
            scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
        )
        begun = self._start.override(overrides or {})
        self._split = Split.of(begun, distance=distance, order=order)
        self.error: FlipLabError | None = None
        self.shown = self._draw(self._split)
        self._parts: Parts = {
            "catalogue": self._catalogue(),
            "settings": self._split.to_json(),
            "picture": self._payload(),
        }

    @property
    def overrides(self) -> dict[str, Any]:
        """What the picture has other than the scenario, as ``Lab.launch`` takes it."""
        return self._split.overrides(self._start)

    @property
    def scenario(self) -> Scenario:
        """The scenario as it is drawn, ready to be launched."""
        return self._split.scenario(self._start)

    @property
    def python(self) -> str:
        """The launch that splits data as it is drawn."""
        return launch_text(self._what, self.overrides)

    def parts(self) -> Parts:
        """Give all that the page draws."""
        return {**self._parts}

    def change(self, values: Mapping[str, Any]) -> Parts:
        """Split the data in another way."""
        settings = values.get("settings")
        if not isinstance(settings, dict):
            return {}
        with self._lock:
            if settings == self._parts["settings"]:
                return {}
            told = cast("dict[str, Any]", settings)
            try:
                split = Split.from_json(told)
                self.shown = self._draw(split)
            except FlipLabError as error:
                self.error = error
            else:
                self._split, self.error = split, None
            news: Parts = {"settings": told, "picture": self._payload()}
            self._parts |= news
            return news

    def is_deed(self, asked: Asked) -> bool:
        """Say no: nothing is launched here."""
        del asked
        return False

    def answer(self, asked: Asked) -> dict[str, Any]:
        """Tell the page that all it chose before has been drawn."""
        return ticket_of(asked)

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
        error = self.error and told(self.error)
        return {**self.shown, "python": self.python, "error": error}
