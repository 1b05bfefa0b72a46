"""Local worker processes that are killed, hang and overeat; and the same bits without."""

from __future__ import annotations

import gc
import importlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flip_lab.core.errors import AppImportError, EngineStartError
from flip_lab.engines import auto as autos
from flip_lab.engines import nursery as nurseries
from flip_lab.engines.apps import ScenarioApp
from flip_lab.engines.base import Job
from flip_lab.engines.catalogue import ENGINES
from flip_lab.engines.flower.aggregate import fast_strategies
from flip_lab.engines.gate import Gate
from flip_lab.engines.nursery import Nursery
from flip_lab.engines.simulation import SimulationGrid
from flip_lab.fl.data.catalog import load_dataset
from flip_lab.fl.models import build_model
from flip_lab.fl.scenarios import load_scenario, scenario_to_json
from flip_lab.fl.strategies import build_strategy
from flip_lab.fl.training import LocalTraining
from flip_lab.testing.probe_app import ProbeApp

_PATIENCE_S = 240.0
# Who is at work for so long hangs: a busy machine lets anybody wait for a while.
_LONG_S = 4.0
_APPS = Path(__file__).parent / "apps" / "mortal"
Until = Callable[[Callable[[], bool]], None]


@pytest.fixture(scope="module", autouse=True)
def nursery() -> Iterator[None]:
    """Make one nursery for all tests, as a run process does for itself."""
    with (
        pytest.MonkeyPatch.context() as patch,
        Nursery.spawn(("flip_lab.engines.process_worker",)) as young,
    ):
        patch.syspath_prepend(str(_APPS))
        patch.setattr(nurseries, "_kept", [young])
        yield


def mortal(**how: Any) -> Any:  # noqa: ANN401  # an AppSource
    """Give the source of the app that workers find on the search path."""
    return importlib.import_module("mortal_app").MortalApp(**how)


def job(*, num_nodes: int = 12, workers: int = 2, **more: Any) -> Job:  # noqa: ANN401  # fields
    """Give the job of a small federation."""
    fields = {"app": mortal(), "seed": 5, **more}
    return Job(
        run_id="r",
        num_nodes=num_nodes,
        run_config={},
        answers_describe=False,
        workers=workers,
        work_dir=Path.cwd(),
        **fields,
    )


@contextmanager
def opened(engine: str = "processes", **more: Any) -> Iterator[SimulationGrid]:  # noqa: ANN401  # fields of a job
    """Open a Grid and close it again."""
    with ENGINES.get(engine)().open(job(**more)) as grid:
        assert isinstance(grid, SimulationGrid)
        yield grid


def asking(
    grid: SimulationGrid,
    action: str,
    *,
    times: int = 1,
    group: str = "",
    **config: Any,  # noqa: ANN401  # values of a config
) -> list[Message]:
    """Build one message to each node, or several."""
    content = RecordDict(
        {"config": ConfigRecord(config), "model": ArrayRecord([np.arange(20_000.0)])}
    )
    nodes = [*grid.get_node_ids()] * times
    return [Message(content, node, action, group_id=group) for node in nodes]


def ask(grid: SimulationGrid, action: str, **how: Any) -> list[Message]:  # noqa: ANN401  # as above
    """Ask every node and wait."""
    messages = asking(grid, action, **how)
    replies = list(grid.send_and_receive(messages, timeout=_PATIENCE_S))
    assert len(replies) == len(messages)
    return replies


def numbers(reply: Message, name: str) -> Any:  # noqa: ANN401  # a metric
    """Give a metric of a reply that is none of an error."""
    assert reply.has_content(), reply.error
    return reply.content.metric_records["metrics"][name]


def errors(replies: list[Message]) -> dict[int, str]:
    """Give what went wrong, by partition."""
    found = enumerate(replies)
    return {n: reply.error.reason or "" for n, reply in found if reply.has_error()}


def all_well(grid: SimulationGrid, calls: int) -> None:
    """Check that every node works, and has counted so many calls."""
    replies = ask(grid, "query.work")
    assert [numbers(reply, "calls") for reply in replies] == [calls] * len(replies)
    assert {numbers(reply, "total") for reply in replies} == {sum(range(20_000))}


def workers_of(grid: SimulationGrid) -> list[psutil.Process]:
    """Give the worker processes."""
    return [psutil.Process(process_id) for process_id in worker_ids(grid)]


def worker_ids(grid: SimulationGrid) -> list[int]:
    """Give the process ids of the workers, dead ones that have no heir yet included."""
    return [worker._process_id for worker in grid._executor._workers]  # pyright: ignore[reportAttributeAccessIssue]  # the executor's


# --- death -----------------------------------------------------------------------------


def test_a_killed_worker_is_replaced_and_nobody_notices(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In the middle of a batch; the calls are repeated, none of them counts twice."""
    with opened(num_nodes=60) as grid:
        replies = ask(grid, "query.die", victim=11, once=str(tmp_path / "dead"))
        assert (tmp_path / "dead").exists()
        assert [numbers(reply, "calls") for reply in replies] == [1] * 60
        # The dead one may not have reported anything; and on a slow machine the other one
        # may have done all the work before there was a new one.
        assert len({numbers(reply, "process-id") for reply in replies}) in {1, 2, 3}
        assert "was killed by SIGKILL; a new one repeats its clients" in caplog.text
        all_well(grid, 2)


@pytest.mark.parametrize(
    ("action", "cause"),
    [("die", "was killed by SIGKILL"), ("leave", "ended with status 9")],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_client_that_kills_its_worker_each_time_is_given_up(
    action: str, cause: str, workers: int
) -> None:
    """The error says how it ended; its neighbours are carried out."""
    with opened(num_nodes=30, workers=workers) as grid:
        replies = ask(grid, f"query.{action}", victim=7)
        assert errors(replies) == {
            7: f"The worker process {cause}, 3 times with this client."
        }
        assert grid.node_states().keys() == {*grid.get_node_ids()} - {
            replies[7].metadata.src_node_id
        }


def test_a_killed_nursery_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its workers end with it; another one is made and the calls go on."""
    monkeypatch.setattr(nurseries, "_kept", [])
    with opened(num_nodes=8) as grid:
        ids = list(grid.push_messages(asking(grid, "query.work", nap_s=1.0)))
        mother = grid._executor._cradle._nursery  # pyright: ignore[reportAttributeAccessIssue]  # the executor's
        os.kill(mother.process_id, signal.SIGKILL)
        replies = []
        end_s = time.monotonic() + _PATIENCE_S
        while len(replies) < 8 and time.monotonic() < end_s:
            replies += grid.await_replies(ids, timeout_s=1)
        assert [numbers(reply.message, "calls") for reply in replies] == [1] * 8
        all_well(grid, 2)


# --- deadlines -------------------------------------------------------------------------


def test_a_client_that_hangs_is_stopped_and_the_others_are_not() -> None:
    """It alone is blamed, also when short calls came just before it in its batch."""
    with opened(num_nodes=40, client_timeout_s=_LONG_S) as grid:
        replies = ask(grid, "query.hang", victim=25)
        assert errors(replies) == {25: "TimeoutError: the client took longer than 4.0 s."}
        all_but_one = [reply for n, reply in enumerate(replies) if n != 25]
        assert [numbers(reply, "calls") for reply in all_but_one] == [1] * 39
        time.sleep(_LONG_S + 0.5)  # a worker that has nothing to do is not late
        replies = ask(grid, "query.work")
        assert [numbers(reply, "calls") for reply in replies].count(2) == 39


def test_in_process_a_client_that_hangs_is_interrupted() -> None:
    """Also one that catches what interrupts it, once; the alarm is off afterwards."""
    before = signal.getsignal(signal.SIGALRM)
    with opened("in_process", num_nodes=4, client_timeout_s=_LONG_S) as grid:
        replies = ask(grid, "query.hang", victim=2)
        assert list(errors(replies)) == [2]
        assert errors(replies)[2].startswith(
            "TimeoutError: the client took longer than 4.0"
        )
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


# --- pauses ----------------------------------------------------------------------------


def collect(
    grid: SimulationGrid, wanted: set[str], at_least: int, patience_s: float = _PATIENCE_S
) -> list[Message]:
    """Wait for replies; take their ids out of those that are wanted."""
    found: list[Message] = []
    end_s = time.monotonic() + patience_s
    while len(found) < at_least and time.monotonic() < end_s:
        new = [each.message for each in grid.await_replies(wanted, timeout_s=0.2)]
        wanted -= {each.metadata.reply_to_message_id for each in new}
        found += new
    return found


@pytest.mark.parametrize("engine", ["in_process", "processes", "vectorised"])
def test_a_pause_takes_nothing_of_a_clients_time(engine: str) -> None:
    """It lasts longer than any client may; nobody is blamed, and no worker replaced."""
    gate = Gate()
    with opened(engine, num_nodes=16, client_timeout_s=_LONG_S, gate=gate) as grid:
        wanted = {*grid.push_messages(asking(grid, "query.work", nap_s=0.6))}
        replies = collect(grid, wanted, 2)
        gate.close()
        replies += collect(grid, wanted, len(wanted), patience_s=_LONG_S + 1.0)
        assert wanted
        gate.open()
        replies += collect(grid, wanted, len(wanted))
        assert [numbers(reply, "calls") for reply in replies] == [1] * 16


def test_a_client_that_hangs_is_stopped_in_a_pause_too(tmp_path: Path) -> None:
    """It is at work; and what its worker held is carried out after the pause."""
    gate, begun = Gate(), tmp_path / "begun"
    with opened(num_nodes=6, workers=1, client_timeout_s=_LONG_S, gate=gate) as grid:
        messages = asking(grid, "query.hang", victim=2, begun=str(begun))
        wanted = {*grid.push_messages(messages)}
        replies = collect(grid, wanted, 2)
        while not begun.exists():
            time.sleep(0.01)
        gate.close()
        replies += collect(grid, wanted, 3 - len(replies))
        assert len(replies) == 3, "in the pause"
        gate.open()
        replies += collect(grid, wanted, len(wanted))
        failed = [each.error.reason for each in replies if each.has_error()]
        assert failed == ["TimeoutError: the client took longer than 4.0 s."]
        assert len(replies) == 6


def test_workers_that_are_killed_in_a_pause_are_replaced() -> None:
    """All of them, at work and afterwards; each call is carried out once in the end."""
    gate = Gate()
    with opened(num_nodes=40, gate=gate) as grid:
        wanted = {*grid.push_messages(asking(grid, "query.work", nap_s=0.2))}
        replies = collect(grid, wanted, 2)
        gate.close()
        for _ in range(2):
            killed = {*worker_ids(grid)}
            for process_id in killed:
                os.kill(process_id, signal.SIGKILL)
            end_s = time.monotonic() + _PATIENCE_S
            while killed & {*worker_ids(grid)} and time.monotonic() < end_s:
                replies += collect(grid, wanted, len(wanted), patience_s=0.5)
        assert wanted
        gate.open()
        replies += collect(grid, wanted, len(wanted))
        assert [numbers(reply, "calls") for reply in replies] == [1] * 40
        all_well(grid, 2)


# --- memory ----------------------------------------------------------------------------


def test_large_states_travel_both_ways_without_a_deadlock() -> None:
    """Twenty megabytes a client, several batches in flight, two rounds."""
    with opened(num_nodes=8) as grid:
        for _ in range(2):
            ask(grid, "query.carry")
        for state in grid.node_states().values():
            [load] = state.array_records["load"].to_numpy_ndarrays()
            assert (load == 2).all()


def test_many_large_replies_are_held_at_once() -> None:
    """More than there are usually open files; each keeps its own memory."""
    with opened(num_nodes=1300) as grid:
        replies = ask(grid, "query.fill", size=40_000)
        for number, reply in enumerate(replies):
            [values] = reply.content.array_records["arrays"].to_numpy_ndarrays()
            assert values.tobytes() == bytes([number % 256]) * 40_000


def test_a_client_without_memory_is_a_client_that_failed() -> None:
    """Its worker lives on."""
    with opened() as grid:
        processes = workers_of(grid)
        replies = ask(grid, "query.eat", victim=3)
        assert list(errors(replies)) == [3]
        assert "MemoryError" in errors(replies)[3]
        assert workers_of(grid) == processes


def test_a_reply_that_cannot_be_sent_is_a_failed_call() -> None:
    """The others of its batch are sent, and its worker lives on."""
    with opened(num_nodes=30) as grid:
        processes = workers_of(grid)
        replies = ask(grid, "query.odd", victim=3)
        assert list(errors(replies)) == [3]
        assert errors(replies)[3].startswith("The reply could not be sent.")
        assert workers_of(grid) == processes


# --- start and end ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "raised"), [("raise", AppImportError), ("exit", EngineStartError)]
)
@pytest.mark.parametrize("spare", [0, 1])
def test_an_app_that_does_not_load_ends_the_run(
    tmp_path: Path, how: str, raised: type[Exception], spare: int
) -> None:
    """At the start, and when a worker must be replaced; no process is left."""
    source = mortal(on_import=how, notes=str(tmp_path), spare=spare)

    def run() -> None:
        with opened(app=source, workers=1) as grid:
            workers_of(grid)[0].kill()
            ask(grid, "query.work")

    with pytest.raises(raised):
        run()
    pids = [int(path.name) for path in tmp_path.iterdir()]
    gone, alive = psutil.wait_procs([p for p in map(_process, pids) if p], timeout=60)
    assert not alive, gone


def _process(process_id: int) -> psutil.Process | None:
    try:
        return psutil.Process(process_id)
    except psutil.NoSuchProcess:
        return None


def test_closing_in_the_middle_of_work_leaves_nothing(until: Until) -> None:
    """No process, no open file, whatever was under way."""
    with opened() as grid:
        all_well(grid, 1)  # what is made once and kept
    del grid
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # names only
    with opened() as grid:
        ask(grid, "query.fill", size=100_000)
        grid.push_messages(asking(grid, "query.work", times=3, nap_s=30.0))
        grid.await_replies(["nobody"], timeout_s=0.2)
        processes = workers_of(grid)
        assert all(process.is_running() for process in processes)
    del grid
    gc.collect()
    until(lambda: not any(process.is_running() for process in processes))
    until(lambda: len(os.listdir("/proc/self/fd")) <= before)  # noqa: PTH208  # as above


# --- the same bits ---------------------------------------------------------------------


def draws(engine: str, *, seed: int, workers: int) -> list[Any]:
    """Let all nodes draw in two rounds and two phases."""
    with opened(engine, seed=seed, workers=workers, app=ProbeApp(), num_nodes=9) as grid:
        return [
            numbers(reply, "draws")
            for number in ("1", "2")
            for phase in ("train", "evaluate")
            for reply in ask(grid, f"{phase}.draw", group=number)
        ]


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**62))
def test_draws_are_the_same_on_any_number_of_workers(seed: int) -> None:
    """Whatever the seed."""
    expected = draws("in_process", seed=seed, workers=1)
    for workers in (1, 2, 4):
        assert draws("processes", seed=seed, workers=workers) == expected


def trained(engine: str, *, seed: int, workers: int) -> tuple[str, str]:
    """Train the digits for two rounds; give the model's id and all metrics."""
    scenario = load_scenario("digits-iid", {"seed": seed, "train.num_rounds": 2})
    text = scenario_to_json(scenario)
    of = replace(
        job(seed=seed, workers=workers, app=ScenarioApp(scenario_json=text)),
        num_nodes=scenario.data.num_partitions,
        run_config={"scenario": text},
    )
    model = build_model(scenario, load_dataset(scenario.data.dataset))
    with ENGINES.get(engine)().open(of) as grid, fast_strategies():
        random.seed(seed)  # the server draws the cohort
        found = build_strategy(scenario).start(
            grid=grid,
            initial_arrays=ArrayRecord(model.state_dict()),
            num_rounds=2,
            train_config=LocalTraining.from_spec(scenario.train).to_config(),
        )
    metrics = [found.train_metrics_clientapp, found.evaluate_metrics_clientapp]
    return found.arrays.object_id, repr(metrics)


@pytest.mark.parametrize(("seed", "workers"), [(0, 1), (1, 2), (2, 4)])
def test_a_scenario_gives_the_same_model_on_any_number_of_workers(
    seed: int, workers: int
) -> None:
    """The digits: every bit of the model and of the metrics."""
    expected = trained("in_process", seed=seed, workers=1)
    assert trained("processes", seed=seed, workers=workers) == expected


# --- auto ------------------------------------------------------------------------------


def places(replies: list[Message]) -> set[bool]:
    """Say whether clients worked in this process, elsewhere, or both."""
    return {numbers(reply, "process-id") == os.getpid() for reply in replies}


def test_auto_stays_for_little_work_and_moves_for_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """States go along; the move comes between two calls of one round, too."""
    monkeypatch.setattr(autos, "_WORTH_S", 60.0)  # little work takes long at times
    with opened("auto") as grid:
        assert places(ask(grid, "query.work")) == {True}
        assert grid._executor._workers is None  # pyright: ignore[reportAttributeAccessIssue]  # the executor's
        monkeypatch.setattr(autos, "_WORTH_S", grid._executor._spent_s + 0.1)  # pyright: ignore[reportAttributeAccessIssue]  # as above
        replies = ask(grid, "query.work", nap_s=0.04)
        assert places(replies) == {True, False}
        assert [numbers(reply, "calls") for reply in replies] == [2] * 12
        assert len(workers_of_auto(grid)) == 2
        all_well(grid, 3)


def workers_of_auto(grid: SimulationGrid) -> list[Any]:
    """Give the workers that were moved to."""
    return grid._executor._workers._workers  # pyright: ignore[reportAttributeAccessIssue]  # the executor's


@pytest.mark.parametrize("workers", [1, 2])
def test_auto_gives_the_same_bits(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is when a client draws."""
    monkeypatch.setattr(autos, "_WORTH_S", 0.0)
    expected = draws("in_process", seed=3, workers=1)
    assert draws("auto", seed=3, workers=workers) == expected


def test_auto_stays_where_no_worker_can_be_had(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning; the run goes on, and does not ask again."""
    monkeypatch.setattr(autos, "_WORTH_S", 0.0)
    asked: list[Job] = []

    def fail(of: Job) -> None:
        asked.append(of)
        raise EngineStartError("There is no new process.", fix="Free memory.")

    monkeypatch.setattr(autos, "ProcessExecutor", fail)
    with opened("auto") as grid:
        for calls in (1, 2, 3):
            all_well(grid, calls)
    assert len(asked) == 1
    assert caplog.text.count("Staying in one process") == 1


@pytest.mark.ray
def test_auto_stays_here_when_the_cluster_is_nowhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning names the cause."""
    ray = importlib.import_module("flip_lab.engines.ray")

    def refuse(_: object, of: Job) -> None:
        raise EngineStartError(f"Nobody answers for {of.run_id}.", fix="Start it.")

    monkeypatch.setattr(ray.RayEngine, "open", refuse)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with opened("auto") as grid:
        all_well(grid, 1)
    assert "Not using the Ray cluster of RAY_ADDRESS: " in caplog.text
