"""What answers depend on, as values that differ when an answer may: a few looks at files.

An answer that was made of one state is good as long as the state is the same. Taken before
the answer is made, a state is never newer than the answer.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

from flip_lab.api.live.marks import Mark
from flip_lab.api.live.roster import Roster
from flip_lab.store.audit import audit_path
from flip_lab.store.layout import LabDir
from flip_lab.store.manifest import manifest_path

State: TypeAlias = tuple[object, ...]


class States:
    """Gives the states of a lab; from any thread, without waiting.

    Args:
        lab: The lab.
        roster: The list of its runs.
    """

    def __init__(self, lab: LabDir, roster: Roster) -> None:
        """Look at nothing yet."""
        self._lab, self._roster = lab, roster
        self._manifest, self._audit = manifest_path(lab), audit_path(lab)

    def of_facts(self, run_id: str) -> State | None:
        """Give what the facts of a run depend on; ``None`` for a run that is not listed."""
        if self._roster.row(run_id) is None:
            return None
        return _stat(self._manifest), Mark(self._lab, run_id).look()

    def of_run(self, run_id: str) -> State | None:
        """Give what a run as a whole depends on: its facts, labels, checkpoints, forks."""
        facts = self.of_facts(run_id)
        if facts is None:
            return None
        checkpoints = _stat(self._lab.run_dir(run_id) / "checkpoints")
        row, members = self._roster.row(run_id), self._roster.membership
        return *facts, row, _stat(self._audit), checkpoints, members

    def of_list(self) -> State:
        """Give what lists of runs depend on."""
        return self._roster.position, _stat(self._audit)

    def of_everything(self) -> State:
        """Give what a question to all runs depends on."""
        journals = [Mark(self._lab, each).look() for each in self._roster.active]
        return *self.of_list(), _stat(self._manifest), journals


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  # asked for each answer: Path takes longer
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
