"""Logging, callbacks and debugging in real runs: all is there, no bit is changed."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

from flip_lab.core.callback import Callback
from flip_lab.core.errors import InvalidValueError
from flip_lab.core.events import ClientFact, EventKind
from flip_lab.core.listening import log
from flip_lab.core.state import RunState
from flip_lab.runs.lab import Lab
from flip_lab.runs.life_sign import is_alive
from flip_lab.runs.run import Run

APP = Path(__file__).parent / "apps" / "telling"
PATIENCE_S = 240.0
QUIET = {"logs": False}


def seen() -> Callback:
    """Give a callback of a class that no other process can import."""

    class Seen(Callback):
        """Draws, empties replies, logs, and fails once: none of it may reach the model."""

        def on_round_begin(self, server_round: int) -> None:
            """Draw from the global generator."""
            np.random.random(server_round)  # noqa: NPY002  # what must not change a bit

        def on_reply(self, fact: ClientFact, reply: Any) -> None:  # noqa: ANN401  # as declared
            """Empty what it was shown, and log what one client said."""
            reply.content.clear()
            if fact.phase == "train" and fact.partition_id == 2:
                log(noise_of_2=fact.metrics.get("noise_mean", 0.0))

        def on_round_end(
            self, server_round: int, metrics: Mapping[str, float], arrays: Mapping[str, Any]
        ) -> None:
            """Log what a round came to; the first time, fail after it."""
            log(loss_at_end=metrics["loss"], num_arrays=len(arrays))
            if server_round == 1:
                raise KeyError("late")

    return Seen()


def vector(run: Run) -> bytes:
    """Wait for a run and give the bits of its model."""
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    [array] = run.arrays().values()
    return array.tobytes()


@pytest.fixture(scope="module")
def plain(shared_lab: Lab) -> Run:
    """Give a run that logs nothing and has no callbacks."""
    run = shared_lab.launch(APP, on="in_process", seed=3, overrides=QUIET)
    run.wait(PATIENCE_S)
    return run


ENGINES = [
    "in_process",
    "processes",
    "auto",
    pytest.param("ray", marks=pytest.mark.ray),
]


@pytest.mark.parametrize("on", ENGINES)
def test_logging_and_callbacks_change_no_bit(shared_lab: Lab, plain: Run, on: str) -> None:
    """On every engine the model is that of a run without them, and all facts are there."""
    run = shared_lab.launch(APP, on=on, workers=2, seed=3, callbacks=[seen()])
    assert vector(run) == vector(plain)
    clients = run.client_metrics()
    noise = clients[clients.name == "noise_mean"]
    assert sorted(noise[["server_round", "partition_id"]].itertuples(index=False)) == [
        (at, partition) for at in (1, 2) for partition in range(3)
    ]
    assert set(clients[clients.name == "loss"].value) == {1.0, 2.0, 3.0}  # not 99
    metrics = run.metrics()
    server = metrics[metrics.scope == "server"]
    assert {(r.server_round, r.name) for r in server.itertuples()} == {
        (0, "rounds_wanted"),
        *((at, "length") for at in (1, 2)),
        (1, "noise_of_2"),
        (1, "loss_at_end"),
        (1, "num_arrays"),
    }
    logged = run.logged()
    assert sorted(logged.type.value_counts().items()) == [
        ("confusion_matrix", 6),
        ("histogram", 6),
        ("image", 6),
    ]
    histograms = [json.loads(value) for value in run.logged("noise").value]
    assert [sum(each["counts"]) for each in histograms] == [4] * 6
    pictures = run.logged("picture")
    assert all(run.artifact(each).startswith(b"\x89PNG") for each in pictures.sha256)
    warnings = [e.body for e in run.events() if e.kind is EventKind.WARNING]
    assert sorted(str(body["code"]) for body in warnings) == ["FLIP-313", "FLIP-314"]


def test_a_rerun_and_a_fork_have_the_callbacks_too(shared_lab: Lab) -> None:
    """They are kept with the run; what they log is compared like all else."""
    run = shared_lab.launch(APP, on="in_process", seed=3, callbacks=[seen()])
    run.wait(PATIENCE_S)
    again = shared_lab.rerun(run.run_id, timeout_s=PATIENCE_S)
    assert again.ok, again
    fork = run.fork(at_round=1)
    assert vector(fork) == vector(run)
    names = fork.metrics()
    assert set(names[names.scope == "server"].name) >= {"loss_at_end", "length"}
    assert "rounds_wanted" in set(names.name)  # new in the record of the fork


def test_what_was_logged_is_sealed_and_shared(
    shared_lab: Lab, tmp_path: Path, until: Callable[[Callable[[], bool]], None]
) -> None:
    """The same rows from Parquet, in another lab, with the images' files."""
    run = shared_lab.launch(APP, on="in_process", seed=4)
    run.wait(PATIENCE_S)
    before = run.logged()
    until(
        lambda: not is_alive(shared_lab.path / "runs" / run.run_id)
    )  # else none is sealed
    shared_lab.compact()
    assert run.logged().equals(before)
    path = shared_lab.export(tmp_path / "shared", [run.run_id], format="flip")
    [other] = Lab(tmp_path / "other").import_(path)
    assert other.logged().equals(before)
    assert other.artifact(before.sha256.dropna().iloc[0]).startswith(b"\x89PNG")


def test_a_failing_client_s_words_are_kept(shared_lab: Lab) -> None:
    """What it logged before it raised helps to see why."""
    run = shared_lab.launch(APP, on="in_process", seed=3, overrides={"ends": "client"})
    run.wait(PATIENCE_S)
    clients = run.clients()
    [metrics] = clients[(clients.error_code != 0) & (clients.server_round == 1)].metrics
    assert set(metrics) == {"noise_mean", "loss"}


def test_a_resumed_run_has_each_fact_once(shared_lab: Lab, plain: Run) -> None:
    """Its ServerApp logs its beginning again, which is on record already."""
    run = shared_lab.launch(APP, on="in_process", seed=3, overrides={"ends": "once"})
    assert run.wait(PATIENCE_S) is RunState.FAILED
    run.resume_from_checkpoint()
    assert vector(run) == vector(plain)
    metrics = run.metrics()
    server = metrics[metrics.scope == "server"]
    assert list(zip(server.server_round, server.name, strict=True)) == [
        (0, "rounds_wanted"),
        (1, "length"),
        (2, "length"),
    ]
    assert len(run.logged()) == 18


# --- in the kernel --------------------------------------------------------------------

PROLOGUE = """
import gc, json, logging, os, random, signal, sys, threading, traceback
import numpy as np, torch
from flwr.app import Array, ArrayRecord, RecordDict
from flwr.app.message.typeddict import TypedDict
import flip_lab
sys.modules["tellingapp"] = own = type(sys)("tellingapp")  # the kernel's own module
torch.set_num_threads(2)
APP = {app!r}

def state():
    loggers = [logging.getLogger(name) for name in (None, "flwr", "httpx")]
    return dict(
        directory=os.getcwd(),
        path=list(sys.path),
        own=sys.modules["tellingapp"] is own,
        torch=torch.get_num_threads(),
        signals=[signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)],
        loggers=[(each.level, list(each.handlers)) for each in loggers],
        random=(random.getstate(), np.random.get_state()[1].tolist()),
        torch_random=torch.get_rng_state().tolist(),
        frozen=gc.get_freeze_count(),
        threads=[t.name for t in threading.enumerate()],
        flower=[dict(vars(c)) for c in (ArrayRecord, RecordDict, TypedDict)],
        numpy=vars(Array)["numpy"],
        environment=dict(os.environ),
    )

lab = flip_lab.Lab()
before = state()

def check():
    after = state()
    assert not (changed := [key for key in before if before[key] != after[key]]), changed
"""


class InKernel(Protocol):
    """Runs code in a kernel of its own."""

    def __call__(self, code: str, *, typed: str = "") -> str:
        """Give what it printed; ``typed`` is what its user types."""
        ...


@pytest.fixture
def in_kernel(environment: Mapping[str, str], shared_lab: Lab) -> InKernel:
    """Give a way to run code in a kernel whose default lab is the shared one."""

    def run(code: str, *, typed: str = "") -> str:
        text = PROLOGUE.replace("{app!r}", repr(str(APP))) + textwrap.dedent(code)
        done = subprocess.run(
            [sys.executable, "-c", text],
            env={**environment, "FLIP_LAB_HOME": str(shared_lab.path)},
            input=typed,
            capture_output=True,
            text=True,
            check=False,
            cwd=shared_lab.path.parent,
            start_new_session=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("thread", ["main", "another"])
def test_a_debugged_run_is_a_run_and_leaves_the_kernel_as_it_was(
    in_kernel: InKernel,
    shared_lab: Lab,
    plain: Run,
    thread: str,
) -> None:
    """The same bits as in a process of its own; every global thing is put back."""
    out = in_kernel(
        f"""
        def work():
            run = lab.launch(APP, seed=3, overrides={{"logs": False}}, debug=True)
            check()
            print("RUN", run.run_id, run.state, run.spec.engine)
        if {thread!r} == "main":
            work()
        else:
            before["threads"].append("worker")
            worker = threading.Thread(target=work, name="worker")
            worker.start()
            worker.join()
        """,
    )
    [line] = [line for line in out.splitlines() if line.startswith("RUN")]
    _, run_id, state, engine = line.split()
    assert (state, engine) == ("completed", "in_process")
    run = shared_lab.run(run_id)
    assert vector(run) == vector(plain)
    assert "[round 2/2]" in run.logs()
    assert "[round 2/2]" in out


@pytest.mark.parametrize(
    ("ends", "raised", "frame", "code"),
    [
        ("client", "ValueError", "train", "FLIP-303"),
        ("strategy", "ZeroDivisionError", "aggregate_train", "FLIP-304"),
    ],
)
def test_the_first_exception_arrives_with_its_frames(
    in_kernel: InKernel,
    ends: str,
    raised: str,
    frame: str,
    code: str,
) -> None:
    """A post-mortem lands where it was raised, below the server loop; the run failed."""
    out = in_kernel(
        f"""
        try:
            lab.launch(APP, seed=3, overrides={{"ends": {ends!r}}}, debug=True)
        except {raised} as error:
            frames = [each for each, _ in traceback.walk_tb(error.__traceback__)]
        check()
        print("FRAMES", *(each.f_code.co_name for each in frames))
        print("LOCALS", sorted(frames[-1].f_locals))
        [run] = lab.runs().head(1).itertuples()
        print("RUN", run.state, run.error_code)
        """,
    )
    told = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.split()}
    names = told["FRAMES"]
    assert names[-1] == frame
    assert names.index("debug_run") < names.index("main") < names.index("start")
    assert told["RUN"] == ["failed", code]
    assert ("'noise'," in told["LOCALS"]) == (ends == "client")


def test_a_breakpoint_in_a_client_is_a_prompt(
    in_kernel: InKernel,
    shared_lab: Lab,
    plain: Run,
) -> None:
    """The debugger reads what is typed, shows the client's variables, and goes on."""
    out = in_kernel(
        """
        run = lab.launch(APP, seed=3, overrides={"ends": "breakpoint"}, debug=True)
        print("RUN", run.run_id)
        """,
        typed="p secret + 1\np context.node_config['partition-id']\nc\n" + "c\n",
    )
    assert "(Pdb) 42" in out
    assert vector(shared_lab.run(out.split("RUN ")[1].split()[0])) == vector(plain)


@pytest.mark.parametrize(("ends", "typed"), [("interrupt", ""), ("breakpoint", "q\n")])
def test_an_interrupt_or_leaving_the_debugger_stops_the_run(
    in_kernel: InKernel,
    ends: str,
    typed: str,
) -> None:
    """It is stopped, not failed; nothing is raised, and the kernel is as it was."""
    out = in_kernel(
        f"""
        run = lab.launch(APP, seed=3, overrides={{"ends": {ends!r}}}, debug=True)
        {"check()" if ends == "interrupt" else ""}
        print("RUN", run.state)
        """,
        typed=typed,
    )
    assert "RUN stopped" in out


def test_a_debugged_run_is_here_or_nowhere(shared_lab: Lab) -> None:
    """Other engines have no kernel's thread; nothing is left of the attempt."""
    before = len(shared_lab.runs())
    with pytest.raises(InvalidValueError, match="'processes'"):
        shared_lab.launch(APP, on="processes", debug=True)
    assert len(shared_lab.runs()) == before
