"""What clients remember between messages of a run, kept on disk.

A node that is restarted in the middle of a run goes on where its clients were. Contexts
are kept by FLIP Lab's own run id, since a run that goes on after its hub was restarted is
another run to Flower. They are written in Flower's wire format, whole or not at all: a
pickle from an app could run code the next time it is read.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from flwr.app import RecordDict

from flip_lab.engines.flower.state_bytes import state_from_bytes, state_to_bytes

_LOG = logging.getLogger("flip_lab.node")
_MOST_RUNS = 200
_SUFFIX = ".context"


class ClientContexts:
    """The states of a node's clients, one for each run.

    Args:
        directory: Where they lie; made when there is something to keep.
        most_bytes: Largest state to keep; a larger one stays as it was.
    """

    def __init__(self, directory: Path, *, most_bytes: int) -> None:
        """Look at nothing yet."""
        self._directory = directory
        self._most_bytes = most_bytes

    def load(self, run: str) -> RecordDict:
        """Give a run's state; empty when there is none, or none that can be read.

        Args:
            run: FLIP Lab's id of the run, or Flower's number.
        """
        path = self._path(run)
        try:
            return state_from_bytes(path.read_bytes())
        except FileNotFoundError:
            return RecordDict()
        except (OSError, ValueError) as error:
            aside = path.with_suffix(".damaged")
            path.replace(aside)
            _LOG.warning(
                "What clients remembered of run %s cannot be read (%s); they begin anew. "
                "The file is now %s.",
                run,
                error,
                aside,
            )
            return RecordDict()

    def keep(self, run: str, state: RecordDict) -> None:
        """Keep a run's state in place of the one before; an empty one takes no room."""
        path = self._path(run)
        if not len(state):
            path.unlink(missing_ok=True)
            return
        content = state_to_bytes(state)
        if len(content) > self._most_bytes:
            _LOG.warning(
                "What a client wants to remember of run %s has %.0f MiB, more than "
                "message-mb allows; the next message finds what was there before.",
                run,
                len(content) / 2**20,
            )
            return
        is_new = not path.exists()
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_suffix(".new")
        fresh.write_bytes(content)
        fresh.replace(path)
        if is_new:
            self._sweep()

    def _path(self, run: str) -> Path:
        """Give a file name that no run's id can lead out of the directory with."""
        safe = "".join(each if each.isalnum() or each in "-_" else "_" for each in run)[:64]
        digest = hashlib.sha256(run.encode()).hexdigest()[:12]
        return self._directory / f"{safe}-{digest}{_SUFFIX}"

    def _sweep(self) -> None:
        """Forget the runs that nobody asked for the longest."""
        found = sorted(
            self._directory.glob(f"*{_SUFFIX}"),
            key=lambda path: path.stat().st_mtime,
            reverse=True,
        )
        for old in found[_MOST_RUNS:]:
            old.unlink(missing_ok=True)
