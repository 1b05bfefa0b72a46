"""The fleet's board: the nodes of a run or of a federation, and what each of them did."""

from __future__ import annotations

from collections.abc import Mapping
from threading import RLock
from typing import TYPE_CHECKING, Any, cast

from flip_lab.boards.board import Asked, Parts, ticket_of, told
from flip_lab.boards.comparer.catalogue import Readable
from flip_lab.boards.fleet.history import node_history
from flip_lab.boards.fleet.nodes import node_frame
from flip_lab.boards.fleet.picture import Fleet, draw_fleet, refusal
from flip_lab.boards.fleet.scope import offered, read_scope
from flip_lab.core.errors import FlipLabError

if TYPE_CHECKING:  # takes long to import
    import pandas as pd


class FleetBoard:
    """Shows what each node of a run did, or of all runs on one federation.

    The page chooses ``settings`` (whose nodes, and which metric), which bring another
    ``fleet``. What one node did round by round is asked for.

    Args:
        lab: The lab.
        run_id: The run that is shown at first; empty takes the newest.
        federation: Show all runs on this federation, added up by node.
        metric: The metric whose last value is shown, as ``phase/name`` or its name;
            default: ``eval_accuracy``, or the first that there is.

    Raises:
        RunNotFoundError: If there is no such run, or none on such a federation.
        InvalidValueError: If no client reported such a metric lately.
    """

    def __init__(
        self,
        lab: Readable,
        run_id: str = "",
        *,
        federation: str | None = None,
        metric: str | None = None,
    ) -> None:
        """Read the store once; later when the page asks."""
        self._lab, self._run_id = lab, run_id
        self._lock = RLock()
        key = f"run:{run_id}" if run_id else ""
        if federation is not None:
            key = f"federation:{federation}"
        self._parts: Parts = {}
        self._take(self._read(key, metric or ""))

    @property
    def nodes(self) -> pd.DataFrame:
        """One row a node, as ``flip_lab.views.fleet_figure`` takes them."""
        return self._frame

    @property
    def fleet(self) -> Fleet:
        """What is drawn now."""
        return cast("Fleet", self._parts["fleet"])

    def parts(self) -> Parts:
        """Give all that the page draws."""
        return {**self._parts}

    def refresh(self) -> None:
        """Read the store again; what is chosen stays."""
        with self._lock:
            self._show(self.fleet["key"], self.fleet["metric"])

    def change(self, values: Mapping[str, Any]) -> Parts:
        """Show other nodes, or another metric; ``fleet`` says what cannot be shown."""
        settings = values.get("settings")
        if not isinstance(settings, dict):
            return {}
        chosen = cast("dict[str, Any]", settings)
        key, metric = str(chosen.get("key", "")), str(chosen.get("metric", ""))
        with self._lock:
            if (key, metric) == (self.fleet["key"], self.fleet["metric"]):
                return {}
            self._parts["settings"] = chosen
            # Another run may not have the metric of this one.
            self._show(key, metric if key == self.fleet["key"] else "")
            return self.parts()

    def _read(self, key: str, metric: str) -> Fleet:
        scope = read_scope(self._lab, key)
        chosen = scope.metric(metric)
        self._frame = node_frame(self._lab, scope, chosen)
        self._scope = scope
        return draw_fleet(scope, self._frame, chosen, offered(self._lab, self._run_id))

    def _show(self, key: str, metric: str) -> None:
        """Show other nodes or another metric; or say why that cannot be shown."""
        try:
            self._take(self._read(key, metric))
        except FlipLabError as error:
            self._parts["fleet"] = {**self.fleet, "error": refusal(error)}

    def _take(self, fleet: Fleet) -> None:
        settings = {"key": fleet["key"], "metric": fleet["metric"]}
        self._parts = {"fleet": fleet, "settings": settings}

    def is_deed(self, asked: Asked) -> bool:
        """Say no: nodes are looked at only."""
        del asked
        return False

    def answer(self, asked: Asked) -> dict[str, Any]:
        """Answer a question of the page: about a node."""
        ticket = ticket_of(asked)
        try:
            with self._lock:
                return {**ticket, **self._told(asked)}
        except Exception as error:  # noqa: BLE001  # else the page would wait for ever
            return {**ticket, "error": told(error)}

    def _told(self, asked: Asked) -> dict[str, Any]:
        match asked.get("ask"):
            case "refresh":
                self.refresh()
                return {}
            case "node":
                node, metric = str(asked.get("node", "")), self.fleet["metric"]
                return node_history(self._lab, self._scope, node, metric)
            case _:  # all that was chosen before is shown when this is answered
                return {}
