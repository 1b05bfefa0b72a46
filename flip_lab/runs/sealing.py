"""What a run process does for the store: seal what is full, and what has ended."""

from __future__ import annotations

import logging
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from flip_lab.core.errors import StoreBusyError, StoreError
from flip_lab.runs import life_sign
from flip_lab.store.layout import LabDir
from flip_lab.store.manifest import read_manifest
from flip_lab.store.sealing_due import is_due

_log = logging.getLogger("flip_lab.run")


class FullJournals:
    """Seals a run's full journal files in a thread of its own, so that readers stay fast.

    What cannot be sealed now stays a journal, which is read as well, only slower.

    Args:
        lab: The lab.
        run_id: The run.
    """

    def __init__(self, lab: LabDir, run_id: str) -> None:
        """Start nothing yet: most runs never fill a file."""
        self._lab = lab
        self._run_id = run_id
        self._full: SimpleQueue[Path | None] = SimpleQueue()
        self._thread: Thread | None = None

    def __call__(self, path: Path) -> None:
        """Take note of a file that is written no more."""
        self._full.put(path)
        if self._thread is None:
            self._thread = Thread(target=self._seal, name="flip-sealer", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Wait for what is being sealed."""
        if self._thread is not None:
            self._full.put(None)
            self._thread.join()

    def _seal(self) -> None:
        from flip_lab.store.compaction import seal_full  # loads DuckDB

        waiting: list[Path] = []
        while (path := self._full.get()) is not None:
            waiting.append(path)
            try:
                seal_full(self._lab, self._run_id, waiting)
            except StoreBusyError:
                continue  # with the next one
            except StoreError as error:
                _log.info("Full journals are left unsealed: %s", error)
            waiting = []


def ended_runs(lab: LabDir) -> list[str]:
    """Give the runs that are known to have ended and are not sealed.

    A run that nobody has looked at since its end is not among them: it may have been
    killed, and then its end is not written yet.

    Args:
        lab: The lab.
    """
    closed = read_manifest(lab).closed_runs
    names = sorted(file.parent.name for file in lab.runs.glob("[!.]*/run.json"))
    return [run_id for run_id in names if run_id not in closed and _has_ended(lab, run_id)]


def _has_ended(lab: LabDir, run_id: str) -> bool:
    run_dir = lab.run_dir(run_id)
    return life_sign.is_marked_ended(run_dir) and not life_sign.is_alive(run_dir)


def seal_ended(lab: LabDir) -> None:
    """Seal the runs of a lab that have ended, once there are enough of them.

    Never fails: it is done after a run, by the process of that run.

    Args:
        lab: The lab.
    """
    try:
        ended = ended_runs(lab)
        if is_due(lab, ended):
            from flip_lab.store.compaction import try_compact  # loads DuckDB

            # One may have gone on by the time that it is its turn.
            try_compact(lab, (run_id for run_id in ended if _has_ended(lab, run_id)))
    except StoreError as error:
        _log.info("The lab is left as it is: %s", error)
