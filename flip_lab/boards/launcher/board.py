"""The launch form's board: takes what a page puts in, says what is wrong, launches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import RLock
from typing import Any, Protocol, cast

from flip_lab.boards.board import Asked, Parts, ticket_of, told
from flip_lab.boards.launcher.call import Call
from flip_lab.boards.launcher.form import Draft
from flip_lab.boards.launcher.source import Source, listed_scenarios, source_of
from flip_lab.boards.launcher.values import Raw, raw_of
from flip_lab.core.errors import UnknownNameError, nearest
from flip_lab.fl.scenarios import scenario_names
from flip_lab.runs.run import Run


class Launches(Protocol):
    """All that the form needs of a lab; ``flip_lab.Lab`` is one."""

    @property
    def launch(self) -> Callable[..., Run]:
        """Starts a run: takes what ``Lab.launch`` takes."""
        ...


class LauncherBoard:
    """Shows a draft, and launches it when the button is pressed.

    Its parts are ``form`` (what there is to fill in), ``verdict`` (what stands in it, and
    what is wrong with that), ``launched`` (ids, newest first) and ``shown``.

    Args:
        source: What the form launches.
        start: Starts a run.
        show: Shows a run that was launched here, where the page does not do so itself.

    Attributes:
        draft: What stands in the form.
    """

    def __init__(
        self,
        source: Source,
        *,
        start: Callable[[Call], Run],
        show: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Give the scenario's own values the first verdict."""
        self._start, self._show = start, show
        self._lock = RLock()
        self._presses: set[str] = set()
        self._scenarios = listed_scenarios()
        if source.what not in {each["name"] for each in self._scenarios}:
            self._scenarios.insert(0, {"name": source.what, "title": source.title})
        self._given = source
        self._parts: Parts = {"launched": [], "shown": ""}
        self.fill(Draft(source=source))

    def parts(self) -> Parts:
        """Give all that the page draws."""
        return {**self._parts}

    def change(self, values: Mapping[str, Any]) -> Parts:
        """Change nothing: what is put in comes as a question, and goes with a verdict."""
        del values
        return {}

    def is_deed(self, asked: Asked) -> bool:
        """Say whether a message would launch a run."""
        return asked.get("ask") == "launch"

    def fill(self, draft: Draft, *, by: str = "") -> None:
        """Put another draft into the form.

        Args:
            draft: What stands in it from now on.
            by: The view that sent it; its own fields are left as they are.
        """
        with self._lock:
            self.draft = draft
            self._parts |= {"form": self._form_json(), "verdict": self._verdict_json(by)}

    def launch(self) -> Run:
        """Launch what stands in the form.

        Raises:
            FlipLabError: If a value will not do, or the run cannot be started; then
                nothing was started.
        """
        with self._lock:
            self.draft.source.check(self.draft.values)
            run = self._start(self.draft.call)
            if self.draft.is_away:  # the page's own lab does not keep it yet
                return run
            launched = [run.run_id, *self._parts["launched"]]
            self._parts |= {"launched": launched, "shown": run.run_id}
            return run

    def answer(self, asked: Asked) -> dict[str, Any]:
        """Answer a message of the page; never raises.

        Args:
            asked: A wish (``ask``), and the ticket that its answer is known by.
        """
        ticket = ticket_of(asked)
        try:
            with self._lock:
                return {**ticket, **self._told(asked)}
        except Exception as error:  # noqa: BLE001  # else the button would wait for ever
            return {**ticket, "error": told(error)}

    def _told(self, wish: Asked) -> dict[str, Any]:
        by = str(wish.get("by", ""))
        match wish.get("ask"):
            case "change":
                self.fill(self._edited(wish), by=by)
            case "choose":
                kept = {
                    path: raw
                    for path, raw in self._edited(wish).edits.items()
                    if "." not in path
                }
                self.fill(Draft(source=self._source(str(wish.get("what"))), edits=kept))
            case "launch":
                return self._pressed(wish, by)
            case "show" if (run_id := wish.get("run")) in self._parts["launched"]:
                self._show(str(run_id))
                self._parts["shown"] = str(run_id)
            case _:
                pass
        return {}

    def _source(self, what: str) -> Source:
        """Give one of those that the page offers: a page chooses no file of its own.

        Raises:
            UnknownNameError: If it is none of them.
        """
        if what == self._given.what:
            return self._given
        names = scenario_names()
        if what not in names:
            raise UnknownNameError(
                f"There is no scenario {what!r}.", fix=nearest(what, names)
            )
        return source_of(what)

    def _pressed(self, wish: Asked, by: str) -> dict[str, Any]:
        """Launch what stood in the form when the button was pressed, once for a press."""
        press = str(wish.get("press"))
        if press in self._presses:
            return {}
        self._presses.add(press)
        self.fill(self._edited(wish), by=by)
        if self.draft.problems:
            return {"refused": True}
        run = self.launch()
        return {"run": run.run_id, **({"is_away": True} if self.draft.is_away else {})}

    def _edited(self, wish: Asked) -> Draft:
        sent = wish.get("edits")
        edits: dict[str, Raw] = {
            str(path): raw
            for path, raw in (
                cast("dict[Any, Any]", sent) if isinstance(sent, dict) else {}
            ).items()
            if isinstance(raw, str | bool)
        }
        return Draft(source=self.draft.source, edits=edits)

    def _form_json(self) -> dict[str, Any]:
        source = self.draft.source
        return {
            "what": source.what,
            "title": source.title,
            "description": source.description,
            "expectations": source.expectations,
            "scenarios": self._scenarios,
            "groups": [group.to_json() for group in self.draft.groups],
        }

    def _verdict_json(self, by: str) -> dict[str, Any]:
        draft = self.draft
        return {
            "edits": dict(draft.edits),
            "defaults": {path: raw_of(value) for path, value in draft.defaults.items()},
            "changes": [each["path"] for each in draft.changes],
            "problems": draft.problems,
            "python": draft.call.python(),
            "by": by,
        }


def starts_in(lab: Launches) -> Callable[[Call], Run]:
    """Give what starts a run in a lab."""
    return lambda call: lab.launch(call.what, **call.in_order())


def first_scenario() -> str:
    """Give the name of the scenario that a form begins with.

    Raises:
        UnknownNameError: If there is none.
    """
    names = scenario_names()
    if not names:
        raise UnknownNameError(
            "There is no scenario here.",
            fix="Give a scenario's file, or an app's directory.",
        )
    return names[0]
