"""What the Ray executor does when a worker dies, against a Ray that dies on demand."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flwr.app import Message, RecordDict

from flip_lab.engines.base import Job
from flip_lab.engines.clients import ClientCall, ClientOutcome
from flip_lab.engines.flower.messages import become_server, stamp
from flip_lab.engines.ray import RayExecutor
from flip_lab.testing.probe_app import ProbeApp


class ActorDiedError(Exception):
    """A worker process crashed."""


class OutOfMemoryError(Exception):
    """Ray killed a worker to free memory; no ``RayActorError`` in Ray either."""


class TaskError(Exception):
    """The reply could not be sent."""


class MortalRay:
    """As much of Ray as the executor uses; each listed death ends one call."""

    exceptions = SimpleNamespace(
        RayActorError=ActorDiedError,
        OutOfMemoryError=OutOfMemoryError,
        RayTaskError=TaskError,
    )

    def __init__(self, deaths: Sequence[Exception]) -> None:
        self.deaths = list(deaths)
        self.num_actors = 0
        self._refs = itertools.count()
        self._calls: dict[int, ClientCall] = {}

    def remote(self, **_: object) -> Any:  # noqa: ANN401  # untyped in Ray
        """Give the class of our actors."""
        return lambda _: SimpleNamespace(remote=self._actor)

    def _actor(self, *_: object, **__: object) -> SimpleNamespace:
        self.num_actors += 1
        prepare = SimpleNamespace(remote=lambda: -1)
        return SimpleNamespace(
            prepare=prepare, carry_out=SimpleNamespace(remote=self._carry_out)
        )

    def _carry_out(self, _content: object, call: ClientCall) -> int:
        ref = next(self._refs)
        self._calls[ref] = call
        return ref

    def put(self, content: object) -> object:
        """Keep nothing."""
        return content

    def wait(self, refs: list[int], **_: object) -> tuple[list[int], list[int]]:
        """Say that all are done."""
        return refs, []

    def get(self, refs: Any) -> Any:  # noqa: ANN401  # as Ray
        """Give an outcome, or die; that of ``prepare`` is good."""
        if isinstance(refs, list):
            return [""] * len(refs)
        if self.deaths:
            raise self.deaths.pop(0)
        call = self._calls[refs]
        return ClientOutcome(
            message_id=call.message.metadata.message_id,
            reply=None,
            state=RecordDict(),
            error="",
            started_s=0.0,
            duration_s=0.0,
        )


def outcomes(ray: MortalRay) -> list[ClientOutcome]:
    """Carry out one call, and ask as often as a call may be repeated."""
    job = Job(
        run_id="r",
        seed=0,
        num_nodes=1,
        run_config={},
        app=ProbeApp(),
        answers_describe=False,
        workers=1,
        work_dir=Path(),
    )
    executor = RayExecutor(ray, job)
    become_server(1)
    message = Message(RecordDict(), 1, "train")
    stamp(message, "m")
    call = ClientCall(
        message=message, partition_id=0, server_round=1, phase="train", state=RecordDict()
    )
    executor.submit([call])
    return [outcome for _ in range(4) for outcome in executor.completed(timeout_s=0.1)]


@pytest.mark.parametrize("death", [ActorDiedError("crash"), OutOfMemoryError("memory")])
def test_the_call_of_a_dead_worker_is_repeated_by_a_new_one(death: Exception) -> None:
    """Calls are pure, so nobody notices; memory that ran out is a death like others."""
    ray = MortalRay([death])
    [outcome] = outcomes(ray)
    assert (outcome.message_id, outcome.error) == ("m", "")
    assert ray.num_actors == 2


def test_a_client_that_kills_every_worker_fails_and_the_run_goes_on() -> None:
    """After three deaths the client counts as failed, and a worker is there for others."""
    ray = MortalRay([OutOfMemoryError("memory")] * 3)
    [outcome] = outcomes(ray)
    assert outcome.error == "The worker process died 3 times: memory"
    assert ray.num_actors == 4


def test_a_reply_that_cannot_be_sent_is_the_clients_failure() -> None:
    """The worker lives on."""
    ray = MortalRay([TaskError("no pickle")])
    [outcome] = outcomes(ray)
    assert outcome.error == "The reply could not be sent: no pickle"
    assert ray.num_actors == 1
