"""What people say about the runs of a lab, and the trash."""

from __future__ import annotations

from typing import Any

from flip_lab.runs.analyst import LabAnalyst
from flip_lab.runs.finding import Selection, selected
from flip_lab.runs.labelling import (
    Undone,
    archive_runs,
    note_runs,
    tag_runs,
    undo_last,
    untag_runs,
)
from flip_lab.runs.trash import delete_runs, deleted_runs, empty_trash, undelete_runs


class LabCurator(LabAnalyst):
    """Labels and deletes runs; each action is on record in ``audit`` with its author.

    An action on several runs is one action: it is done to all of them or to none, and
    undone for all of them. Whoever acts is the user of the operating system, or
    ``FLIP_LAB_AUTHOR``.

    Every method raises ``RunNotFoundError`` if one of the runs is not there, and
    ``StoreNotWritableError`` if the lab cannot be written; then nothing was done.
    """

    def tag(self, runs: Selection, *tags: str) -> None:
        """Give runs tags; they keep those they have.

        Args:
            runs: Which runs: a handle, an id, a list of these, or a frame of runs.
            tags: One or more; up to 200 characters each, on one line.

        Raises:
            InvalidValueError: If there is no tag, or one will not do.
        """
        tag_runs(self._dir, selected(self._dir, runs), tags)

    def untag(self, runs: Selection, *tags: str) -> None:
        """Take tags off runs.

        Raises:
            InvalidValueError: If there is no tag, or one will not do.
        """
        untag_runs(self._dir, selected(self._dir, runs), tags)

    def note(self, runs: Selection, text: str) -> None:
        """Note something about runs, in place of what was noted before.

        Args:
            runs: Which runs.
            text: The note, several lines long if need be; an empty one takes it away.

        Raises:
            InvalidValueError: If the note is no text, or too long.
        """
        note_runs(self._dir, selected(self._dir, runs), text)

    def archive(self, runs: Selection) -> None:
        """Put runs away: ``lab.runs()`` leaves them out unless asked with ``archived``."""
        archive_runs(self._dir, selected(self._dir, runs), "archive")

    def unarchive(self, runs: Selection) -> None:
        """Take archived runs back into the usual lists."""
        archive_runs(self._dir, selected(self._dir, runs), "unarchive")

    def delete(self, runs: Selection) -> None:
        """Put runs into the trash: from now on they are in no list and no table.

        ``undo()`` or ``undelete(…)`` bring them back until ``empty_trash()``.

        Raises:
            IllegalTransitionError: If one of them is under way; then none is deleted.
        """
        delete_runs(self._dir, selected(self._dir, runs))

    def undelete(self, runs: Selection) -> None:
        """Take runs out of the trash, whoever put them there."""
        among = [each.run_id for each in deleted_runs(self._dir)]
        undelete_runs(self._dir, selected(self._dir, runs, among=among))

    def undo(self) -> Undone:
        """Take back your last action on labels, archive or trash; again: the one before.

        Returns:
            What was undone; as text, in one sentence.

        Raises:
            NothingToUndoError: If there is nothing of yours to undo.
        """
        return undo_last(self._dir)

    def deleted(self) -> Any:  # noqa: ANN401  # a pandas frame
        """List the trash, what was deleted last first.

        Returns:
            A frame with ``run_id``, ``name``, ``experiment``, ``deleted_at``,
            ``deleted_by``.
        """
        import pandas as pd

        columns = ["run_id", "name", "experiment", "deleted_at", "deleted_by"]
        return pd.DataFrame(
            [
                [getattr(each, column) for column in columns]
                for each in deleted_runs(self._dir)
            ],
            columns=columns,
        )

    def empty_trash(self, *, older_than_s: float = 0.0) -> list[str]:
        """Remove deleted runs for good; their ids stay in the log.

        Args:
            older_than_s: Only runs that were deleted at least so long ago, seconds.

        Returns:
            The runs that were removed.
        """
        return empty_trash(self._dir, older_than_s=older_than_s)
