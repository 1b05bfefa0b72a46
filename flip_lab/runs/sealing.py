"""What a run process does for the store: seal what is full, and what has ended."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from flip_lab.core.errors import StoreBusyError, StoreError
from flip_lab.store.layout import LabDir

_log = logging.getLogger("flip_lab.run")
_IDLE_S = 5.0


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

        while (path := self._full.get()) is not None:
            try:
                seal_full(self._lab, self._run_id, [path])
            except StoreError as error:
                _log.info("A full journal is left unsealed: %s", error)


def seal_ended(lab: LabDir, ended: Iterable[str]) -> None:
    """Seal the runs of a lab that have ended, once there are enough of them.

    Never fails: it is done after the run, by whoever ends one.

    Args:
        lab: The lab.
        ended: The runs that have ended; sealed ones are passed over.
    """
    from flip_lab.store.compaction import try_compact  # loads DuckDB

    try:
        try_compact(lab, [*ended])
    except StoreError as error:
        _log.info("The lab is left as it is: %s", error)
