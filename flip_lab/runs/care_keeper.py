"""What keeps a lab safe, sound and small."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flip_lab.runs.curator import LabCurator

if TYPE_CHECKING:  # most of it loads DuckDB
    from flip_lab.runs.care_info import StoreInfo
    from flip_lab.runs.care_retention import Keep, Pruned
    from flip_lab.store.backup_taking import Backup
    from flip_lab.store.collecting import Collected
    from flip_lab.store.compaction import Compacted
    from flip_lab.store.doctor import Finding


class LabKeeper(LabCurator):
    """Backs a lab up, looks it over, and lets go of what takes the room.

    All of it is safe while runs go on. Methods that change the lab raise
    ``StoreBusyError`` if another process rearranges it for too long, and
    ``StoreNotWritableError`` if it cannot be written.
    """

    def backup(self, destination: str | Path, *, verify: bool = False) -> Backup:
        """Take a consistent snapshot; again, only what is new is copied.

        ``flip_lab.runs.care.restore_lab``, or ``flip-lab restore``, makes a lab of it.

        Args:
            destination: A directory for the backups of this lab, made if it is missing.
            verify: Whether to compare with its hash what the backup holds already; what
                is damaged there is copied anew.

        Returns:
            What was done, and what could not be read.

        Raises:
            BackupError: If the directory belongs to another lab, or is in use.
            StoreNotWritableError: If it cannot be written or is full; older snapshots
                stay.
        """
        from flip_lab.runs.care import backup_lab

        return backup_lab(self._dir, destination, verify=verify)

    def doctor(self, *, repair: bool = False, quick: bool = False) -> list[Finding]:
        """Look the lab over.

        Args:
            repair: Whether to mend what can be; what is damaged is set aside.
            quick: Whether to compare lengths of files only, and not their hashes.

        Returns:
            What is not in order: after the repair, if there was one.
        """
        from flip_lab.runs import care_examining

        found = care_examining.examine(self._dir, is_quick=quick)
        return care_examining.repair(self._dir, found) if repair and found else found

    def info(self) -> StoreInfo:
        """Say what the lab holds, and what takes the room."""
        from flip_lab.runs.care_info import store_info

        return store_info(self._dir)

    def compact(self, *, now: bool = False) -> Compacted:
        """Seal the runs that have ended; done by itself after every sixteenth or so.

        Args:
            now: Whether to also remove at once what others may still be reading.
        """
        from flip_lab.runs.care import compact_lab

        return compact_lab(self._dir, now=now)

    def collect(self, *, dry_run: bool = False) -> Collected:
        """Remove kept files that no run speaks of any more.

        Args:
            dry_run: Whether to only say what would be removed.
        """
        from flip_lab.runs.care import collect_unused

        return collect_unused(self._dir, dry_run=dry_run)

    def prune(
        self,
        *,
        keep_last: int | None = None,
        older_than_s: float | None = None,
        keep: Keep = "summary",
        experiment: str | None = None,
        dry_run: bool = True,
    ) -> Pruned:
        """Let go of what takes the room in old runs; by default only say what that is.

        Runs are left alone that are under way, archived, in the trash, or tagged
        ``keep``.

        Args:
            keep_last: So many of the newest runs of each experiment are left alone.
            older_than_s: Only runs that ended at least so long ago, seconds.
            keep: ``"summary"`` lets go of the facts of single clients and of the
                checkpoints; ``"none"`` removes the runs for good.
            experiment: Only runs of this experiment.
            dry_run: Whether to only say what would be done.

        Returns:
            The runs, and how much room that frees.

        Raises:
            InvalidValueError: If neither ``keep_last`` nor ``older_than_s`` is given, or
                a value will not do.
        """
        from flip_lab.runs.care_retention import prune_runs

        return prune_runs(
            self._dir,
            keep_last=keep_last,
            older_than_s=older_than_s,
            keep=keep,
            experiment=experiment,
            dry_run=dry_run,
        )
