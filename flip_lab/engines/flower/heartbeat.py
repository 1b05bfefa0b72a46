"""The sign of life of a run that we drive on a SuperLink.

Flower's own thread ends at the first error of the server, and the run is given up a minute
later; and it interrupts the process when it is refused. Ours goes on until it is closed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event, Thread

_EVERY_S = 10.0  # the SuperLink gives a silent run up after 60 s
_AGAIN_S = 2.0
_LOG = logging.getLogger(__name__)


class Heartbeat:
    """Says that we live, in a thread of its own, until it is closed.

    Args:
        beat: Says it once; what it raises is logged and tried again.
        hang_up: Called after the last beat, in that thread: a connection that is closed
            under a beat which is just opening it would stay open.
    """

    def __init__(self, beat: Callable[[], object], hang_up: Callable[[], object]) -> None:
        """Begin at once."""
        self._beat = beat
        self._hang_up = hang_up
        self._closed = Event()
        self._thread = Thread(target=self._run, name="flip-heartbeat", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pause_s = 0.0
        while not self._closed.wait(pause_s):
            try:
                self._beat()
                pause_s = _EVERY_S
            except Exception as error:  # noqa: BLE001  # whatever it is, the run lives on
                _LOG.debug("A heartbeat failed: %s", error)
                pause_s = _AGAIN_S
        self._hang_up()

    def close(self) -> None:
        """Say it no more; does not wait for one that is under way."""
        self._closed.set()
