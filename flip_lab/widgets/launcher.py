"""Launch runs from a form: every value of a scenario, checked while it is typed."""

# ipywidgets ships no types, and the classes we build on are its
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUntypedBaseClass=false

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ipywidgets

from flip_lab.boards.launcher.board import (
    LauncherBoard,
    Launches,
    first_scenario,
    starts_in,
)
from flip_lab.boards.launcher.call import Call
from flip_lab.boards.launcher.source import source_of
from flip_lab.runs.run import Run
from flip_lab.widgets.launcher_widget import LaunchForm
from flip_lab.widgets.monitor import RunMonitor, watch


class Launcher(ipywidgets.VBox):
    """A form that launches runs, and below it the monitor of the newest one.

    Every field of the scenario is there, with its range and meaning, and so are the
    options of the chosen partitioner, model and strategy. What is typed is checked by the
    code of a launch; the form shows what differs from the default, and the Python that
    does the same.

    Args:
        lab: Where runs are launched.
        scenario: A scenario's name or file, or the directory of a Flower App, whose own
            configuration then makes the fields; default: the first scenario by name.

    Raises:
        UnknownNameError: If there is no such scenario, or none at all.
        ScenarioError: If the scenario cannot be read.
        AppError: If the app lacks a part.
    """

    def __init__(self, lab: Launches, scenario: str | Path | None = None) -> None:
        """Show the form with the scenario's own values; starts nothing."""
        self._runs: list[Run] = []
        self._monitor: RunMonitor | None = None
        source = source_of(scenario or first_scenario())
        self._start_in_lab = starts_in(lab)
        self.form = LaunchForm(
            LauncherBoard(source, start=self._start, show=self._show_run)
        )
        super().__init__(children=(self.form,))

    @property
    def run(self) -> Run | None:
        """The newest run launched from this form; ``None`` before the first."""
        return self._runs[-1] if self._runs else None

    @property
    def runs(self) -> list[Run]:
        """The runs launched from this form, in their order."""
        return [*self._runs]

    @property
    def python(self) -> str:
        """The launch in Python, as the form shows it."""
        return self.form.draft.call.python()

    def change(self, values: Mapping[str, Any]) -> None:
        """Put values into the form, as somebody who types them would.

        Args:
            values: By the paths that the form's fields have, such as
                ``{"train.learning_rate": 0.1, "on": "processes"}``; ``None`` puts the
                default back.

        Raises:
            UnknownKeyError: If the form has no such field; the nearest is named.
        """
        self.form.fill(self.form.draft.with_edits(values))

    def launch(self) -> Run:
        """Launch what stands in the form, as its button does.

        Returns:
            A handle on the run; its monitor stands below the form.

        Raises:
            FlipLabError: If a value will not do, or the run cannot be started; then
                nothing was started.
        """
        return self.form.launch()

    def close(self) -> None:
        """Take form and monitor off the page; runs go on."""
        for part in self.children:  # none, where the form could not be made
            part.close()
        super().close()

    def _start(self, call: Call) -> Run:
        run = self._start_in_lab(call)
        self._runs.append(run)
        self._show_run(run.run_id)
        return run

    def _show_run(self, run_id: str) -> None:
        for run in self._runs:
            if run.run_id == run_id:
                before, self._monitor = self._monitor, watch(run)
                self.children = (self.form, self._monitor)
                if before is not None:
                    before.close()

    def __repr__(self) -> str:
        """Give the form as text: the same values always read the same."""
        parts = [repr(self.form)]
        return "\n\n".join([*parts, *([repr(self._monitor)] if self._monitor else [])])

    def _repr_mimebundle_(self, **_options: object) -> dict[str, str]:
        """Give the live form, and a table and a text for pages that cannot show it."""
        data = super()._repr_mimebundle_() or {}
        card = self.form.card()
        if self._monitor is not None:
            shown, _ = self._monitor._repr_mimebundle_()  # pyright: ignore[reportPrivateUsage]  # Jupyter's own protocol
            card += "\n" + shown["text/html"]
        return {**data, "text/plain": repr(self), "text/html": card}
