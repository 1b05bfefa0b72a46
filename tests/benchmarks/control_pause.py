"""How soon a pause is one: from closing the gate to the last client that starts.

A cohort of clients that sleep is under way when another thread closes the gate, as the
control thread of a run does. Those that were at work finish; when nothing comes any more,
the gate is opened again and the others are carried out.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine_training import build_model
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

from flip_lab.core.clock import now_s, tick_s
from flip_lab.engines.base import AppSource, EngineGrid, Job
from flip_lab.engines.catalogue import ENGINES
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.ray_door import Door
from flip_lab.fl.training import LocalTraining
from flip_lab.testing.probe_app import ProbeApp

Figures = dict[str, Any]

_WORKERS = 2
_COHORT = 40
_SILENCE_S = 0.4  # without a reply for so long (and three clients' work), all is quiet
_PATIENCE_S = 120.0
_CROWD = 4_000  # declared clients: they take a fraction of a millisecond each
_PIECE = 64  # clients that an engine trains together at most


@dataclass(frozen=True, kw_only=True)
class Side:
    """What is measured.

    Attributes:
        title: How the table names it.
        engine: The engine.
        is_far: Whether Ray's actors are treated as those of other machines.
        is_declared: Whether clients are declared as data, and so trained together.
    """

    title: str
    engine: str
    is_far: bool = False
    is_declared: bool = False


SIDES: Mapping[str, Side] = {
    "in_process": Side(title="in_process", engine="in_process"),
    "auto": Side(title="auto", engine="auto"),
    "processes": Side(title="processes", engine="processes"),
    "vectorised": Side(title="vectorised, any app", engine="vectorised"),
    "together": Side(
        title=f"vectorised, {_PIECE} at once", engine="vectorised", is_declared=True
    ),
    "ray": Side(title="ray, by socket", engine="ray"),
    "ray_far": Side(title="ray, from afar", engine="ray", is_far=True),
}
"""Every side by its name on the command line."""


@dataclass(frozen=True, kw_only=True)
class DeclaredApp(ProbeApp):
    """Where workers find the declared clients."""

    def load_client_app(self) -> ClientApp:
        """Give the ClientApp."""
        from engine_declared import client_app

        return client_app


@dataclass(kw_only=True)
class _Turn:
    """One pause.

    Attributes:
        grid: The open Grid.
        job: Its job.
        wanted: Ids of the messages that are not answered.
        starts_s: When clients began.
        arrivals_s: When replies were handed over.
        closed_s: When the gate was closed; 0 before that.
        goal: How many replies to wait for before that.
        reached: Set when they are there.
    """

    grid: EngineGrid
    job: Job
    wanted: set[str]
    starts_s: list[float] = field(default_factory=list[float])
    arrivals_s: list[float] = field(default_factory=list[float])
    closed_s: float = 0.0
    goal: int
    reached: threading.Event = field(default_factory=threading.Event)

    def close_after(self, delay_s: float) -> None:
        """Close the gate from another thread, so long after the goal is reached."""

        def close() -> None:
            self.reached.wait()
            time.sleep(delay_s)
            self.job.gate.close()
            self.closed_s = now_s()

        threading.Thread(target=close).start()

    def listen_until(self, is_over: Callable[[], bool]) -> None:
        """Take replies until something holds, or all are there."""
        end_s = tick_s() + _PATIENCE_S
        while self.wanted and not is_over():
            if tick_s() > end_s:
                raise RuntimeError(f"{len(self.wanted)} replies never came")
            new = self.grid.await_replies(self.wanted, timeout_s=0.05)
            self.wanted -= {reply.message.metadata.reply_to_message_id for reply in new}
            for reply in new:
                if reply.message.has_error():
                    raise RuntimeError(reply.message.error.reason)
            self.starts_s += [reply.started_s for reply in new]
            self.arrivals_s += [now_s()] * len(new)
            if len(self.arrivals_s) >= self.goal:
                self.reached.set()

    def is_quiet(self, silence_s: float) -> bool:
        """Whether the gate was closed, and nothing has come for a while since."""
        heard_s = max([self.closed_s, *self.arrivals_s[-1:]])
        return bool(self.closed_s) and now_s() - heard_s > silence_s


def measure(names: Sequence[str], *, turns: int, work_s: float) -> Figures:
    """Pause each side some times in the middle of a cohort.

    Args:
        names: Sides.
        turns: Pauses of each.
        work_s: What a client takes, seconds, where it only sleeps.
    """
    return {name: _measure(SIDES[name], turns, work_s) for name in names}


def _measure(side: Side, turns: int, work_s: float) -> Figures:
    num_nodes = _CROWD if side.is_declared else _COHORT
    job = _job(num_nodes, DeclaredApp() if side.is_declared else ProbeApp())
    generator = random.Random(7)  # noqa: S311  # moments of a benchmark
    with _far(side.is_far), ENGINES.get(side.engine)().open(job) as grid:
        ask = _training if side.is_declared else _naps
        whole_s = [_whole_s(grid, ask(grid, work_s)) for _ in range(2)][-1]
        if side.is_declared:
            work_s = whole_s * _PIECE * _WORKERS / num_nodes
        found = [
            _pause(grid, job, ask(grid, work_s), generator.uniform(0.0, work_s))
            for _ in range(turns)
        ]
    return {
        "work_ms": _ms(work_s),
        **{
            f"{key}_{which}": _ms(reduce(each[key] for each in found))
            for key in ("last_start", "quiet", "go_on")
            for which, reduce in (("median", statistics.median), ("worst", max))
        },
        "last_start_over_work": round(
            max(each["last_start"] for each in found) / work_s, 3
        ),
        "quiet_over_work": round(max(each["quiet"] for each in found) / work_s, 2),
        "left_median": statistics.median(each["left"] for each in found),
    }


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)


def _job(num_nodes: int, app: AppSource) -> Job:
    return Job(
        run_id="benchmark",
        seed=7,
        num_nodes=num_nodes,
        run_config={"workload": "B"},
        app=app,
        answers_describe=False,
        workers=_WORKERS,
        work_dir=Path.cwd(),
    )


@contextmanager
def _far(is_far: bool) -> Generator[None]:  # noqa: FBT001  # of the side
    """Let actors of this machine be reached through Ray only, as those of others are."""
    before = Door.open
    if is_far:
        Door.open = Door.close  # type: ignore[method-assign,assignment]  # put back below
    try:
        yield
    finally:
        Door.open = before  # type: ignore[method-assign]  # as above


def _naps(grid: EngineGrid, work_s: float) -> list[Message]:
    content = RecordDict({"config": ConfigRecord({"nap-s": work_s})})
    return [Message(content, node, "train.draw") for node in grid.get_node_ids()]


def _training(grid: EngineGrid, work_s: float) -> list[Message]:
    """Ask for training of a logistic regression, which takes what it takes."""
    del work_s
    install_fast_arrays()
    settings = LocalTraining(local_epochs=2, batch_size=10, learning_rate=0.05)
    content = RecordDict(
        {
            "arrays": ArrayRecord(build_model("logistic").state_dict()),
            "config": ConfigRecord({**settings.to_config(), "server-round": 1}),
        }
    )
    return [Message(content, node, "train") for node in grid.get_node_ids()]


def _whole_s(grid: EngineGrid, messages: Sequence[Message]) -> float:
    begin_s = tick_s()
    replies = list(grid.send_and_receive(messages, timeout=_PATIENCE_S))
    if failed := [reply for reply in replies if reply.has_error()]:
        raise RuntimeError(failed[0].error.reason)
    return tick_s() - begin_s


def _pause(
    grid: EngineGrid, job: Job, messages: Sequence[Message], delay_s: float
) -> Figures:
    wanted = {*grid.push_messages(messages)}
    turn = _Turn(grid=grid, job=job, wanted=wanted, goal=len(wanted) // 4)
    work_s = float(messages[0].content.config_records["config"].get("nap-s", 0.0))  # type: ignore[arg-type]  # a number
    turn.close_after(delay_s)
    turn.listen_until(lambda: turn.is_quiet(_SILENCE_S + 3 * work_s))
    if not turn.wanted:
        raise RuntimeError("the cohort was over before the pause")
    found: Figures = {
        "last_start": max(0.0, max(turn.starts_s) - turn.closed_s),
        "quiet": max(0.0, turn.arrivals_s[-1] - turn.closed_s),
        "left": len(turn.wanted),
    }
    before = len(turn.starts_s)
    opened_s = now_s()
    job.gate.open()
    turn.listen_until(lambda: False)
    return found | {"go_on": min(turn.starts_s[before:]) - opened_s}


def table(figures: Figures) -> str:
    """Show what was measured, as Markdown."""
    titles = (
        "Engine",
        "A client's work, ms",
        "Last client starts after closing, worst, ms",
        "× a client's work",
        "All quiet, worst, ms",
        "First client starts after opening, median, ms",
    )
    lines = [f"| {' | '.join(titles)} |", "|---" + "|--:" * (len(titles) - 1) + "|"]
    lines += [
        f"| {SIDES[name].title} | {each['work_ms']:g} | {each['last_start_worst']:g} "
        f"| {each['last_start_over_work']:g} | {each['quiet_worst']:g} "
        f"| {each['go_on_median']:g} |"
        for name, each in figures.items()
    ]
    return "\n".join(lines)
