"""The comparer's board: draws what is chosen, and tells of runs, rounds and clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import RLock
from typing import Any, cast

from flip_lab.boards.board import Asked, Parts, ticket_of, told
from flip_lab.boards.comparer.catalogue import Catalogue, Readable, read_catalogue
from flip_lab.boards.comparer.choice import Choice, Draw, XAxis
from flip_lab.boards.comparer.facts import FactReader
from flip_lab.boards.comparer.forks import forks_among
from flip_lab.boards.comparer.history import client_history, client_table, run_history
from flip_lab.boards.comparer.payload import Picture
from flip_lab.boards.comparer.picture import draw_picture, empty_picture
from flip_lab.core.errors import FlipLabError
from flip_lab.runs.finding import Selection, selected
from flip_lab.runs.search import Where
from flip_lab.store.layout import open_lab

_FIRST_RUNS = 1_000


class ComparerBoard:
    """Shows runs of a lab side by side.

    The page chooses ``chosen`` (places in the catalogue) and ``settings``; both bring
    another ``picture``. What happened in one run or to one client is asked for.

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

    def __init__(  # noqa: PLR0913  # one parameter for each control of the page
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
        """Draw the first picture; later ones are drawn when the page asks."""
        self._lab = lab
        self._where, self._parameters = where, tuple(parameters)
        self._lock = RLock()
        keys = _names(by)
        self._known = self._read(keys)
        self._facts = FactReader(lab)
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
        self._parts: Parts = {
            "catalogue": self._known.payload(),
            "chosen": self._places(ticked),
            "settings": choice.to_json(),
            "picture": self._draw(ticked, choice),
        }

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
        known, chosen = self._known.run_ids, self._parts["chosen"]
        return [known[at] for at in chosen if isinstance(at, int) and 0 <= at < len(known)]

    @property
    def choice(self) -> Choice:
        """How they are looked at now.

        Raises:
            InvalidValueError: If the page chose what there is not.
        """
        return Choice.from_json(self._parts["settings"])

    @property
    def picture(self) -> Picture:
        """What is drawn now."""
        return cast("Picture", self._parts["picture"])

    def parts(self) -> Parts:
        """Give all that the page draws."""
        return {**self._parts}

    def change(self, values: Mapping[str, Any]) -> Parts:
        """Take other ticks, or other settings; what will not do gives an empty picture."""
        kinds = {"chosen": list, "settings": dict}
        with self._lock:
            news = {
                name: values[name]
                for name, kind in kinds.items()
                if isinstance(values.get(name), kind) and values[name] != self._parts[name]
            }
            if news:
                self._parts |= news
                self._redraw()
                news["picture"] = self._parts["picture"]
            return news

    def refresh(self) -> None:
        """Read the lab again: new runs, new rounds; ticks and settings stay."""
        with self._lock:
            ticked, choice = self.run_ids, self.choice
            was_empty = not self._known.run_ids
            self._known = self._read(choice.by)
            ticked = self._known.run_ids[:_FIRST_RUNS] if was_empty else ticked
            self._facts = FactReader(self._lab)
            recorded = {each.key for each in self._known.metrics}
            metrics = tuple(key for key in choice.metrics if key in recorded)
            metrics = metrics or self._known.usual_metrics()
            self._parts |= {
                "catalogue": self._known.payload(),
                "chosen": self._places(ticked),
                "settings": replace(choice, metrics=metrics).to_json(),
            }
            self._redraw()

    def _redraw(self) -> None:
        try:
            picture = self._draw(self.run_ids, self.choice)
        except FlipLabError as error:
            picture = empty_picture(f"{error.what} {error.fix}", Choice())
        self._parts["picture"] = picture

    def _draw(self, run_ids: Sequence[str], choice: Choice) -> Picture:
        facts = self._facts.read(self._known, run_ids, choice)
        return draw_picture(self._known, run_ids, choice, facts)

    def is_deed(self, asked: Asked) -> bool:
        """Say no: runs are looked at only."""
        del asked
        return False

    def answer(self, asked: Asked) -> dict[str, Any]:
        """Answer a question of the page: about a run, a round, or a client."""
        ticket = ticket_of(asked)
        try:
            with self._lock:
                return {**ticket, **self._told(asked)}
        except Exception as error:  # noqa: BLE001  # else the page would wait for ever
            return {**ticket, "error": told(error)}

    def _told(self, asked: Asked) -> dict[str, Any]:
        lab, run_id = self._lab, str(asked.get("run", ""))
        at = asked.get("round")
        server_round = at if isinstance(at, int) else None
        match asked.get("ask"):
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
            case _:  # "draw": all that was chosen before is drawn when this is answered
                return {}


def _names(told: str | Sequence[str]) -> tuple[str, ...]:
    return (told,) if isinstance(told, str) else tuple(told)
