"""Who may use which actor of a Ray session, across runs, processes and machines.

An actor has a name that is never used twice. A lease is an entry in the session's own
key-value store, which only one of several takers can write; it names the taker's Ray job.
Nothing has to be given back by a run that was killed: its job is dead, so the next taker
ends its actors, which are in an unknown state anyway.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from logging import getLogger
from math import ceil
from typing import Any, cast
from uuid import uuid4

import flip_lab
from flip_lab.core.errors import EngineStartError
from flip_lab.engines.ray_actors import ClientActor
from flip_lab.engines.ray_head import NAMESPACE, answers, living_jobs
from flip_lab.engines.ray_store import RayStore

_IDLE_S = 600.0  # a cluster's processors belong to others too
_PLACEMENT_S = 60.0
_FORGET_S = 2.0
_KEEP_WARM = "keep-warm"  # where it stands, actors stay for as long as the session
_log = getLogger("flip_lab.engines.ray")


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A leased actor.

    Attributes:
        name: Its name in the session.
        actor: Ray's handle.
    """

    name: str
    actor: Any


def gpu_share(num_gpus: float, workers: int) -> float:
    """Give the part of a GPU for each worker: all fit, and no worker spans two of them.

    Args:
        num_gpus: GPUs of the session.
        workers: Workers that share them; at least 1.

    Returns:
        0 without a GPU, else 1 divided by the most workers that one GPU gets.
    """
    return 1 / ceil(workers / int(num_gpus)) if num_gpus >= 1 else 0.0


class Leases:
    """The actors of a session, as one run process sees them.

    Args:
        ray: The ``ray`` module, connected.
        workers: How many actors a run wants; they share the GPUs that there are.
    """

    def __init__(self, ray: Any, workers: int) -> None:  # noqa: ANN401  # an optional package
        """Look at what the session has."""
        self._ray = ray
        self._store = RayStore()
        self.job_id = str(ray.get_runtime_context().get_job_id())
        self._gcs_address = str(ray.get_runtime_context().gcs_address)
        node: Any = import_module("ray._private.worker").global_worker.node
        self._store_socket = str(node.plasma_store_socket_name)
        total: Mapping[str, float] = ray.cluster_resources()
        self.workers = min(workers, max(1, int(total.get("CPU", 0))))
        if self.workers < workers:
            _log.warning(
                "The Ray session has %s CPUs; the run goes on with %s workers, not %s.",
                total.get("CPU", 0),
                self.workers,
                workers,
            )
        self._gpus = gpu_share(total.get("GPU", 0), self.workers)
        kind = sha256(f"{flip_lab.__version__}/{self._gpus}".encode()).hexdigest()[:8]
        self._prefix = f"client/{kind}/"

    # --- taking -------------------------------------------------------------------

    def take(self) -> list[Slot]:
        """Lease as many actors as the run may have; start those that are missing.

        Raises:
            EngineStartError: If not one of them finds a place in the session.
        """
        idle = self._sweep()
        slots: list[Slot] = []
        for name in idle:
            is_ours = name.startswith(self._prefix)
            if (is_ours and len(slots) == self.workers) or not self._claim(name):
                continue
            if not is_ours:  # it may hold the part of a GPU that one of ours needs
                self._end(name)
            elif (actor := self._find(name)) is None:
                self._release(name)
            else:
                slots.append(Slot(name=name, actor=actor))
        while len(slots) < self.workers:
            slots.append(self.new())
        return self._placed(slots)

    def _sweep(self) -> list[str]:
        """End the actors whose run is gone; give those that nobody leases."""
        found = cast(
            "list[dict[str, str]]", self._ray.util.list_named_actors(all_namespaces=True)
        )
        names = sorted(each["name"] for each in found if each["namespace"] == NAMESPACE)
        owners = {name: self._store.read(_lease(name)) for name in names}
        jobs = living_jobs()  # after the leases: a job is there before its first lease
        for name, owner in owners.items():
            if owner is not None and owner not in jobs:
                self._end(name)
        return [name for name, owner in owners.items() if owner is None]

    def _claim(self, name: str) -> bool:
        return self._store.claim(_lease(name), self.job_id)

    def _find(self, name: str) -> Any:  # noqa: ANN401  # Ray's handles are untyped
        with suppress(ValueError):  # it has just ended
            return self._ray.get_actor(name, namespace=NAMESPACE)
        return None

    def new(self) -> Slot:
        """Start an actor that is leased from its first moment; it may wait for a place."""
        name = f"{self._prefix}{uuid4().hex}"
        self._claim(name)
        return Slot(name=name, actor=self._start(name, is_warm=False))

    def _start(self, name: str, *, is_warm: bool) -> Any:  # noqa: ANN401  # as above
        return (
            self._ray.remote(ClientActor)
            .options(
                name=name,
                namespace=NAMESPACE,
                lifetime="detached",
                num_cpus=1,
                num_gpus=self._gpus,
                max_restarts=0,
                max_task_retries=0,
            )
            .remote(None if self._store.read(_KEEP_WARM) else _IDLE_S, is_warm=is_warm)
        )

    def _placed(self, slots: Sequence[Slot]) -> list[Slot]:
        """Wait until actors have a place; those that find none are given up."""
        greetings = {slot.actor.hello.remote(): slot for slot in slots}
        ready, missing = self._ray.wait(
            list(greetings), num_returns=len(greetings), timeout=_PLACEMENT_S
        )
        problem = ""
        placed: list[Slot] = []
        for greeting in ready:
            try:
                self._ray.get(greeting)
            except self._ray.exceptions.RayError as error:
                problem = f" {error}"
                self._end(greetings[greeting].name)
            else:
                placed.append(greetings[greeting])
        for greeting in missing:
            self._end(greetings[greeting].name)
        if not placed:
            raise EngineStartError(
                f"No worker found a place in the Ray session within {_PLACEMENT_S:.0f} s; "
                f"{self.resources()}.{problem}",
                fix="Wait until other runs have ended, or give the session more CPUs.",
            )
        if len(placed) < len(slots):
            _log.warning("%s of %s workers found a place.", len(placed), len(slots))
        return placed

    def resources(self) -> str:
        """Say what the session has, for an error message."""
        total, free = self._ray.cluster_resources(), self._ray.available_resources()
        parts = (
            f"{kind}: {free.get(kind, 0):g} of {total.get(kind, 0):g} free"
            for kind in ("CPU", "GPU")
        )
        return ", ".join(parts)

    # --- giving back --------------------------------------------------------------

    def give_back(self, slots: Sequence[Slot], *, is_reusable: bool) -> None:
        """End the leases.

        Args:
            slots: What ``take`` and ``new`` gave.
            is_reusable: Whether the next run may have these very processes: they loaded
                nothing but FLIP Lab's own apps. Any other app may have changed anything in
                them, so fresh ones take their place and import what runs need meanwhile.

        As many as this run had wait for the next one, and no more.
        """
        missing = self.workers - len(self._sweep())
        asked = {slot.actor.forget.remote(): slot for slot in slots}
        ready, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=_FORGET_S)
        for forgotten, slot in asked.items():
            is_well = forgotten in ready and not self._raises(forgotten)
            if is_well and is_reusable and missing > 0:
                self._release(slot.name)
            else:
                self._end(slot.name)
                if missing > 0:
                    self._start(f"{self._prefix}{uuid4().hex}", is_warm=True)
            missing -= 1

    def _raises(self, reference: Any) -> bool:  # noqa: ANN401  # as above
        try:
            self._ray.get(reference)
        except self._ray.exceptions.RayError:
            return True
        return False

    def end(self, slots: Iterable[Slot]) -> None:
        """End actors together with their leases."""
        for slot in slots:
            self._end(slot.name)

    def _end(self, name: str) -> None:
        actor = self._find(name)
        if actor is not None:
            self._ray.kill(actor, no_restart=True)
        self._release(name)

    def _release(self, name: str) -> None:
        self._store.delete(_lease(name))

    # --- the session --------------------------------------------------------------

    def prepare(self) -> None:
        """Start actors that nobody leases yet, to stay, and wait until they are warm.

        Raises:
            EngineStartError: If they cannot be started.
        """
        self._store.write(_KEEP_WARM, "yes")
        actors = [
            self._start(f"{self._prefix}{uuid4().hex}", is_warm=True)
            for _ in range(self.workers)
        ]
        try:
            self._ray.get([actor.hello.remote() for actor in actors])
        except self._ray.exceptions.RayError as error:
            raise EngineStartError(
                f"The actors of the Ray session did not start: {error}",
                fix="Mend what the message says and start the session again.",
            ) from error

    def is_session_alive(self) -> bool:
        """Ask whether head and local store answer: without them nothing can be done."""
        return answers(self._gcs_address) and self._has_store()

    def _has_store(self) -> bool:
        """Whether the object store is there; Ray ends a process that misses it."""
        with socket.socket(socket.AF_UNIX) as probe:
            return not probe.connect_ex(self._store_socket)


def _lease(name: str) -> str:
    """Give the key of an actor's lease."""
    return f"lease/{name}"
