"""Whether a run's journals grew: a look at the directory, cheap enough for every 40 ms."""

from __future__ import annotations

import os

from flip_lab.store.layout import LabDir


class Mark:
    """Remembers how long a run's journals were; for one thread at a time.

    Who has read everything up to a look need read again only when the next one differs: a
    file that is sealed in between goes from the directory.

    Args:
        lab: The lab that keeps the run.
        run_id: The run; it need not have begun.
    """

    def __init__(self, lab: LabDir, run_id: str) -> None:
        """Look at nothing yet: the first look differs."""
        self._folder = os.fspath(lab.live_dir(run_id))
        self._seen: list[tuple[str, int, int]] | None = None

    def differs(self) -> bool:
        """Look, and say whether it is not as it was."""
        now = self.look()
        has_changed = now != self._seen
        self._seen = now
        return has_changed

    def look(self) -> list[tuple[str, int, int]]:
        """Give names, inodes and lengths of the journals as they are now."""
        try:
            with os.scandir(self._folder) as entries:
                found = [
                    (entry.name, entry.inode(), entry.stat().st_size)
                    for entry in entries
                    if entry.name.endswith(".jsonl")
                ]
        except OSError:  # there is none yet, or one went just now: the next look differs
            return []
        return sorted(found)
