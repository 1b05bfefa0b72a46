"""Runs as real processes: they outlive whoever launched them and leave no gap behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from flip_lab.core.errors import (
    RunLostError,
    RunNotFoundError,
    RunTimeoutError,
    SecondWriterError,
    StoreNotWritableError,
)
from flip_lab.core.events import EventKind
from flip_lab.core.state import RunState
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.store.journal import JournalWriter
from flip_lab.store.layout import LabDir

NUM_ROUNDS = 5
LIVING = {RunState.PENDING, RunState.STARTING, RunState.RUNNING}
Until = Callable[[Callable[[], bool]], None]

FOLLOW = """
import sys, time
from flip_lab import Lab
run, seen, final = Lab().run(sys.argv[1]), [], False
while not final:
    final = run.state.is_final
    seen += [event.sequence for event in run.events(after=seen[-1] if seen else -1)]
    time.sleep(0.02)
print(seen)
"""

RE_ATTACH = """
import json, sys, time
from flip_lab import Lab
before = time.perf_counter()
run = Lab().run(sys.argv[1])
state = run.state
print(json.dumps({"state": state.value, "attach_s": time.perf_counter() - before}))
run.wait()
"""

NOTEBOOK = """
import sys
import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from flip_lab import Lab
from flip_lab.runs.inputs import App

STEP = 3.0  # a global of __main__, as in a notebook
server_app, client_app = ServerApp(), ClientApp()

class Counter:
    def __init__(self, step):
        self.step = step

def trained(weights):
    return weights + Counter(STEP).step

@server_app.main()
def main(grid, context):
    start = ArrayRecord([np.zeros(2)])
    FedAvg(fraction_evaluate=0.0).start(grid=grid, initial_arrays=start, num_rounds=2)

@client_app.train()
def train(message, context):
    [weights] = message.content["arrays"].to_numpy_ndarrays()
    weights = trained(weights) + np.random.random() * context.run_config["noise"]
    metrics = MetricRecord({"num-examples": 1})
    content = RecordDict({"arrays": ArrayRecord([weights]), "metrics": metrics})
    return Message(content, reply_to=message)

settings = {"num_nodes": 3, "run_config": {"noise": 0.5}}
app = App(server_app=server_app, client_app=client_app, **settings)
STEP = 4.0  # cells run in any order: what counts is the value at launch
for engine in sys.argv[1:]:
    run = Lab().launch(app, on=engine, workers=2)
    result = run.result()
    print(run.run_id, result.model_sha256, float(result.arrays["0"].min()), flush=True)
"""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A run that two other processes read while it was written."""

    run: Run
    first_state: RunState
    reader_outputs: list[str]


def gap_free(run: Run) -> bool:
    """Whether the events are numbered from 0 without a gap."""
    sequences = [event.sequence for event in run.events()]
    return bool(sequences) and sequences == list(range(len(sequences)))


def rounds_begun(run: Run) -> int:
    """Count the rounds that have begun."""
    return sum(event.kind is EventKind.ROUND_STARTED for event in run.events())


def lab_dir(lab: Lab) -> LabDir:
    """Give the lab's directory as the store knows it."""
    return LabDir(lab.path)


@pytest.fixture(scope="module")
def watched(
    shared_lab: Lab, slow_app: Path, start: Callable[..., subprocess.Popen[str]]
) -> Watched:
    """Give an uninterrupted run, read by two processes while it was under way."""
    run = shared_lab.launch(slow_app, overrides={"nap-s": 1.0})
    first_state = run.state
    readers = [start("-c", FOLLOW, run.run_id, lab=shared_lab.path) for _ in range(2)]
    run.wait(240)
    outputs = [reader.communicate(timeout=240) for reader in readers]
    assert [error for _, error in outputs] == ["", ""]
    return Watched(
        run=run, first_state=first_state, reader_outputs=[output for output, _ in outputs]
    )


@pytest.fixture
def kernel(
    shared_lab: Lab, environment: Mapping[str, str]
) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    """Give a real Jupyter kernel; nothing is left of it afterwards."""
    manager = KernelManager(kernel_name="python3")
    env = {**environment, "FLIP_LAB_HOME": str(shared_lab.path)}
    manager.start_kernel(env=env, cwd=str(shared_lab.path.parent))
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def test_a_launch_returns_at_once_and_the_run_completes(watched: Watched) -> None:
    """The handle is there before the run has begun; the result after its end."""
    assert watched.first_state in LIVING
    assert watched.run.state is RunState.COMPLETED
    assert watched.run.error is None
    result = watched.run.result()
    assert result.num_rounds == NUM_ROUNDS
    assert result.arrays["rounds"].tolist() == [NUM_ROUNDS]
    assert result.metrics == {"train_loss": 0.5}
    assert gap_free(watched.run)


def test_two_kernels_read_while_a_run_writes(watched: Watched) -> None:
    """Each sees every event exactly once, in order."""
    everything = [event.sequence for event in watched.run.events()]
    assert [json.loads(output) for output in watched.reader_outputs] == [everything] * 2


def test_runs_are_listed_and_found_by_a_part_of_their_id(
    watched: Watched, shared_lab: Lab
) -> None:
    """From another ``Lab`` object, as another kernel has it."""
    lab = Lab(shared_lab.path)
    listed = lab.runs().set_index("run_id").loc[watched.run.run_id]
    assert (listed["state"], listed["rounds_done"]) == ("completed", NUM_ROUNDS)
    assert lab.run(watched.run.run_id[-4:]).run_id == watched.run.run_id


def test_the_tables_hold_what_the_events_say(watched: Watched, shared_lab: Lab) -> None:
    """One row for each client and round, one for each metric and round."""
    assert len(watched.run.clients()) == 2 * NUM_ROUNDS
    assert watched.run.metrics()["server_round"].tolist() == [1, 2, 3, 4, 5]
    [count] = shared_lab.sql(
        "SELECT count(*) AS n FROM events WHERE run_id = ?", [watched.run.run_id]
    )["n"]
    assert count == len(watched.run.events())


def test_a_killed_run_is_a_failed_one(
    shared_lab: Lab,
    slow_app: Path,
    until: Until,
    process_of: Callable[[Run], psutil.Process],
) -> None:
    """Kill -9 in mid-run: all events so far are kept, and everybody sees the end."""
    run = shared_lab.launch(slow_app, overrides={"num-server-rounds": 500})
    until(lambda: rounds_begun(run) >= 2)
    process_of(run).kill()
    assert run.wait(120) is RunState.FAILED
    assert isinstance(run.error, RunLostError)
    assert run.error.code == "FLIP-305"
    assert gap_free(run)
    row = shared_lab.sql(
        "SELECT state, error_code FROM runs WHERE run_id = ?", [run.run_id]
    )
    assert row.to_dict("records") == [{"state": "failed", "error_code": "FLIP-305"}]
    with pytest.raises(RunLostError):
        run.result()


def test_a_table_shows_a_killed_run_as_failed_though_nobody_looked_at_it(
    shared_lab: Lab,
    slow_app: Path,
    until: Until,
    process_of: Callable[[Run], psutil.Process],
) -> None:
    """Also one that was killed before its first round."""
    run = shared_lab.launch(slow_app, overrides={"num-server-rounds": 500})
    process = process_of(run)
    process.kill()
    until(lambda: not process.is_running())
    listed = Lab(shared_lab.path).runs().set_index("run_id").loc[run.run_id]
    assert (listed["state"], listed["error_code"]) == ("failed", "FLIP-305")
    assert gap_free(run)


def test_a_run_survives_interrupt_and_death_of_its_kernel(
    kernel: tuple[KernelManager, BlockingKernelClient],
    watched: Watched,
    shared_lab: Lab,
    slow_app: Path,
    until: Until,
    start: Callable[..., subprocess.Popen[str]],
    record_property: Callable[[str, object], None],
) -> None:
    """And ends with the very model of the uninterrupted run."""
    manager, client = kernel
    known = set(shared_lab.runs()["run_id"])
    asked = client.execute(
        "from flip_lab import Lab\n"
        f"run = Lab().launch({str(slow_app)!r}, overrides={{'nap-s': 3.0}})\n"
        "run.wait()"
    )
    until(lambda: len(shared_lab.runs()) > len(known))
    [run_id] = set(shared_lab.runs()["run_id"]) - known
    run = shared_lab.run(run_id)
    until(lambda: rounds_begun(run) >= 1)
    manager.interrupt_kernel()  # SIGINT to the kernel's whole process group
    while (reply := client.get_shell_msg(timeout=120))["parent_header"]["msg_id"] != asked:
        pass
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    until(lambda: rounds_begun(run) >= 3)
    assert run.state is RunState.RUNNING
    os.killpg(os.getpgid(manager.provisioner.pid), signal.SIGKILL)  # type: ignore[union-attr]  # it has started

    other = start("-c", RE_ATTACH, run_id, lab=shared_lab.path)
    output, error = other.communicate(timeout=240)
    assert other.returncode == 0, error
    attached = json.loads(output)
    assert attached["state"] in {"running", "completed"}
    record_property("attach_s", attached["attach_s"])
    print(f"re-attached in {attached['attach_s'] * 1000:.0f} ms")  # noqa: T201  # a figure to look at
    assert run.state is RunState.COMPLETED
    assert gap_free(run)
    assert run.outcome().model_sha256 == watched.run.outcome().model_sha256


def test_a_stopped_run_keeps_the_model_that_it_had(
    shared_lab: Lab, slow_app: Path, until: Until
) -> None:
    """While it runs nobody else may write; then it ends in good order."""
    run = shared_lab.launch(slow_app, overrides={"num-server-rounds": 500})
    until(lambda: rounds_begun(run) >= 3)
    with pytest.raises(SecondWriterError):
        JournalWriter(lab_dir(shared_lab), run.run_id)
    with pytest.raises(RunTimeoutError):
        run.wait(0)
    run.stop()
    assert run.wait(120) is RunState.STOPPED
    result = run.result()
    assert 2 <= result.num_rounds < 500
    [model] = [event for event in run.events() if event.kind is EventKind.ARTIFACT]
    assert result.arrays["rounds"].tolist() == [model.server_round]
    assert model.server_round - result.num_rounds in {0, 1}  # trained, not yet evaluated
    [wish] = [event for event in run.events() if event.kind is EventKind.CONTROL]
    assert wish.body["command"] == "stop"
    assert wish.body["author"]
    run.stop()
    assert run.state is RunState.STOPPED
    assert gap_free(run)


@pytest.mark.parametrize("place", ["/proc/nowhere", "file/in/the/way"])
def test_a_lab_that_cannot_be_written_is_refused(tmp_path: Path, place: str) -> None:
    """At once, with a fix; not even root can write there."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreNotWritableError) as caught:
        Lab(tmp_path / place)
    assert caught.value.code == "FLIP-401"


@pytest.mark.parametrize("run_id", ["261121-000000-none", "", "*", "../runs"])
def test_an_unknown_run_is_a_coded_error(shared_lab: Lab, run_id: str) -> None:
    """Whatever the name is."""
    with pytest.raises(RunNotFoundError) as caught:
        shared_lab.run(run_id)
    assert caught.value.code == "FLIP-301"


@pytest.mark.parametrize("name", ["import_error", "all_fail"])
def test_a_broken_app_fails_with_its_own_words(shared_lab: Lab, name: str) -> None:
    """The run's error is that of the app, found again by any handle."""
    apps = Path(__file__).parents[1] / "apps" / "broken"
    run = shared_lab.launch(apps / name, num_nodes=2)
    assert run.wait(120) is RunState.FAILED
    error = shared_lab.run(run.run_id).error
    assert error is not None
    words = {
        "import_error": ("FLIP-202", "a_library_that_nobody_installed"),
        "all_fail": ("FLIP-303", "every client fails on purpose"),
    }
    code, detail = words[name]
    assert error.code == code
    assert detail in error.detail
    with pytest.raises(type(error)):
        run.result()


def test_one_handle_serves_many_threads(shared_lab: Lab, slow_app: Path) -> None:
    """A live view asks while a cell waits: every thread sees the run's life once."""
    run = shared_lab.launch(slow_app, overrides={"num-server-rounds": 3})

    def look(_: int) -> RunState:
        while not (state := run.state).is_final:
            pass
        return state

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(look, range(8))) == [RunState.COMPLETED] * 8


def test_a_partly_failed_app_completes(shared_lab: Lab) -> None:
    """The failures are facts of their clients."""
    app = Path(__file__).parents[1] / "apps" / "broken" / "some_fail"
    run = shared_lab.launch(app, num_nodes=3)
    assert run.wait(120) is RunState.COMPLETED
    clients = run.clients()
    failed = clients[clients["error_code"] != 0]
    assert set(failed["partition_id"]) == {1}
    assert len(failed) == 2
    assert "partition 1 fails on purpose" in failed["error"].iloc[0]


@pytest.mark.ray
def test_apps_from_a_notebook_may_use_its_globals(
    shared_lab: Lab, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """With the values at launch, on both engines, with the same bits."""
    script = tmp_path / "notebook.py"
    script.write_text(NOTEBOOK)
    done = start(str(script), "in_process", "ray", lab=shared_lab.path)
    output, error = done.communicate(timeout=400)
    assert done.returncode == 0, error
    (_, first, least), (_, second, _) = (line.split() for line in output.splitlines())
    assert first == second
    assert 8.0 < float(least) < 9.0  # two rounds of STEP = 4 and some noise
