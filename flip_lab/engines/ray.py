"""The engine that trains clients side by side in Ray actors, with the very same bits.

Each actor takes one call at a time; the model of a round is put into Ray's object store
once. An actor that dies is replaced and its call is carried out again: calls are pure.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from flwr.app import RecordDict

from flip_lab.core.errors import AppImportError, EngineStartError, MissingExtraError
from flip_lab.engines.base import Job
from flip_lab.engines.clients import ClientCall, ClientOutcome
from flip_lab.engines.flower.messages import for_client
from flip_lab.engines.simulation import SimulationGrid, setting_of

_START_ATTEMPTS = 3  # a raylet on a busy machine misses Ray's fixed start deadline
_CALL_ATTEMPTS = 3
_OBJECT_STORE_BYTES = 1 << 30
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # Ray's +15 starves workers on a busy machine
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # its future default, without the warning
}
_log = logging.getLogger("flip_lab.engines.ray")


@dataclass(kw_only=True)
class _InFlight:
    """A call that an actor is busy with."""

    call: ClientCall
    content: Any
    actor: Any
    attempt: int


class RayExecutor:
    """Feeds calls to idle actors, oldest call first.

    Args:
        ray: The ``ray`` module, connected.
        job: The run.
    """

    def __init__(self, ray: Any, job: Job) -> None:  # noqa: ANN401  # an optional package
        """Start one actor per worker and load the app in each.

        Raises:
            AppImportError: If the ClientApp cannot be loaded in a worker.
        """
        from flip_lab.engines.ray_actors import ClientActor

        self._ray = ray
        self._job = job
        self._actor_class = ray.remote(num_cpus=1)(ClientActor)
        self._waiting: deque[tuple[ClientCall, Any, int]] = deque()
        self._busy: dict[Any, _InFlight] = {}
        self._idle = [self._new_actor() for _ in range(job.workers)]
        for problem in ray.get([actor.prepare.remote() for actor in self._idle]):
            if problem:
                raise AppImportError(
                    "The ClientApp could not be loaded in a Ray worker.",
                    fix="Mend the app; the cause stands below.",
                    detail=problem,
                )

    def _new_actor(self) -> Any:  # noqa: ANN401  # Ray's handles are untyped
        return self._actor_class.remote(
            self._job.app,
            setting_of(self._job),
            work_dir=self._job.work_dir,
            search_path=list(sys.path),
        )

    def submit(self, calls: Sequence[ClientCall]) -> None:
        """Queue calls; contents that several calls share are shipped once."""
        shipped: dict[int, Any] = {}
        for call in calls:
            content = call.message.content
            if id(content) not in shipped:
                shipped[id(content)] = self._ray.put(content)
            bare = replace(call, message=for_client(call.message, RecordDict()))
            self._waiting.append((bare, shipped[id(content)], 1))
        self._feed()

    def _feed(self) -> None:
        while self._idle and self._waiting:
            actor = self._idle.pop()
            call, content, attempt = self._waiting.popleft()
            done = actor.carry_out.remote(content, call)
            self._busy[done] = _InFlight(
                call=call, content=content, actor=actor, attempt=attempt
            )

    def completed(self, *, timeout_s: float) -> list[ClientOutcome]:
        """Wait for calls in flight and feed the actors that became free."""
        if not self._busy:
            return []
        done, _ = (
            self._ray.wait(list(self._busy), num_returns=len(self._busy), timeout=0)
            if timeout_s == 0
            else self._ray.wait(list(self._busy), timeout=timeout_s)
        )
        outcomes = [self._collect(ref) for ref in done]
        self._feed()
        return [outcome for outcome in outcomes if outcome is not None]

    def _collect(self, ref: Any) -> ClientOutcome | None:  # noqa: ANN401  # Ray's handles
        work, problems = self._busy.pop(ref), self._ray.exceptions
        try:
            outcome: ClientOutcome = self._ray.get(ref)
        except (problems.RayActorError, problems.OutOfMemoryError) as error:
            return self._after_death(work, error)
        except problems.RayTaskError as error:
            outcome = _lost(work.call, f"The reply could not be sent: {error}")
        self._idle.append(work.actor)
        return outcome

    def _after_death(self, work: _InFlight, error: Exception) -> ClientOutcome | None:
        _log.warning("A Ray worker died; a new one repeats its client: %s", error)
        self._idle.append(self._new_actor())
        if work.attempt >= _CALL_ATTEMPTS:
            return _lost(
                work.call, f"The worker process died {work.attempt} times: {error}"
            )
        self._waiting.appendleft((work.call, work.content, work.attempt + 1))
        return None


def _lost(call: ClientCall, error: str) -> ClientOutcome:
    return ClientOutcome(
        message_id=call.message.metadata.message_id,
        reply=None,
        state=None,
        error=error,
        started_s=call.message.metadata.created_at,
        duration_s=0.0,
    )


class RayEngine:
    """Simulated federation on a Ray session that belongs to the run process."""

    name = "ray"

    @contextmanager
    def open(self, job: Job) -> Generator[SimulationGrid]:
        """Start Ray and its actors, give the Grid, and shut down what was started.

        Raises:
            EngineStartError: If Ray does not start.
            MissingExtraError: If Ray is not installed.
            AppImportError: If the ClientApp cannot be loaded in a worker.
        """
        with _ray_session(job.workers) as ray:
            yield SimulationGrid(job, RayExecutor(ray, job))


@contextmanager
def _ray_session(workers: int) -> Generator[Any]:
    """Use the Ray session of this process if there is one, else one of our own.

    Raises:
        MissingExtraError: If Ray is not installed.
        EngineStartError: If Ray does not start.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise MissingExtraError(
            "The engine 'ray' needs Ray, which is not installed.",
            fix='Install it with: pip install "flip-lab[sim]", or use on="in_process".',
        ) from error
    if ray.is_initialized():
        yield ray
        return
    _start(ray, workers)
    try:
        yield ray
    finally:
        ray.shutdown()


def _start(ray: Any, workers: int) -> None:  # noqa: ANN401  # an optional package
    problem: Exception | None = None
    for _ in range(_START_ATTEMPTS):
        try:
            ray.init(
                num_cpus=workers,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                _node_ip_address="127.0.0.1",
                configure_logging=False,
            )
        except Exception as error:  # noqa: BLE001  # Ray raises bare exceptions here
            problem = error
            with contextlib.suppress(Exception):
                ray.shutdown()
        else:
            return
    raise EngineStartError(
        f"Ray did not start in {_START_ATTEMPTS} attempts: {problem}",
        fix='Free memory and processors and try again, or use on="in_process".',
    ) from problem
