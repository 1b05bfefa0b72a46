"""How a user's wish reaches a run process: small files in the run's directory.

Files work from any kernel, a terminal and over a shared disk, and survive the death of
whoever wrote them.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from flip_lab.core.clock import now_s, tick_s
from flip_lab.core.events import EventKind
from flip_lab.core.ports import Emit
from flip_lab.store import audit_writer
from flip_lab.store.layout import write_json_atomic

_LOOK_EVERY_S = 0.05


def send_command(run_dir: Path, command: str) -> None:
    """Leave a command for the run process; it becomes an event with its author."""
    wish = {"command": command, "author": audit_writer.author(), "sent_s": now_s()}
    name = f"{now_s():.6f}-{os.getpid()}-{command}.json"
    write_json_atomic(run_dir / "control" / name, wish)


class FileControl:
    """Reads the commands of one run; each is recorded once.

    Args:
        run_dir: The run's directory.
        emit: Where the commands are recorded.
    """

    def __init__(self, run_dir: Path, emit: Emit) -> None:
        """Watch ``run_dir/control``."""
        self._folder = run_dir / "control"
        self._emit = emit
        self._seen: set[str] = set()
        self._looked_s = 0.0
        self._stop = False
        self._signal = ""

    def request_stop(self, author: str) -> None:
        """Take a wish to stop that came another way, such as a signal."""
        if not self._stop:
            self._stop = True
            self._record("stop", author)

    def on_signal(self, number: int, frame: object) -> None:
        """Take a signal as the wish to stop.

        Only noted here: a signal arrives anywhere, also while this very thread records an
        event and holds the lock that recording the wish would need.
        """
        del frame
        self._signal = signal.Signals(number).name

    def stop_requested(self) -> bool:
        """Whether the run should end now and keep what it has."""
        if self._signal:
            self.request_stop(self._signal)
        if not self._stop and tick_s() - self._looked_s > _LOOK_EVERY_S:
            self._looked_s = tick_s()
            self._look()
        return self._stop

    def _look(self) -> None:
        for file in sorted(self._folder.glob("*.json")):
            if file.name in self._seen:
                continue
            self._seen.add(file.name)
            command, author = self._read(file)
            if command == "stop":
                self.request_stop(author)

    def _read(self, file: Path) -> tuple[str, str]:
        """Give a command and its author; a file that holds none must not end the run."""
        try:
            wish = json.loads(file.read_text(encoding="utf-8"))
            return str(wish["command"]), str(wish["author"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f"{file} holds no command: {error!r}"
            body = {"code": "FLIP-300", "message": message}
            self._emit(EventKind.WARNING, body, server_round=0)
            return "", ""

    def _record(self, command: str, author: str) -> None:
        body = {"command": command, "author": author}
        self._emit(EventKind.CONTROL, body, server_round=0)
