"""What the Ray executor does when things go wrong, against a Ray that fails on demand."""

from __future__ import annotations

import gc
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from flwr.app import ConfigRecord, Message, RecordDict

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import AppImportError, EngineError
from flip_lab.engines import ray_crew, ray_executor, ray_gate
from flip_lab.engines.apps import ScenarioApp
from flip_lab.engines.base import AppSource, Job
from flip_lab.engines.clients import ClientCall, ClientOutcome
from flip_lab.engines.flower.messages import become_server, stamp
from flip_lab.engines.gate import Gate
from flip_lab.engines.parcels import open_parcel
from flip_lab.engines.ray_door import knock
from flip_lab.engines.ray_executor import RayExecutor
from flip_lab.engines.ray_gate import FarGate
from flip_lab.engines.ray_lease import Slot
from flip_lab.engines.ray_package import RunPackage
from flip_lab.engines.ray_parcels import Packed, pack, unpack
from flip_lab.testing.probe_app import ProbeApp


class RayError(Exception):
    """Base of what Ray says when it lost something."""


class ActorDiedError(RayError):
    """A worker process crashed."""


class OutOfMemoryError(RayError):
    """Ray killed a worker to free memory."""


FAKE_RAY = SimpleNamespace(
    exceptions=SimpleNamespace(RayError=RayError),
    put=lambda thing: thing,
    nodes=lambda: [{"Alive": True, "NodeManagerHostname": "here"}],
)


NEVER = object()
PATIENCE_S = 120.0


class Reference:
    """What Ray gives for a call to an actor.

    Args:
        answer: What comes of it; ``NEVER`` for nothing before ``settle``.
    """

    def __init__(self, answer: object = NEVER) -> None:
        self._future: Future[Any] = Future()
        self.settle(answer)

    def settle(self, answer: object) -> None:
        """Answer."""
        if isinstance(answer, Exception):
            self._future.set_exception(answer)
        elif answer is not NEVER:
            self._future.set_result(answer)

    def future(self) -> Future[Any]:
        """Give the future, as Ray does."""
        return self._future


class FakeLeases:
    """A session whose actors die when they are handed a message that says so.

    Args:
        size: How many actors there are.
        act: What an actor does with one call; an exception is its death.
    """

    job_id = "01"
    are_here = False
    """Whether actors are on this machine, and so are talked to by socket."""

    def __init__(self, size: int, act: Callable[[ClientCall], object]) -> None:
        self.size = size
        self.act = act
        self.problem: Exception | None = None
        self.is_alive = True
        self.ended: list[str] = []
        self.reusable: list[bool] = []
        self.batches: list[list[str]] = []
        self.contents: list[RecordDict | None] = []
        self._numbers = itertools.count()

    def take(self) -> list[Slot]:
        """Give the first actors."""
        return [self.new() for _ in range(self.size)]

    def new(self) -> Slot:
        """Give one more."""
        actor = SimpleNamespace(
            is_stuck=False, is_serving=False, channel=None, far_gate=None
        )
        tasks = {"adopt": self._adopt, "serve": self._serve, "carry_out": self._carry_out}
        for name, task in tasks.items():
            setattr(actor, name, SimpleNamespace(remote=partial(task, actor)))
        return Slot(name=f"actor-{next(self._numbers)}", actor=actor)

    def _adopt(
        self, actor: SimpleNamespace, _job: str, run: RunPackage, door: str
    ) -> Reference:
        """Give what the app raises when it is loaded; as a value, not as an exception."""
        self.gate_name = run.gate
        if self.problem is not None:
            return Reference(Answer(self.problem))
        actor.channel = knock(door) if self.are_here else None
        return Reference(None)

    def _serve(self, actor: SimpleNamespace) -> Reference:
        end = Reference()
        actor.is_serving = True
        threading.Thread(target=self._serve_until, args=(end, actor), daemon=True).start()
        return end

    def _serve_until(self, end: Reference, actor: SimpleNamespace) -> None:
        answer: object = None
        with suppress(EOFError, ConnectionError):
            gate = Gate(actor.channel.receive()[1][0])
            while not isinstance(answer, Exception):
                (serial, batch), files = actor.channel.receive()
                content = open_parcel(files[0]) if files else None
                answer = self._done(actor, content, batch, lambda: gate.is_open)
                if isinstance(answer, tuple):
                    actor.channel.send((serial, answer))
        actor.channel.close()
        end.settle(answer)

    def _carry_out(
        self,
        actor: SimpleNamespace,
        _key: int,
        content: Packed | None,
        calls: Packed,
        ticket: int,
    ) -> Reference:
        if actor.far_gate is None:
            actor.far_gate = FarGate(self.gate_name)
        may_begin = partial(actor.far_gate.admits, ticket)
        answer = self._done(actor, content and unpack(content), unpack(calls), may_begin)
        if isinstance(answer, tuple):
            outcomes, hung = answer
            answer = (pack(outcomes), hung)
        return Reference(answer)

    def _done(
        self,
        actor: SimpleNamespace,
        content: RecordDict | None,
        batch: list[ClientCall],
        may_begin: Callable[[], bool],
    ) -> object:
        """Give outcomes and whether the last one hung; or a death, or ``NEVER``."""
        self.batches.append([call.message.metadata.message_id for call in batch])
        self.contents.append(content)
        outcomes: list[ClientOutcome] = []
        for call in batch:
            if not may_begin():
                break
            result = self.act(call)
            actor.is_stuck |= result is NEVER
            if isinstance(result, Exception) or actor.is_stuck:
                return NEVER if actor.is_stuck else result
            outcomes.append(outcome_of(call))
            if result == "hung":
                return outcomes, True
        return outcomes, False

    def end(self, slots: Iterable[Slot]) -> None:
        """Note who was ended."""
        for slot in slots:
            self.ended.append(slot.name)
            self._forget(slot.actor)

    def give_back(self, slots: Sequence[Slot], *, is_reusable: bool) -> None:
        """Note how they were given back."""
        for slot in slots:
            self.reusable.append(is_reusable)
            self._forget(slot.actor)

    def _forget(self, actor: SimpleNamespace) -> None:
        """Leave nothing open of an actor whose run ended before it began."""
        if actor.channel is not None and not actor.is_serving:
            actor.channel.close()

    def is_session_alive(self) -> bool:
        """Say whether the session answers."""
        return self.is_alive

    def resources(self) -> str:
        """Say what there is."""
        return "CPU: 0 of 2 free"


class Answer:
    """A value that is an error: ``adopt`` gives it, it does not raise it."""

    def __init__(self, problem: Exception) -> None:
        self.problem = problem

    def __str__(self) -> str:
        return str(self.problem)


@pytest.fixture(params=[False, True], ids=["through Ray", "by socket"], autouse=True)
def are_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Try everything with actors of other machines, and of this one."""
    monkeypatch.setattr(FakeLeases, "are_here", request.param)
    return request.param


class FakeStore:
    """Ray's store, of this process alone; it may fail a few times before it answers."""

    texts: ClassVar[dict[str, str]] = {}
    failures: ClassVar[list[Exception]] = []

    def read(self, key: str) -> str | None:
        """Give a text."""
        return self.texts.get(key)

    def write(self, key: str, text: str) -> None:
        """Keep a text, or fail as a head does that starts again."""
        if self.failures:
            raise self.failures.pop()
        self.texts[key] = text

    def delete(self, key: str) -> None:
        """Forget a text."""
        self.texts.pop(key, None)


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> type[FakeStore]:
    """Give actors of other machines a store, and let them look each time."""
    monkeypatch.setattr(FakeStore, "texts", {})
    monkeypatch.setattr(FakeStore, "failures", [])
    monkeypatch.setattr(ray_gate, "RayStore", FakeStore)
    monkeypatch.setattr(ray_gate, "_LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(ray_gate, "_AGAIN_S", 0.01)
    return FakeStore


def outcome_of(call: ClientCall) -> ClientOutcome:
    """Give the outcome of a client that did well."""
    return ClientOutcome(
        message_id=call.message.metadata.message_id,
        reply=None,
        state=RecordDict(),
        error="",
        started_s=0.0,
        duration_s=0.0,
    )


def num_descriptors() -> int:
    """Count the open files of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def make_executor(
    leases: FakeLeases,
    *,
    timeout_s: float | None = None,
    app: AppSource | None = None,
    gate: Gate | None = None,
) -> RayExecutor:
    """Open an executor on a fake session."""
    job = Job(
        run_id="r",
        seed=0,
        num_nodes=100,
        run_config={},
        app=app or ProbeApp(),
        answers_describe=False,
        workers=leases.size,
        work_dir=Path(),
        client_timeout_s=timeout_s,
        gate=gate or Gate(),
    )
    return RayExecutor(FAKE_RAY, job, leases)  # pyright: ignore[reportArgumentType]  # a fake


def make_calls(count: int, content: RecordDict | None = None) -> list[ClientCall]:
    """Build calls that share one content; messages are named m0, m1 and so on."""
    become_server(1)
    shared = content or RecordDict()
    calls: list[ClientCall] = []
    for number in range(count):
        message = Message(shared, 1, "train")
        stamp(message, f"m{number}")
        calls.append(
            ClientCall(
                message=message,
                partition_id=number,
                server_round=1,
                phase="train",
                state=RecordDict(),
            )
        )
    return calls


def outcomes(
    leases: FakeLeases, count: int, *, timeout_s: float | None = None
) -> dict[str, str]:
    """Carry out calls; give each one's error, empty when well."""
    executor = make_executor(leases, timeout_s=timeout_s)
    executor.submit(make_calls(count))
    found: dict[str, str] = {}
    end_s = tick_s() + PATIENCE_S
    while len(found) < count and tick_s() < end_s:
        for outcome in executor.completed(timeout_s=0.1):
            assert outcome.message_id not in found
            found[outcome.message_id] = outcome.error
    executor.close()
    return found


def deadly(name: str, deaths: Sequence[Exception]) -> Callable[[ClientCall], object]:
    """Give an act in which one message is the end of the actors that first get it."""
    left = list(deaths)

    def act(call: ClientCall) -> object:
        is_it = call.message.metadata.message_id == name
        return left.pop(0) if is_it and left else None

    return act


@pytest.mark.parametrize("death", [ActorDiedError("crash"), OutOfMemoryError("memory")])
def test_the_calls_of_a_dead_actor_are_repeated_by_a_new_one(death: Exception) -> None:
    """Calls are pure, so nobody notices; memory that ran out is a death like others."""
    leases = FakeLeases(2, deadly("m3", [death]))
    assert outcomes(leases, 40) == {f"m{number}": "" for number in range(40)}
    assert len(leases.ended) == 1


def test_a_client_that_kills_every_actor_fails_alone() -> None:
    """The others of its batch are carried out; nothing waits behind a suspect."""
    leases = FakeLeases(2, deadly("m3", [ActorDiedError("crash")] * 9))
    found = outcomes(leases, 40)
    assert found.pop("m3") == (
        "The worker process died (ActorDiedError: crash), 3 times with this client."
    )
    assert set(found.values()) == {""}
    assert len(found) == 39
    assert len(leases.ended) == 3
    alone = [batch for batch in leases.batches if "m3" in batch]
    assert [len(batch) == 1 for batch in alone] == [False, True, True]


def test_two_deadly_clients_do_not_take_others_with_them() -> None:
    """Even when both were in one batch."""
    acts = [deadly(name, [ActorDiedError("crash")] * 9) for name in ("m0", "m1")]
    leases = FakeLeases(1, lambda call: acts[0](call) or acts[1](call))
    found = outcomes(leases, 30)
    assert sorted(name for name, error in found.items() if error) == ["m0", "m1"]
    assert len(found) == 30


def test_a_content_that_calls_share_goes_to_each_actor_once() -> None:
    """The model of a round: later batches name it only."""
    leases = FakeLeases(2, lambda _: None)
    outcomes(leases, 100)
    assert len(leases.contents) > 6
    assert sum(content is not None for content in leases.contents) == 2


def test_a_content_is_taken_as_it_is_when_it_is_submitted() -> None:
    """A server may change its records for the next message at once."""
    leases = FakeLeases(1, lambda _: None)
    executor = make_executor(leases)
    content = RecordDict({"config": ConfigRecord({"lr": 1.0})})
    with executor._lock:  # nothing can be given before the change
        executor.submit(make_calls(1, content))
        content.config_records["config"]["lr"] = 2.0
    assert len(executor.completed(timeout_s=PATIENCE_S)) == 1
    executor.close()
    [seen] = leases.contents
    assert seen is not None
    assert seen.config_records["config"]["lr"] == pytest.approx(1.0)


def test_a_client_that_is_stopped_ends_its_actor_and_spares_the_rest() -> None:
    """What the actor did before counts; what it had not begun is carried out elsewhere."""
    hung = iter(["hung"])
    leases = FakeLeases(
        1, lambda call: next(hung, None) if call.partition_id == 1 else None
    )
    assert set(outcomes(leases, 20, timeout_s=600.0)) == {f"m{n}" for n in range(20)}
    assert len(leases.ended) == 1


def test_an_actor_that_never_answers_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs where no signal reaches it: first its batch, then the call alone."""
    hangs, now_s = threading.Event(), 0.0

    def clock() -> float:
        nonlocal now_s
        now_s += hangs.is_set()  # it stands still for those that answer, however slowly
        return now_s

    def act(call: ClientCall) -> object:
        if call.partition_id != 2:
            return None
        hangs.set()
        return NEVER

    class Ending(FakeLeases):
        def end(self, slots: Iterable[Slot]) -> None:
            hangs.clear()
            super().end(slots)

    monkeypatch.setattr(ray_executor, "tick_s", clock)
    monkeypatch.setattr(ray_crew, "tick_s", clock)
    monkeypatch.setattr(ray_executor, "_GRACE_S", 0.05)
    leases = Ending(1, act)
    found = outcomes(leases, 10, timeout_s=0.02)
    assert found.pop("m2") == "TimeoutError: the client took longer than 0.02 s."
    assert set(found.values()) == {""}
    assert len(found) == 9


def test_the_end_of_the_session_is_a_coded_error_and_no_wait() -> None:
    """Ray itself would wait a minute and then end this process."""
    leases = FakeLeases(1, lambda _: ActorDiedError("gone"))
    executor = make_executor(leases)
    executor.submit(make_calls(1))
    leases.is_alive = False
    with pytest.raises(EngineError, match="FLIP-500"):
        executor.completed(timeout_s=PATIENCE_S)
    executor.close()
    assert leases.reusable == []


def test_silence_is_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session may be gone without a word."""
    monkeypatch.setattr(ray_executor, "_SILENCE_S", 0.05)
    leases = FakeLeases(1, lambda _: NEVER)
    executor = make_executor(leases)
    executor.submit(make_calls(1))
    assert executor.completed(timeout_s=0.1) == []
    leases.is_alive = False
    with pytest.raises(EngineError, match="ended in the middle"):
        executor.completed(timeout_s=PATIENCE_S)
    executor.close()


@pytest.mark.parametrize("num_failures", [0, 2])
def test_while_the_gate_is_closed_nobody_begins_and_nothing_is_lost(
    store: type[FakeStore], num_failures: int, *, are_here: bool
) -> None:
    """The fifth client sees the gate closed behind it; the others wait, each comes once.

    Where Ray's head is away for a while, actors of other machines hear of it later.
    """
    gate, begun = Gate(), list[str]()
    store.failures.extend([RuntimeError("the head does not answer")] * num_failures)

    def act(call: ClientCall) -> None:
        begun.append(call.message.metadata.message_id)
        if len(begun) == 5:
            gate.close()
            end_s = tick_s() + PATIENCE_S
            while not (are_here or store.texts) and tick_s() < end_s:
                time.sleep(0.001)

    leases = FakeLeases(1, act)
    executor = make_executor(leases, gate=gate)
    executor.submit(make_calls(40))
    found = set[str]()
    end_s = tick_s() + PATIENCE_S
    while len(found) < 5 and tick_s() < end_s:
        found |= {each.message_id for each in executor.completed(timeout_s=PATIENCE_S)}
    found |= {each.message_id for each in executor.completed(timeout_s=0.2)}
    assert found == {*begun}
    assert len(begun) == 5
    threading.Timer(0.1, gate.open).start()
    end_s = tick_s() + PATIENCE_S
    while len(found) < 40 and tick_s() < end_s:
        new = {each.message_id for each in executor.completed(timeout_s=PATIENCE_S)}
        assert not new & found
        found |= new
    assert len(found) == len(begun) == 40
    executor.close()
    assert store.texts == {}
    assert leases.ended == []


def test_an_app_that_cannot_be_loaded_is_named_with_its_cause() -> None:
    """And the actors are given back."""
    leases = FakeLeases(2, lambda _: None)
    leases.problem = ImportError("no module named torchvision")
    with pytest.raises(AppImportError, match="no module named torchvision"):
        make_executor(leases)
    assert leases.reusable == [False, False]


@pytest.mark.parametrize(
    ("app", "expected"), [(ScenarioApp(scenario_json="{}"), True), (ProbeApp(), False)]
)
def test_only_our_own_apps_leave_an_actor_as_it_was(
    app: AppSource, *, expected: bool
) -> None:
    """Any other app may have changed anything in the processes that it ran in."""
    leases = FakeLeases(2, lambda _: None)
    make_executor(leases, app=app).close()
    assert leases.reusable == [expected, expected]


def test_an_actor_that_hangs_up_is_replaced(*, are_here: bool) -> None:
    """However that came about: without its connection it is of no use."""
    first = iter([True])
    leases = FakeLeases(1, lambda _: None)
    serve_until = leases._serve_until

    def leave_at_first(end: Reference, actor: SimpleNamespace) -> None:
        if next(first, False):
            actor.channel.close()
            end.settle(None)
        else:
            serve_until(end, actor)

    leases._serve_until = leave_at_first
    assert set(outcomes(leases, 20).values()) == {""}
    assert len(leases.ended) == int(are_here)


def test_memory_and_sockets_are_closed_with_the_executor() -> None:
    """A lab runs one after another in one process."""
    gate = Gate()
    assert gate.descriptor  # the run's own, open for as long as somebody holds it
    leases = FakeLeases(2, lambda _: None)
    before = num_descriptors()
    executor = make_executor(leases, gate=gate)
    executor.submit(make_calls(40))
    executor.completed(timeout_s=PATIENCE_S)
    executor.close()
    end_s = tick_s() + PATIENCE_S
    while num_descriptors() > before and tick_s() < end_s:
        gc.collect()  # of the actors' ends, in their threads
    assert num_descriptors() <= before
