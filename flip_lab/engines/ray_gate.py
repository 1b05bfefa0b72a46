"""How actors that share no memory with the run process learn that its gate was closed.

The run process counts how often the gate was closed and writes the number into Ray's own
store. Calls carry the number of the time when they were handed out, while the gate was
open; an actor that finds a higher one in the store begins no more of them. Opening the gate
needs no word: what is handed out then carries the new number. So nothing can be overtaken,
and a word that is lost makes a pause late, and never lasting.

An actor looks before a client, but asks the store every 0.1 s at most, for a question costs
as much as a small client. So no client starts later than 0.1 s after the word is there,
which takes some milliseconds; clients that take longer than 0.1 s themselves start none.
"""

from __future__ import annotations

from contextlib import suppress
from logging import getLogger
from threading import Event, Lock, Thread
from uuid import uuid4

from flip_lab.core.clock import tick_s
from flip_lab.engines.gate import Gate
from flip_lab.engines.ray_store import RayStore

_LOOK_EVERY_S = 0.1
_AGAIN_S = 0.5
_log = getLogger("flip_lab.engines.ray")


class FarGate:
    """The gate as an actor of another machine sees it.

    Args:
        name: The key under which the run process writes.
    """

    def __init__(self, name: str) -> None:
        """Ask nothing yet."""
        self._name = name
        self._store = RayStore()
        self._closings = 0
        self._looked_s = float("-inf")

    def admits(self, ticket: int) -> bool:
        """Say whether a client may start now.

        Args:
            ticket: What ``Gate.ticket`` gave when its call was handed out.
        """
        if tick_s() - self._looked_s >= _LOOK_EVERY_S:
            self._closings = int(self._store.read(self._name) or 0)
            self._looked_s = tick_s()
        return ticket >= self._closings


class Herald:
    """Writes down for actors of other machines that the gate was closed.

    Args:
        gate: The run's gate.
    """

    def __init__(self, gate: Gate) -> None:
        """Write nothing before somebody needs it."""
        self.name = f"gate/{uuid4().hex}"
        self._gate = gate
        self._is_needed = False
        self._writing = Lock()
        self._over = Event()

    def begin(self) -> None:
        """Write from now on: an actor of another machine has come."""
        self._is_needed = True
        if self._gate.closings:
            self.tell()

    def tell(self) -> None:
        """Write how often the gate was closed; returns at once."""
        if self._is_needed:
            Thread(target=self._tell, name="flip-herald", daemon=True).start()

    def _tell(self) -> None:
        with self._writing:
            while not self._over.is_set():
                try:
                    RayStore().write(self.name, str(self._gate.closings))
                except Exception:  # noqa: BLE001  # the session's head may be busy, or gone
                    _log.debug("other machines do not know of the pause", exc_info=True)
                    self._over.wait(_AGAIN_S)
                else:
                    return

    def close(self) -> None:
        """Write no more."""
        self._over.set()

    def erase(self) -> None:
        """Leave nothing in the session."""
        if self._is_needed:
            with self._writing, suppress(Exception):
                RayStore().delete(self.name)
