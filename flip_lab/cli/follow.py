"""Watch a run in a terminal: one card that moves, or one line a round in a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.live import Live
from rich.text import Text

from flip_lab.boards.run.follow import Follower
from flip_lab.boards.run.snapshot import Snapshot
from flip_lab.boards.run.text import text_of
from flip_lab.cli.output import people

if TYPE_CHECKING:
    from flip_lab.cli.labs import AnyRun

_REFRESH_S = 0.2


def follow(run: AnyRun) -> bool:
    """Show a run's progress until it has ended.

    Ctrl-C asks the run to stop and goes on watching; a second one leaves it alone.

    Args:
        run: The run to watch.

    Returns:
        Whether the user interrupted.

    Raises:
        KeyboardInterrupt: At the second Ctrl-C.
    """
    if not people.is_terminal:
        return _watch(run, _LineTeller())
    with Live(console=people, auto_refresh=False) as live:
        return _watch(run, lambda now: live.update(Text(text_of(now)), refresh=True))


class _LineTeller:
    """Prints a line whenever the state, the round or what hinders watching has changed."""

    def __init__(self) -> None:
        self._told = ""

    def __call__(self, now: Snapshot) -> None:
        of = f"/{now['num_rounds']}" if now["num_rounds"] else ""
        trouble = f"  {now['watch_error']['what']}" if now["watch_error"] else ""
        line = (
            f"{now['name']}  {now['run_id']}  {now['state']}  "
            f"round {now['server_round']}{of}{trouble}"
        )
        if line != self._told:
            self._told = line
            people.print(Text(line), soft_wrap=True)


def _watch(run: AnyRun, show: Callable[[Snapshot], None]) -> bool:
    follower = Follower(run, interval_s=_REFRESH_S)
    interrupted = False
    while not follower.is_done:
        try:
            show(follower.poll())
            time.sleep(0 if follower.is_done else follower.pause_s)
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True
            run.stop()
    return interrupted
