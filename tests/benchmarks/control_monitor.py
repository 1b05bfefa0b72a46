"""What watching costs: the run, the kernel, and the line to the page.

One run with many clients goes on for a while, watched by the widget in every other window
of time, as a notebook's kernel has it, without a page. Answers of clients in a window tell
how fast the run was; neighbouring windows are compared, since others use the machine, too.
What the widget hands over is counted by the widget itself.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flip_lab import Lab, watch
from flip_lab.core.clock import now_s
from flip_lab.core.events import EventKind
from flip_lab.runs.run import Run

Figures = dict[str, Any]

_ENDLESS = 1_000  # rounds; the run is stopped when enough was seen
_BEFORE_S = 3.0  # what is done once is done by then


@dataclass(frozen=True, kw_only=True)
class _Window:
    """A stretch of time.

    Attributes:
        from_s: When it began, seconds since the Unix epoch.
        until_s: When it ended.
        busy_s: Processor time of this process meanwhile.
        sent_bytes: What the widget sent; 0 where there was none.
        sent_messages: In how many messages.
    """

    from_s: float
    until_s: float
    busy_s: float
    sent_bytes: int = 0
    sent_messages: int = 0

    @property
    def lasted_s(self) -> float:
        """How long it was."""
        return self.until_s - self.from_s


def measure(*, nodes: int, turns: int, window_s: float, engine: str) -> Figures:
    """Watch a run in every other window.

    Args:
        nodes: Clients of each round.
        turns: Windows of each kind.
        window_s: How long a window is, in s.
        engine: Where the clients train, with one worker.
    """
    with TemporaryDirectory(prefix="flip-") as folder:
        changes = {"num_partitions": nodes, "num_rounds": _ENDLESS}
        run = Lab(Path(folder)).launch("mnist-iid", overrides=changes, on=engine, workers=1)
        try:
            while not any(event.kind is EventKind.CLIENT for event in run.events()):
                time.sleep(0.5)
            time.sleep(_BEFORE_S)
            windows = [
                _window(run, window_s, is_watched=bool(at % 2))
                for at in range(2 * turns + 1)
            ]
        finally:
            run.stop()
            run.wait()
        return {"engine": engine, "nodes": nodes, **_figures(run, windows)}


def _window(run: Run, window_s: float, *, is_watched: bool) -> _Window:
    widget = watch(run) if is_watched else None
    time.sleep(0.5)  # the widget has read what was there before
    from_s, busy_s = now_s(), time.process_time()
    sent = (widget.sent_bytes, widget.sent_messages) if widget else (0, 0)
    time.sleep(window_s)
    window = _Window(
        from_s=from_s,
        until_s=now_s(),
        busy_s=time.process_time() - busy_s,
        sent_bytes=widget.sent_bytes - sent[0] if widget else 0,
        sent_messages=widget.sent_messages - sent[1] if widget else 0,
    )
    if widget:
        widget.close()
    return window


def _figures(run: Run, windows: Sequence[_Window]) -> Figures:
    answers = [e.time_s for e in run.events() if e.kind is EventKind.CLIENT]
    speeds = [
        sum(each.from_s <= at < each.until_s for at in answers) / each.lasted_s
        for each in windows
    ]
    ratios = [  # each watched window against the mean of its neighbours
        speeds[at] / statistics.mean((speeds[at - 1], speeds[at + 1]))
        for at in range(1, len(windows) - 1, 2)
    ]
    plain, seen = windows[::2], windows[1::2]
    busy = [
        sum(e.busy_s for e in some) / sum(e.lasted_s for e in some)
        for some in (plain, seen)
    ]
    seen_s = sum(each.lasted_s for each in seen)
    return {
        "answers_per_s": statistics.median(speeds),
        "speed_ratio": statistics.median(ratios),
        "speed_ratios": [round(each, 3) for each in ratios],
        "kernel_cpu_percent": 100 * (busy[1] - busy[0]),
        "updates_per_s": sum(each.sent_messages for each in seen) / seen_s,
        "kb_per_s": sum(each.sent_bytes for each in seen) / seen_s / 1000,
    }


def table(figures: Figures) -> str:
    """Show the figures as Markdown."""
    lines = [
        ("clients a round", f"{figures['nodes']:,}"),
        ("their answers a second", f"{figures['answers_per_s']:,.0f}"),
        ("speed of the run, watched : not watched", f"{figures['speed_ratio']:.3f}"),
        ("the kernel's processor time", f"{figures['kernel_cpu_percent']:.1f} % of a core"),
        ("updates a second", f"{figures['updates_per_s']:.1f}"),
        ("to the page", f"{figures['kb_per_s']:.1f} KB/s"),
    ]
    return "\n".join(
        ["| | |", "|---|---:|", *(f"| {name} | {value} |" for name, value in lines)]
    )
