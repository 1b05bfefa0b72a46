"""Watch a run in a terminal: one card that moves, or one line a round in a log."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.live import Live
from rich.text import Text

from flip_lab.cli.output import people
from flip_lab.runs.run import Run
from flip_lab.widgets.progress import RunProgress

_REFRESH_S = 0.2


def follow(run: Run) -> bool:
    """Show a run's progress until it has ended.

    Ctrl-C asks the run to stop and goes on watching; a second one leaves it alone.

    Args:
        run: The run to watch.

    Returns:
        Whether the user interrupted.
    """
    if not people.is_terminal:
        return _watch(run, _LineTeller())
    with Live(console=people, auto_refresh=False) as live:
        return _watch(run, lambda now: live.update(Text(now.text()), refresh=True))


class _LineTeller:
    """Prints a line whenever the state or the round has changed."""

    def __init__(self) -> None:
        self._told: object = None

    def __call__(self, progress: RunProgress) -> None:
        now = (progress.state, progress.server_round)
        if now != self._told:
            self._told = now
            of = f"/{progress.num_rounds}" if progress.num_rounds else ""
            people.print(
                f"{progress.name}  {progress.run_id}  {progress.state}  "
                f"round {progress.server_round}{of}",
                soft_wrap=True,
                highlight=False,
            )


def _watch(run: Run, show: Callable[[RunProgress], None]) -> bool:
    progress = RunProgress(run_id=run.run_id, name=run.name)
    interrupted, seen, final = False, -1, False
    while not final:
        try:
            final = run.state.is_final  # asked first: events that come later are shown too
            events = run.events(after=seen)
            seen = events[-1].sequence if events else seen
            progress = progress.apply(events)
            show(progress)
            time.sleep(0 if final else _REFRESH_S)
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True
            run.stop()
    return interrupted
