"""The form on the page: takes what the browser sends, answers with what is wrong."""

# ipywidgets ships no types, and the class we build on is one of its
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextvars import copy_context
from threading import RLock
from typing import Any, cast

import anywidget
import traitlets

from flip_lab.boards.launcher.call import Call
from flip_lab.boards.launcher.form import Draft, told
from flip_lab.boards.launcher.source import Source, listed_scenarios, source_of
from flip_lab.boards.launcher.values import Raw, raw_of
from flip_lab.boards.scripts import script, style
from flip_lab.core.errors import FlipLabError
from flip_lab.runs.run import Run
from flip_lab.widgets.line import listen


class LaunchForm(anywidget.AnyWidget):
    """The form alone: shows a draft, and asks for a launch when the button is pressed.

    The browser sends what was put in; Python answers with ``verdict``, and with ``form``
    when another name brings other fields.

    Args:
        source: What the form launches.
        start: Starts a run and gives its id.
        show: Shows an earlier run.
    """

    _esm = script("launcher")
    _css = style("launcher")

    key = traitlets.Unicode().tag(sync=True)
    form = traitlets.Dict().tag(sync=True)
    verdict = traitlets.Dict().tag(sync=True)
    launched = traitlets.List(traitlets.Unicode()).tag(sync=True)
    shown = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        source: Source,
        *,
        start: Callable[[Call], Run],
        show: Callable[[str], None],
    ) -> None:
        """Give the scenario's own values the first verdict."""
        self._start, self._show = start, show
        self._lock = RLock()  # messages may come on another thread than a cell's calls
        self._presses: set[str] = set()
        self._scenarios = listed_scenarios()
        if source.what not in {each["name"] for each in self._scenarios}:
            self._scenarios.insert(0, {"name": source.what, "title": source.title})
        self.draft = Draft(source=source)
        # What a press makes, such as a monitor, belongs to the cell that made the form, and
        # not to the subshell that brought the press.
        self._cell = copy_context()
        key = secrets.token_hex(16)
        super().__init__(key=key, form=self._form_json(), verdict=self._verdict_json(""))
        self.on_msg(self._hear)
        listen(key, self)

    def fill(self, draft: Draft, *, by: str = "") -> None:
        """Put another draft into the form.

        Args:
            draft: What stands in it from now on.
            by: The view that sent it; its own fields are left as they are.
        """
        with self._lock, self.hold_sync():
            self.draft = draft
            self.form = self._form_json()
            self.verdict = self._verdict_json(by)

    def launch(self) -> Run:
        """Launch what stands in the form.

        Raises:
            FlipLabError: If a value will not do, or the run cannot be started; then
                nothing was started.
        """
        with self._lock:
            self.draft.source.check(self.draft.values)
            run = self._start(self.draft.call)
            with self.hold_sync():
                self.launched = [run.run_id, *self.launched]
                self.shown = run.run_id
            return run

    def _hear(self, _widget: object, asked: object, _buffers: object) -> None:
        """Take a message that came by the widget, where there is no line of its own."""
        if isinstance(asked, dict):
            self.send(self.answer(cast("dict[str, Any]", asked)))

    def answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a message of the browser, in any thread; never raises.

        Args:
            asked: A wish (``ask``), and the ticket that its answer is known by.
        """
        return self._cell.copy().run(self._answer, asked)  # a copy: threads may meet here

    def _answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        ticket = {"ticket": asked.get("ticket")}
        try:
            with self._lock:
                return {**ticket, **self._told(asked)}
        except FlipLabError as error:
            return {**ticket, "error": told(error)}
        except Exception as error:  # noqa: BLE001  # else the button would wait for ever
            said = f"{type(error).__name__}: {error}"
            return {**ticket, "error": {"code": "", "what": said, "fix": ""}}

    def _told(self, wish: Mapping[str, Any]) -> dict[str, Any]:
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
                self.fill(Draft(source=source_of(str(wish.get("what"))), edits=kept))
            case "launch":
                return self._pressed(wish, by)
            case "show" if (run_id := wish.get("run")) in self.launched:
                self._show(str(run_id))
                self.shown = str(run_id)
            case _:
                pass
        return {}

    def _pressed(self, wish: Mapping[str, Any], by: str) -> dict[str, Any]:
        """Launch what stood in the form when the button was pressed, once for a press."""
        press = str(wish.get("press"))
        if press in self._presses:
            return {}
        self._presses.add(press)
        self.fill(self._edited(wish), by=by)
        if self.draft.problems:
            return {"refused": True}
        return {"run": self.launch().run_id}

    def _edited(self, wish: Mapping[str, Any]) -> Draft:
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
