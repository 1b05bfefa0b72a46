"""How a user's wish reaches a run process, and how its answer comes back.

Both are small files in the run's directory: they work from any kernel, a terminal and over
a shared disk, and survive the death of whoever wrote them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, cast

from flip_lab.core.clock import now_s, tick_s
from flip_lab.core.errors import FlipLabError
from flip_lab.core.events import Json
from flip_lab.store import audit_writer
from flip_lab.store.layout import write_json_atomic

_LOOK_EVERY_S = 0.01
_STALE_S = 600.0  # an answer that nobody fetched
_numbers = count()


@dataclass(frozen=True, kw_only=True)
class Command:
    """One wish.

    Attributes:
        id: Names it in the run's events; also the name of its file.
        command: Such as ``"pause"``.
        author: Who wishes it.
        arguments: What else belongs to it.
    """

    id: str
    command: str
    author: str
    arguments: Mapping[str, Json] = field(default_factory=dict[str, Json])


def send_command(run_dir: Path, command: str, **arguments: Json) -> str:
    """Leave a command for the run process; it becomes an event with its author.

    Returns:
        The command's id.
    """
    author = audit_writer.author()
    key = f"{now_s():.6f}-{os.getpid()}-{next(_numbers)}-{command}"
    wish = {"command": command, "author": author, "sent_s": now_s(), **arguments}
    write_json_atomic(_folder(run_dir) / f"{key}.json", wish)
    return key


def read_command(file: Path) -> Command:
    """Read a command.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it holds no command.
    """
    wish: Any = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(wish, dict) or not {"command", "author"} <= wish.keys():
        raise ValueError(f"{wish!r:.200} is no command")
    told = cast("dict[str, Json]", wish)
    own = ("command", "author", "sent_s")
    return Command(
        id=file.stem,
        command=str(told["command"]),
        author=str(told["author"]),
        arguments={key: value for key, value in told.items() if key not in own},
    )


def waiting_commands(run_dir: Path) -> list[Path]:
    """List the commands that the run process has not taken yet, oldest first."""
    try:
        names = os.listdir(_folder(run_dir))  # noqa: PTH208  # twenty times a second
    except OSError:
        return []
    return [_folder(run_dir) / name for name in sorted(names) if name.endswith(".json")]


def drop_wishes(run_dir: Path, commands: frozenset[str]) -> None:
    """Remove waiting commands of some kinds, and files that hold none."""
    for file in waiting_commands(run_dir):
        with suppress(OSError):
            try:
                is_over = read_command(file).command in commands
            except ValueError:
                is_over = True
            if is_over:
                file.unlink()


def answer(run_dir: Path, command_id: str, said: Mapping[str, Json]) -> None:
    """Tell whoever sent a command what became of it; it is on record by now."""
    folder = _answers(run_dir)
    oldest_s = now_s() - _STALE_S
    with suppress(OSError):
        for file in folder.glob("*.json"):
            if file.stat().st_mtime < oldest_s:
                file.unlink()
    write_json_atomic(folder / f"{command_id}.json", dict(said))


def await_answer(
    run_dir: Path, command_id: str, *, timeout_s: float
) -> Mapping[str, Any] | None:
    """Wait until the run process has taken a command.

    Args:
        run_dir: The run's directory.
        command_id: What ``send_command`` gave.
        timeout_s: How long at most, in s.

    Returns:
        What it said; ``None`` if it has said nothing yet: it is starting, or gone.
    """
    file = _answers(run_dir) / f"{command_id}.json"
    end_s = tick_s() + timeout_s
    while True:
        with suppress(OSError, ValueError):
            said = json.loads(file.read_text(encoding="utf-8"))
            file.unlink(missing_ok=True)
            return said
        if tick_s() > end_s:
            return None
        time.sleep(_LOOK_EVERY_S)


def refusal(error: FlipLabError) -> dict[str, Json]:
    """Give a refusal as an event and an answer carry it."""
    return {"code": error.code, "what": error.what, "fix": error.fix}


def _folder(run_dir: Path) -> Path:
    return run_dir / "control"


def _answers(run_dir: Path) -> Path:
    return run_dir / "control" / "answers"
