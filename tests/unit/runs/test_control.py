"""Commands as files: from any kernel, each heard once, none able to harm the run."""

from __future__ import annotations

import getpass
import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from flip_lab.core.events import EventKind, Json
from flip_lab.runs.control import FileControl, send_command


class Log:
    """Keeps what is emitted."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Mapping[str, Json]]] = []

    def __call__(
        self, kind: EventKind, body: Mapping[str, Json], *, server_round: int
    ) -> None:
        """Keep it."""
        assert server_round == 0
        self.told.append((kind.value, body))


def heard(control: FileControl) -> bool:
    """Ask twice, further apart than the control looks."""
    control.stop_requested()
    time.sleep(0.06)
    return control.stop_requested()


def test_a_stop_is_heard_once_with_its_author(tmp_path: Path) -> None:
    """However often it is asked for, and however often the run looks."""
    log = Log()
    control = FileControl(tmp_path, log)
    assert not heard(control)
    send_command(tmp_path, "stop")
    send_command(tmp_path, "stop")
    assert heard(control)
    assert heard(control)
    assert log.told == [("control", {"command": "stop", "author": getpass.getuser()})]


def test_a_user_without_a_name_can_stop_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers run as numbers that no file knows."""

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr(getpass, "getuser", nameless)
    send_command(tmp_path, "stop")
    log = Log()
    assert heard(FileControl(tmp_path, log))
    assert log.told[0][1]["author"] == f"user {os.getuid()}"


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"author": "me"}'])
def test_a_damaged_command_is_a_warning(tmp_path: Path, content: str) -> None:
    """The run goes on, and hears the next command."""
    log = Log()
    control = FileControl(tmp_path, log)
    (tmp_path / "control").mkdir()
    (tmp_path / "control/1.json").write_text(content)
    assert not heard(control)
    [(kind, body)] = log.told
    assert kind == "warning"
    assert "1.json" in str(body["message"])
    send_command(tmp_path, "stop")
    assert heard(control)


def test_an_unknown_command_is_left_alone(tmp_path: Path) -> None:
    """A newer version may know it."""
    control = FileControl(tmp_path, Log())
    send_command(tmp_path, "dance")
    assert not heard(control)


def test_a_signal_is_a_wish_that_records_nothing_by_itself(tmp_path: Path) -> None:
    """It may interrupt the very thread that is recording; the next look records it."""
    log = Log()
    control = FileControl(tmp_path, log)
    control.on_signal(signal.SIGTERM, None)
    assert log.told == []
    assert control.stop_requested()
    assert log.told == [("control", {"command": "stop", "author": "SIGTERM"})]


def test_a_command_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """No draft is ever taken for a command."""
    send_command(tmp_path, "stop")
    [file] = (tmp_path / "control").iterdir()
    assert set(json.loads(file.read_text())) == {"command", "author", "sent_s"}
