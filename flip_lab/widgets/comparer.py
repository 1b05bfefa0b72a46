"""Compare runs in a notebook: choose, group, smooth, and look into what stands out."""

# ipywidgets ships no types, and the class we build on is one of its
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, cast

import anywidget
import traitlets

from flip_lab.boards.comparer.catalogue import Catalogue, Readable, read_catalogue
from flip_lab.boards.comparer.choice import Choice, Draw, XAxis
from flip_lab.boards.comparer.faces import card_html, text_of
from flip_lab.boards.comparer.facts import FactReader
from flip_lab.boards.comparer.forks import forks_among
from flip_lab.boards.comparer.history import client_history, client_table, run_history
from flip_lab.boards.comparer.payload import Picture
from flip_lab.boards.comparer.picture import draw_picture, empty_picture
from flip_lab.boards.scripts import script, style
from flip_lab.core.errors import FlipLabError
from flip_lab.runs.finding import Selection, selected
from flip_lab.runs.search import Where
from flip_lab.store.layout import open_lab

_FIRST_RUNS = 1_000
_Bundle: TypeAlias = tuple[dict[str, Any], dict[str, Any]]


class Comparer(anywidget.AnyWidget):
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
        self._lab = lab
        self._where, self._parameters = where, tuple(parameters)
        keys = _names(by)
        self._known = self._read(keys)
        self._facts = FactReader(lab)
        self._drawn: tuple[object, ...] = ()
        metrics = (
            self._known.usual_metrics()
            if metric is None
            else tuple(self._known.metric(name).key for name in _names(metric))
        )
        ticked = self._known.run_ids[:_FIRST_RUNS]
        if runs is not None:
            ticked = selected(open_lab(lab.path), runs, among=self._known.run_ids)
            if draw is None and not keys and forks_among(self._known, ticked):
                draw = "lines"
        choice = Choice(
            metrics=metrics, x=x, by=keys, draw=draw or "mean", span=smoothing, is_log=log
        )
        super().__init__(
            catalogue=self._known.payload(),
            chosen=self._places(ticked),
            settings=choice.to_json(),
            picture=self._draw(ticked, choice),
        )
        self.observe(self._redraw, ["chosen", "settings"])
        self.on_msg(self._answer)

    def _read(self, keys: Sequence[str]) -> Catalogue:
        return read_catalogue(
            self._lab, where=self._where, parameters=self._parameters, keys=keys
        )

    def _places(self, run_ids: Sequence[str]) -> list[int]:
        place = {run_id: at for at, run_id in enumerate(self._known.run_ids)}
        return sorted(place[run_id] for run_id in run_ids if run_id in place)

    @property
    def run_ids(self) -> list[str]:
        """Ids of the runs that are ticked now."""
        known = self._known.run_ids
        return [known[at] for at in self.chosen if 0 <= at < len(known)]

    @property
    def choice(self) -> Choice:
        """How they are looked at now."""
        return Choice.from_json(cast("Mapping[str, Any]", self.settings))

    def refresh(self) -> None:
        """Read the lab again: new runs, new rounds; ticks and settings stay."""
        ticked, choice = self.run_ids, self.choice
        was_empty = not self._known.run_ids
        self._known = self._read(choice.by)
        ticked = self._known.run_ids[:_FIRST_RUNS] if was_empty else ticked
        self._facts = FactReader(self._lab)
        recorded = {each.key for each in self._known.metrics}
        metrics = tuple(key for key in choice.metrics if key in recorded)
        metrics = metrics or self._known.usual_metrics()
        self._drawn = ()
        with self.hold_sync():
            with self.hold_trait_notifications():
                self.catalogue = self._known.payload()
                self.chosen = self._places(ticked)
                self.settings = replace(choice, metrics=metrics).to_json()
            self._redraw(None)

    def _redraw(self, _change: object) -> None:
        asked = (tuple(self.chosen), repr(self.settings))
        if asked == self._drawn:
            return  # both traits came in one message, and are told one after the other
        self._drawn = asked
        try:
            self.picture = self._draw(self.run_ids, self.choice)
        except FlipLabError as error:
            self.picture = empty_picture(f"{error.what} {error.fix}", Choice())

    def _draw(self, run_ids: Sequence[str], choice: Choice) -> Picture:
        facts = self._facts.read(self._known, run_ids, choice)
        return draw_picture(self._known, run_ids, choice, facts)

    def _answer(self, _widget: object, asked: object, _buffers: object) -> None:
        """Answer a message of the browser: a question, or a wish."""
        if not isinstance(asked, dict):
            return
        told = cast("dict[str, Any]", asked)
        try:
            answer = self._told(told)
        except FlipLabError as error:
            answer = {"error": {"code": error.code, "what": error.what, "fix": error.fix}}
        self.send({"ask": told.get("ask"), "ticket": told.get("ticket"), **answer})

    def _told(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        lab, run_id = self._lab, str(asked.get("run", ""))
        at = asked.get("round")
        server_round = at if isinstance(at, int) else None
        match asked.get("ask"):
            case "draw":  # all that was chosen before is drawn when this is answered
                return {}
            case "refresh":
                self.refresh()
                return {}
            case "run":
                return run_history(
                    lab, self._known, run_id, among=self.run_ids, server_round=server_round
                )
            case "round":
                return {"clients": client_table(lab, run_id, server_round or 0)}
            case "client":
                phase, _, name = str(asked.get("metric", "")).partition("/")
                client = str(asked.get("client", ""))
                return client_history(lab, run_id, client, phase=phase, name=name)
            case _:
                return {}

    def _now(self) -> Picture:
        return cast("Picture", self.picture)  # traitlets only knows that it is a dict

    def __repr__(self) -> str:
        """Give the picture as text: the same picture always reads the same."""
        return text_of(self._now())

    def _repr_mimebundle_(self, **_options: object) -> _Bundle:
        """Give the live view, and a table and a text for pages that cannot show it."""
        data, metadata = cast("_Bundle", super()._repr_mimebundle_() or ({}, {}))
        card = card_html(self._now(), css=style("comparer"))
        return {**data, "text/plain": repr(self), "text/html": card}, metadata


def _names(told: str | Sequence[str]) -> tuple[str, ...]:
    return (told,) if isinstance(told, str) else tuple(told)
