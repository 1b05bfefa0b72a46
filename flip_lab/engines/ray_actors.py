"""The actor: one slot of a Ray session, which serves one run after another.

Nothing heavy is imported with this module, so that an actor can say at once that it has
a place. What it does for a run is in ``ray_worker``.
"""

from __future__ import annotations

import os
import threading
from importlib import import_module
from typing import Any

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import FlipLabError
from flip_lab.engines.ray_head import living_jobs

_LOOK_EVERY_S = 30.0


class ClientActor:
    """Carries out client calls, one at a time; leased to one run after another.

    Args:
        idle_s: Seconds without a run after which the actor ends; ``None`` for never.
        is_warm: Whether to import what runs need before the first one comes.
    """

    def __init__(self, idle_s: float | None, *, is_warm: bool) -> None:
        """Start the minder, a thread that ends the actor when nobody needs it."""
        self._minder = _Minder(idle_s)
        self._worker: Any = _new_worker() if is_warm else None

    def hello(self) -> int:
        """Say that this actor has a place.

        Returns:
            Its process id.
        """
        return os.getpid()

    def adopt(
        self,
        job_id: str,
        package: Any,  # noqa: ANN401  # a heavy module's
        door: str,
    ) -> FlipLabError | None:
        """Serve a run from now on.

        Args:
            job_id: The Ray job of the run process; this actor ends when that does.
            package: The run, a ``RunPackage``.
            door: Where the run process of this machine waits for a connection.

        Returns:
            Nothing when the app is loaded; otherwise why not. Raised, it would reach the
            run process as Ray's own error, without our code and fix.
        """
        self._minder.serve(job_id)
        self._worker = self._worker or _new_worker()
        return self._worker.adopt(package, door)

    def serve(self) -> None:
        """Carry out what comes by socket, until the run process hangs up."""
        self._worker.serve()

    def carry_out(
        self,
        key: int,
        content: Any,  # noqa: ANN401  # as above
        calls: Any,  # noqa: ANN401  # as above
        ticket: int,
    ) -> tuple[Any, bool]:
        """Carry out a batch that came through Ray; see ``Worker.carry_out``."""
        return self._worker.carry_out(key, content, calls, ticket)

    def forget(self) -> None:
        """Drop the run: its app, its records, its paths and its environment."""
        if self._worker is not None:
            self._worker.forget()
        self._minder.serve(None)


def _new_worker() -> Any:  # noqa: ANN401  # as above
    return import_module("flip_lab.engines.ray_worker").Worker()


class _Minder:
    """Ends this process when its run is gone, or when no run has come for a while.

    A run process that is killed gives nothing back, and a cluster's processors belong to
    others too.
    """

    def __init__(self, idle_s: float | None) -> None:
        self._idle_s = idle_s
        self._job_id: str | None = None
        self._since_s = tick_s()
        threading.Thread(target=self._watch, daemon=True).start()

    def serve(self, job_id: str | None) -> None:
        self._job_id = job_id
        self._since_s = tick_s()

    def _watch(self) -> None:
        rest = threading.Event()
        while not rest.wait(_LOOK_EVERY_S):
            if self._job_id is None:
                idle_s = tick_s() - self._since_s
                over = self._idle_s is not None and idle_s > self._idle_s
            else:
                over = self._is_gone(self._job_id)
            if over:
                os._exit(0)

    @staticmethod
    def _is_gone(job_id: str) -> bool:
        """Say whether a run is gone; while the session's head cannot say, it is not."""
        try:
            return job_id not in living_jobs()
        except Exception:  # noqa: BLE001  # Ray raises bare exceptions here
            return False
