"""What decides whether a run may start warm, and that it starts once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from flip_lab.engines.environment import process_environment
from flip_lab.engines.frames import receive_frame, send_frame
from flip_lab.runs import starter, starter_needs, starter_ray
from flip_lab.runs.starter import Order, start_warm, take

PATIENCE_S = 120.0

SHOW = """
import sys
import psutil
from flip_lab.runs import process_title
words, variables = ["a program", "ünd", ""], {"A": "1", "B": "x=y"}
if not process_title.show(words, variables):
    sys.exit("refused")
here = psutil.Process()
shown = open("/proc/self/cmdline", "rb").read()
print(shown == "a program\\0ünd\\0\\0".encode())
print(here.environ() == variables)
"""


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Order:
    """Give a run to be started in a lab without a starter, with starters switched on."""
    monkeypatch.setenv(starter.SWITCH, "1")
    run_dir = tmp_path / "runs" / "one"
    return Order(lab=tmp_path, run_dir=run_dir, engine="in_process", workers=1)


def until(is_so: Callable[[], bool]) -> None:
    """Wait for something."""
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def token() -> int:
    """Give the right to start a run."""
    right, giving = os.pipe()
    os.write(giving, b"1")
    os.close(giving)
    return right


def test_the_right_to_start_is_given_once() -> None:
    """However many ask at the same moment."""
    for _ in range(50):
        right = token()
        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(take, [right] * 4)) == [False, False, False, True]
        os.close(right)


def test_without_a_starter_nobody_has_started(order: Order) -> None:
    """And no descriptor is left open."""
    before = psutil.Process().num_fds()
    assert not start_warm(order, lock=0, log=1)
    assert psutil.Process().num_fds() <= before


def test_switched_off_nobody_is_asked(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for a run nor for later ones."""
    monkeypatch.setenv(starter.SWITCH, "0")
    monkeypatch.setattr(starter, "_links", None)
    assert not start_warm(order, lock=0, log=1)
    starter.prepare(order)
    assert list(order.lab.iterdir()) == []


@pytest.mark.parametrize("takes", [True, False])
def test_who_takes_the_right_is_believed(
    order: Order, monkeypatch: pytest.MonkeyPatch, *, takes: bool
) -> None:
    """Not who says that he will start it."""
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(starter, "_connection_to", lambda _: ours)
    monkeypatch.setattr(starter, "_links", {})
    monkeypatch.setattr(starter, "_PATIENCE_S", PATIENCE_S)

    def serve() -> dict[str, Any]:
        message, fds = receive_frame(theirs)
        if takes:
            assert take(fds[2])
        os.write(fds[3], b"1")
        for descriptor in fds:
            os.close(descriptor)
        return message

    with theirs, ours, ThreadPoolExecutor(1) as pool:
        serving = pool.submit(serve)
        assert start_warm(order, lock=0, log=1) is takes
        message = serving.result()
    assert message["kind"] == "launch"
    assert message["directory"] == str(Path.cwd())
    assert message["needs"]["environment"]["PYTHONHASHSEED"] == "0"


def test_a_starter_that_says_nothing_loses_the_run(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a third of a second the right is taken back."""
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(starter, "_connection_to", lambda _: ours)
    monkeypatch.setattr(starter, "_links", {})
    with ours, theirs:
        assert not start_warm(order, lock=0, log=1)
        _, fds = receive_frame(theirs)
        assert not take(fds[2])
        for descriptor in fds:
            os.close(descriptor)


def test_a_starter_cannot_be_started_is_no_error(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run itself goes on cold."""

    def no_process(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", no_process)
    starter.prepare(order)


@pytest.mark.parametrize(
    ("name", "is_early"),
    [
        ("PYTHONPATH", True),
        ("OMP_NUM_THREADS", True),
        ("CUDA_VISIBLE_DEVICES", True),
        ("HF_HOME", True),
        ("JPY_PARENT_PID", False),
        ("MY_LEARNING_RATE", False),
        ("FLIP_LAB_HOME", False),
    ],
)
def test_only_variables_of_packages_are_read_early(name: str, *, is_early: bool) -> None:
    """An app's own variables are set in the copy; a kernel's do not matter."""
    assert (name in starter_needs.early_variables({name: "x"})) is is_early


def test_packages_must_come_from_the_same_files(tmp_path: Path) -> None:
    """One that the warm process has not imported may come from anywhere."""
    files = ["/packages/torch/__init__.py", "/packages/numpy/__init__.py"]
    same = {"torch": files[0], "pandas": "/elsewhere/pandas/__init__.py", "sklearn": ""}
    assert starter_needs.come_from(same, files)
    assert not starter_needs.come_from({"torch": str(tmp_path / "torch.py")}, files)


def test_a_file_that_changes_or_goes_is_noticed(tmp_path: Path) -> None:
    """Also one that becomes older, as after a downgrade."""
    file, other = tmp_path / "a.py", tmp_path / "b.py"
    for one in (file, other):
        one.write_text("x = 1\n")
    known = starter_needs.modified_ns([str(file), str(other)])
    assert starter_needs.are_unchanged(known)
    os.utime(file, ns=(0, known[str(file)] - 1))
    assert not starter_needs.are_unchanged(known)
    os.utime(file, ns=(0, known[str(file)]))
    assert starter_needs.are_unchanged(known)
    other.unlink()
    assert not starter_needs.are_unchanged(known)


def test_the_umask_is_told_and_not_changed() -> None:
    """As the system has it."""
    before = os.umask(0o027)
    try:
        assert starter_needs.umask_now() == 0o027
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def test_each_lab_has_its_meeting_point(tmp_path: Path) -> None:
    """Short enough for the kernel, the same by any path to the lab."""
    deep = tmp_path / "/".join(["a" * 50] * 5)
    deep.mkdir(parents=True)
    (tmp_path / "link").symlink_to(deep)
    point = starter_needs.meeting_point(deep)
    assert len(point) <= 107
    assert point[0] == "\0"
    assert starter_needs.meeting_point(tmp_path / "link") == point
    assert starter_needs.meeting_point(tmp_path) != point


def test_only_the_same_user_is_spoken_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel says who is on the other side."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert starter_needs.is_of_this_user(ours)
        monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
        assert not starter_needs.is_of_this_user(ours)


def test_a_copy_shows_its_own_arguments_and_variables() -> None:
    """In ``/proc``, where ``ps`` and our own tests look."""
    asked = [sys.executable, "-c", SHOW]
    done = subprocess.run(
        asked, env=process_environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_a_broken_message_leaves_no_descriptor() -> None:
    """Its sender was killed while it spoke."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        before = psutil.Process().num_fds()
        socket.send_fds(ours, [b"\0\0\0\x09half"], [0, 1, 2])
        ours.shutdown(socket.SHUT_WR)
        with pytest.raises(EOFError):
            receive_frame(theirs)
        assert psutil.Process().num_fds() <= before
        send_frame(theirs, {"number": 1})


RAY_SESSION = """
import sys
print('{"address": "127.0.0.1:7"}', flush=True)
sys.stdin.read()
"""


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Let sessions be processes that only say that they are ready."""
    started: list[subprocess.Popen[bytes]] = []
    real: Any = subprocess.Popen

    def pretend(command: list[str], **more: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401  # Popen's
        assert command[-2:] == ["--workers", "3"]
        started.append(real([sys.executable, "-c", RAY_SESSION], **more))
        return started[-1]

    monkeypatch.setattr(starter_ray.subprocess, "Popen", pretend)
    return started


def request(tmp_path: Path, **variables: str) -> dict[str, Any]:
    """Say that a run on Ray is launched; it is over already."""
    return {
        "engine": "ray",
        "workers": 3,
        "run_dir": str(tmp_path),
        "needs": {"environment": {**os.environ, **variables}},
    }


def test_a_ray_session_is_kept_for_later_runs(
    tmp_path: Path,
    sessions: list[subprocess.Popen[bytes]],
) -> None:
    """Started after the first run, for those with the same variables."""
    warm, asked = starter_ray.WarmRay(), request(tmp_path)
    assert warm.variables(asked) == {}
    warm.expect({**asked, "engine": "processes"})
    warm.look_after()
    assert sessions == []
    warm.expect(asked)
    until(lambda: [warm.look_after(), warm.variables(asked)][1] != {})
    assert warm.variables(asked) == {starter_ray.ADDRESS_VARIABLE: "127.0.0.1:7"}
    assert warm.variables(request(tmp_path, RAY_ADDRESS="elsewhere:1")) == {}
    assert warm.variables(request(tmp_path, FLIP_LAB_HOME="x", JPY_PARENT_PID="1")) != {}
    assert warm.variables(request(tmp_path, ANOTHER="x")) == {}
    warm.expect(asked)
    warm.look_after()
    assert len(sessions) == 1
    sessions[0].kill()
    until(lambda: [warm.look_after(), warm.variables(asked)][1] == {})
    warm.expect(asked)
    until(lambda: [warm.look_after(), warm.variables(asked)][1] != {})
    warm.retire()
    warm.look_after()
    assert [session.poll() is None for session in sessions] == [False, False]
    warm.close()
