"""The nodes of a federation in a notebook: who works, who is slow, who fails."""

# ipywidgets ships no types, and the class we build on is one of its
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import anywidget
import traitlets

from flip_lab.boards.comparer.catalogue import Readable
from flip_lab.boards.fleet.faces import card_html, text_of
from flip_lab.boards.fleet.history import node_history
from flip_lab.boards.fleet.nodes import node_frame
from flip_lab.boards.fleet.picture import Fleet, draw_fleet, refusal
from flip_lab.boards.fleet.scope import offered, read_scope
from flip_lab.boards.scripts import script, style
from flip_lab.core.errors import FlipLabError

if TYPE_CHECKING:  # takes long to import, and is needed only when it is asked for
    import pandas as pd

_Bundle: TypeAlias = tuple[dict[str, Any], dict[str, Any]]


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


class FleetView(anywidget.AnyWidget):
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
        self._lab, self._run_id = _lab_of(lab_or_run)
        key = f"run:{self._run_id}" if self._run_id else ""
        if federation is not None:
            key = f"federation:{federation}"
        fleet = self._read(key, metric or "")
        super().__init__(
            fleet=fleet, settings={"key": fleet["key"], "metric": fleet["metric"]}
        )
        self.observe(self._chosen, ["settings"])
        self.on_msg(self._answer)

    @property
    def nodes(self) -> pd.DataFrame:
        """One row a node, as ``flip_lab.views.fleet_figure`` takes them."""
        return self._frame

    def refresh(self) -> None:
        """Read the store again; what is chosen stays."""
        self._show(self._now()["key"], self._now()["metric"])

    def _read(self, key: str, metric: str) -> Fleet:
        scope = read_scope(self._lab, key)
        chosen = scope.metric(metric)
        self._frame = node_frame(self._lab, scope, chosen)
        self._scope = scope
        return draw_fleet(scope, self._frame, chosen, offered(self._lab, self._run_id))

    def _show(self, key: str, metric: str) -> None:
        """Show other nodes or another metric; or say why that cannot be shown."""
        try:
            fleet = self._read(key, metric)
        except FlipLabError as error:
            self.fleet = {**self._now(), "error": refusal(error)}
            return
        with self.hold_sync():
            self.fleet = cast("dict[str, Any]", fleet)
            self.settings = {"key": fleet["key"], "metric": fleet["metric"]}

    def _chosen(self, _change: object) -> None:
        told = cast("Mapping[str, Any]", self.settings)
        key, metric = str(told.get("key", "")), str(told.get("metric", ""))
        if (key, metric) == (self._now()["key"], self._now()["metric"]):
            return
        # Another run may not have the metric of this one.
        self._show(key, metric if key == self._now()["key"] else "")

    def _answer(self, _widget: object, asked: object, _buffers: object) -> None:
        """Answer a message of the browser: a question, or a wish."""
        if not isinstance(asked, dict):
            return
        told = cast("dict[str, Any]", asked)
        try:
            answer = self._told(told)
        except FlipLabError as error:
            answer = {"error": refusal(error)}
        self.send({"ask": told.get("ask"), "ticket": told.get("ticket"), **answer})

    def _told(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        match asked.get("ask"):
            case "refresh":
                self.refresh()
                return {}
            case "node":
                metric = self._now()["metric"]
                return node_history(
                    self._lab, self._scope, str(asked.get("node", "")), metric
                )
            case _:  # all that was chosen before is shown when this is answered
                return {}

    def _now(self) -> Fleet:
        return cast("Fleet", self.fleet)  # traitlets only knows that it is a dict

    def __repr__(self) -> str:
        """Give the fleet as text: the same nodes always read the same."""
        return text_of(self._now())

    def _repr_mimebundle_(self, **_options: object) -> _Bundle:
        """Give the live view, and a table and a text for pages that cannot show it."""
        data, metadata = cast("_Bundle", super()._repr_mimebundle_() or ({}, {}))
        card = card_html(self._now(), css=style("fleet"))
        return {**data, "text/plain": repr(self), "text/html": card}, metadata


def _lab_of(lab_or_run: Readable | OfLab) -> tuple[Readable, str]:
    """Give the lab, and the run's id where it is one."""
    from flip_lab.runs.lab import Lab

    run_id = getattr(lab_or_run, "run_id", "")
    if run_id:
        return Lab(cast("OfLab", lab_or_run).lab_path), str(run_id)
    return cast("Readable", lab_or_run), ""
