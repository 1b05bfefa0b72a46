"""What a node says of itself at this moment: ``status.json`` in its directory."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import flip_lab
from flip_lab.core.clock import at_utc, now_s

State = Literal["starting", "connecting", "online", "draining", "stopped"]


@dataclass(frozen=True, kw_only=True)
class NodeStatus:
    """What a node says of itself.

    Attributes:
        name: The site's name.
        hub: ``host:port`` of its hub.
        state: ``online`` while the hub knows it; ``connecting`` while it tries.
        since: When that began, ISO 8601, UTC.
        node_id: Flower's id as text; empty before the first connection.
        problem: Why it is not online, with code and fix; empty while all is well.
        num_working: Messages that are being worked on.
        num_done: Messages answered since the node was started.
        num_failed: Of these, with an error.
        last_call: The newest answered message, in one line.
        process_id: The node's process.
        version: Its version of FLIP Lab.
        updated_at: When this was written, ISO 8601, UTC.
    """

    name: str
    hub: str
    state: State = "starting"
    since: str = ""
    node_id: str = ""
    problem: str = ""
    num_working: int = 0
    num_done: int = 0
    num_failed: int = 0
    last_call: str = ""
    process_id: int = field(default_factory=os.getpid)
    version: str = flip_lab.__version__
    updated_at: str = ""


class StatusFile:
    """Keeps the status on disk; readers see a whole one at any time.

    Args:
        path: Where to; its directory exists.
        status: What to begin with.
        every_s: How late counts may be, seconds.
    """

    def __init__(self, path: Path, status: NodeStatus, *, every_s: float) -> None:
        """Write the first one."""
        self._path = path
        self._every_s = every_s
        self._timer: asyncio.TimerHandle | None = None
        self._writing = Lock()
        self.now = replace(status, since=_stamp())
        self._write()

    def tell(self, **changes: Any) -> bool:  # noqa: ANN401  # fields of NodeStatus
        """Write what has changed: news at once, counts a little later.

        Called in the node's event loop.

        Returns:
            Whether the state or the problem is another one than before.
        """
        before = self.now
        self.now = replace(before, **changes)
        is_news = (before.state, before.problem) != (self.now.state, self.now.problem)
        if before.state != self.now.state:
            self.now = replace(self.now, since=_stamp())
        if is_news:
            self._stop_waiting()
            self._write_if_it_can()
        elif self._timer is None and self.now != before:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._every_s, self._write_beside, loop)
        return is_news

    def _write_beside(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write in a thread: a busy disk lets whoever renames wait."""
        self._timer = None
        loop.run_in_executor(None, self._write_if_it_can)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _write_if_it_can(self) -> None:
        """Let an older status stand where the disk takes no more: it ends no node."""
        with suppress(OSError):
            self._write()

    def _write(self) -> None:
        with self._writing:
            told = asdict(replace(self.now, updated_at=_stamp()))
            fresh = self._path.with_suffix(".new")
            fresh.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
            fresh.replace(self._path)


def read_status(path: Path) -> NodeStatus | None:
    """Read what a node last said of itself; ``None`` when it never did.

    Raises:
        OSError: If the file cannot be read.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return NodeStatus(**found)
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _stamp() -> str:
    return at_utc(now_s()).isoformat(timespec="seconds")
