"""What a lab says of runs that go on with a hub: which, and how they come home."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flip_lab.runs.away import AwayRun, away_of, hubs, remembered
from flip_lab.runs.care_keeper import LabKeeper

if TYPE_CHECKING:
    from flip_lab.runs.run import Run


class LabAway(LabKeeper):
    """Finds runs that were launched with ``detach="hub"``, and brings runs home."""

    def detached(self) -> list[AwayRun]:
        """Give the runs that were launched from here and are not at home yet.

        Returns:
            Handles with the verbs of ``Run``, oldest first; ``wait`` brings one home.

        Raises:
            LabUnreachableError: If a hub does not answer.
        """
        return [hubs().find(self._dir, away) for away in remembered(self._dir)]

    def fetch(self, run: AwayRun | str, *, on: str | None = None) -> Run:
        """Bring an ended run of another lab into this one: all of it, under its own id.

        What is here already stays as it is; an interrupted fetch goes on when it is
        called again.

        Args:
            run: A handle from ``detached``, ``launch(detach="hub")`` or
                ``flip_lab.connect``; or the id of a run of a hub.
            on: The hub's federation, for an id of a run that was not launched from here.

        Returns:
            A handle on the run here.

        Raises:
            RunNotFoundError: If nobody knows a run of this id.
            IllegalTransitionError: If it is under way.
            RunExistsError: If this lab keeps another run of this id.
            FlipLabError: As ``RemoteRun.fetch``.
        """
        if isinstance(run, str):
            run = hubs().find(self._dir, away_of(self._dir, run, on))
        return run.fetch(self)
