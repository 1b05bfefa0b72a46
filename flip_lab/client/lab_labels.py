"""What people say about the runs of a remote lab, and its trash."""

from __future__ import annotations

from flip_lab.client.lab_reading import LabReading, ids_of


class LabLabels(LabReading):
    """Labels and deletes runs; each action is on record in ``audit`` over there.

    Runs are a handle, an id, a list of these, or a frame of runs. Unlike in a local lab
    they are done one after another: where one fails, those before it are done. Every method
    raises ``RunNotFoundError`` if one of the runs is not there.
    """

    def tag(self, runs: object, *tags: str) -> None:
        """Give runs tags; they keep those they have.

        Raises:
            InvalidValueError: If a tag will not do.
        """
        for run_id in ids_of(runs):
            self.run(run_id).tag(*tags)

    def untag(self, runs: object, *tags: str) -> None:
        """Take tags off runs."""
        for run_id in ids_of(runs):
            self.run(run_id).untag(*tags)

    def note(self, runs: object, text: str) -> None:
        """Note something about runs, in place of what was noted; "" takes that away."""
        for run_id in ids_of(runs):
            self.run(run_id).note(text)

    def archive(self, runs: object) -> None:
        """Put runs away: ``runs()`` leaves them out unless asked with ``archived``."""
        for run_id in ids_of(runs):
            self.run(run_id).archive()

    def unarchive(self, runs: object) -> None:
        """Take archived runs back into the usual lists."""
        for run_id in ids_of(runs):
            self.run(run_id).unarchive()

    def delete(self, runs: object) -> None:
        """Put runs into the trash over there, where ``flip-lab undo`` finds them.

        Raises:
            IllegalTransitionError: If one of them is under way.
        """
        for run_id in ids_of(runs):
            self.run(run_id).delete()
