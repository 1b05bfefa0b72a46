"""A warm process that forks others: what children get, and who ends when."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest

from flip_lab.core.errors import EngineStartError
from flip_lab.engines import nursery as nurseries
from flip_lab.engines.environment import process_environment
from flip_lab.engines.frames import receive_frame, send_frame
from flip_lab.engines.nursery import Nursery, NurseryDiedError

PATIENCE_S = 120

CHILDREN = """
import os, signal, sys, time
from flip_lab.engines.frames import receive_frame, send_frame
from flip_lab.engines import nursery
import socket

def tell(fds, arguments):
    here = socket.socket(fileno=fds[0])
    send_frame(here, {
        "arguments": dict(arguments),
        "session": os.getsid(0),
        "parent": os.getppid(),
        "open": {fd: os.readlink(f"/proc/self/fd/{fd}")
                 for fd in os.listdir("/proc/self/fd")
                 if os.path.exists(f"/proc/self/fd/{fd}")},
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "terminate": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
        "wakeup": signal.set_wakeup_fd(-1),
        "threads": os.environ["OMP_NUM_THREADS"],
        "hash": hash("a"),
        "has_nursery": nursery.current() is not None,
        "warm": "decimal" in sys.modules,
    })

def sleep(fds, arguments):
    time.sleep(600)

def wait(fds, arguments):
    socket.socket(fileno=fds[0]).recv(1)

def echo(fds, arguments):
    os.write(fds[0], arguments["text"].encode())

def give(fds, arguments):
    return arguments["status"]

def leave(fds, arguments):
    sys.exit(arguments["status"])

def fail(fds, arguments):
    raise RuntimeError("on purpose")

def say(fds, arguments):
    print("said", end=" ")
"""


@pytest.fixture(scope="module", autouse=True)
def children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give functions for children to be, importable by what this process starts."""
    folder = tmp_path_factory.mktemp("children")
    (folder / "children.py").write_text(CHILDREN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        yield


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Give a nursery that has imported a module which no other test needs."""
    with Nursery.spawn(["decimal"]) as made:
        yield made


def ended(nursery: Nursery, process_id: int) -> int:
    """Wait for a child's end and give its status."""
    end_s = time.monotonic() + PATIENCE_S
    while (status := nursery.status(process_id)) is None:
        assert time.monotonic() < end_s
        time.sleep(0.01)
    return status


def told(nursery: Nursery, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Let a child describe itself."""
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(PATIENCE_S)
        nursery.start("children:tell", fds=[there.fileno()], arguments=arguments or {})
        return receive_frame(here)[0]


def until(is_so: Callable[[], bool]) -> None:
    """Wait for something."""
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_a_child_is_warm_and_like_a_fresh_process(nursery: Nursery) -> None:
    """Imports are there; signals, the nursery's own files and its connection are not."""
    child = told(nursery, {"number": 1.5, "names": ["a", None]})
    assert child["arguments"] == {"number": 1.5, "names": ["a", None]}
    assert child["warm"]
    assert child["parent"] == nursery.process_id
    assert child["session"] == os.getsid(0)
    assert child["blocked"] == []
    assert child["interrupt"]
    assert child["terminate"]
    assert child["wakeup"] == -1
    assert not child["has_nursery"]
    sockets = [name for name in child["open"].values() if name.startswith("socket:")]
    assert len(sockets) == 1
    assert child["open"]["0"] == os.devnull


def test_a_child_has_the_environment_of_a_run(nursery: Nursery) -> None:
    """One thread for sums of floats, and one order of sets."""
    first, second = told(nursery), told(nursery)
    assert first["threads"] == "1"
    asked = [sys.executable, "-c", "print(hash('a'))"]
    fresh = subprocess.run(
        asked, env=process_environment(), capture_output=True, check=True
    )
    assert first["hash"] == second["hash"] == int(fresh.stdout)


def test_many_arguments_and_files_travel(nursery: Nursery) -> None:
    """More bytes than a socket's buffer holds, and several descriptors."""
    ends = [os.pipe() for _ in range(8)]
    text = "x" * 3_000_000
    [reader, writer] = ends[0]
    try:
        process_id = nursery.start(
            "children:echo",
            fds=[writer, *(end for pair in ends[1:] for end in pair)],
            arguments={"text": text},
        )
        os.close(writer)
        with open(reader, "rb", closefd=False) as stream:
            assert stream.read().decode() == text
        assert ended(nursery, process_id) == 0
    finally:
        for descriptor in {end for pair in ends for end in pair} - {writer}:
            os.close(descriptor)


@pytest.mark.parametrize(
    ("target", "given", "status"),
    [
        ("give", None, 0),
        ("give", 7, 7),
        ("leave", 3, 3),
        ("leave", None, 0),
        ("leave", "words", 1),
        ("fail", None, 1),
        ("nothing_of_this_name", None, 1),
    ],
)
def test_the_status_is_that_of_a_program(
    nursery: Nursery, target: str, given: object, status: int
) -> None:
    """What the function returns, what it exits with, 1 if it raises."""
    arguments: dict[str, Any] = {"status": given}
    assert (
        ended(nursery, nursery.start(f"children:{target}", arguments=arguments)) == status
    )


def test_a_killed_child_is_told_by_its_signal(nursery: Nursery) -> None:
    """And is no zombie, though nobody had asked for it."""
    process_id = nursery.start("children:sleep")
    assert nursery.status(process_id) is None
    os.kill(process_id, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(process_id))
    assert nursery.status(process_id) == -signal.SIGKILL


def test_a_stranger_has_no_status(nursery: Nursery) -> None:
    """Not ``None``, which says that it lives."""
    with pytest.raises(ProcessLookupError):
        nursery.status(os.getpid())


def test_interrupts_leave_a_nursery_alone(nursery: Nursery) -> None:
    """Ctrl-C reaches a terminal's whole process group."""
    os.kill(nursery.process_id, signal.SIGINT)
    os.kill(nursery.process_id, signal.SIGTERM)
    assert told(nursery)["parent"] == nursery.process_id


def test_interrupts_leave_an_importing_nursery_alone() -> None:
    """From the first moment on; what it forks later listens to them again."""
    with Nursery.spawn(["decimal"]) as young:
        os.kill(young.process_id, signal.SIGINT)
        os.kill(young.process_id, signal.SIGTERM)
        child = told(young)
        assert child["parent"] == young.process_id
        assert child["blocked"] == []
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_threads_may_share_a_nursery(nursery: Nursery) -> None:
    """Each gets the child that it asked for."""
    found: list[int] = []

    def ask(status: int) -> None:
        process_id = nursery.start("children:give", arguments={"status": status})
        assert ended(nursery, process_id) == status
        found.append(status)

    threads = [Thread(target=ask, args=[status]) for status in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(found) == list(range(16))


def test_descriptors_do_not_pile_up(nursery: Nursery) -> None:
    """Neither here nor in the nursery."""
    process = psutil.Process(nursery.process_id)
    told(nursery)
    here, there = psutil.Process().num_fds(), process.num_fds()
    for _ in range(20):
        told(nursery)
    assert process.num_fds() == there
    assert psutil.Process().num_fds() <= here  # an earlier test's may go meanwhile


def test_closing_ends_the_nursery_and_not_its_children() -> None:
    """A child sees its own connection close, when that does."""
    nursery = Nursery.spawn([])
    here, there = socket.socketpair()
    with here:
        with there:
            child = psutil.Process(nursery.start("children:wait", fds=[there.fileno()]))
        nursery.close()
        nursery.close()
        assert not psutil.pid_exists(nursery.process_id)
        assert child.status() != psutil.STATUS_ZOMBIE
    until(lambda: has_ended(child))


def has_ended(process: psutil.Process) -> bool:
    """Say whether a process has ended, also while its parent has not taken note."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_dead_nursery_says_so() -> None:
    """Again and again, whatever is asked."""
    nursery = Nursery.spawn([])
    child = nursery.start("children:give", arguments={"status": 0})
    assert nursery.is_alive()
    os.kill(nursery.process_id, signal.SIGKILL)
    until(lambda: not nursery.is_alive())
    for _ in range(2):
        with pytest.raises(NurseryDiedError) as caught:
            nursery.start("children:sleep")
        assert caught.value.code == "FLIP-501"
    with pytest.raises(NurseryDiedError):
        nursery.status(child)
    nursery.close()
    assert not nursery.is_alive()


def test_a_nursery_that_cannot_import_is_a_dead_one(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Its words stand where it prints."""
    with (
        Nursery.spawn(["no_module_of_this_name"]) as nursery,
        pytest.raises(NurseryDiedError),
    ):
        nursery.start("children:sleep")
    assert "no_module_of_this_name" in capfd.readouterr().err


def test_a_nursery_is_ready_when_it_has_imported() -> None:
    """Whoever is in a hurry asks first."""
    with Nursery.spawn([]) as nursery:
        until(nursery.is_ready)
        told(nursery)
        assert nursery.is_ready()


class Gone:
    """A process that has ended already."""

    pid = 1

    def wait(self, timeout: float | None = None) -> int:
        """Be ended."""
        del timeout
        return 0

    def kill(self) -> None:
        """Do nothing."""


def test_a_refused_fork_is_a_coded_error() -> None:
    """It leaves a nursery that can be asked again."""
    ours, theirs = socket.socketpair()
    with theirs, Nursery(ours, Gone()) as nursery:
        for answer in ({"ready": True}, {"refused": "[Errno 11]"}, {"process_id": 7}):
            send_frame(theirs, answer)
        with pytest.raises(EngineStartError, match="Errno 11") as caught:
            nursery.start("children:sleep")
        assert not isinstance(caught.value, NurseryDiedError)
        assert nursery.start("children:sleep") == 7


FORK_HERE = """
import os, sys, threading, time, socket
import children
from flip_lab.core.errors import EngineStartError
from flip_lab.engines import nursery
from flip_lab.engines.frames import receive_frame
from flip_lab.engines.nursery import Nursery

STAMP = "a value that only this process has"
children.STAMP = STAMP
secret = open(__file__)
print("before", end=" ", flush=False)
nursery.keep(Nursery.fork_here())
print("after", end=" ", flush=True)
here, there = socket.socketpair()
nursery.current().start("children:tell", fds=[there.fileno()], arguments={})
there.close()
seen = receive_frame(here)[0]
assert __file__ not in seen["open"].values(), seen["open"]
assert not seen["has_nursery"]
child = nursery.current().start("children:give", arguments={"status": 4})
while (status := nursery.current().status(child)) is None:
    time.sleep(0.01)
if os.fork() == 0:
    os._exit(nursery.current() is not None)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
threading.Thread(target=threading.Event().wait, daemon=True).start()
try:
    Nursery.fork_here()
except EngineStartError as error:
    print(error.code, status, end=" ")
speaker = nursery.current().start("children:say")
while nursery.current().status(speaker) is None:
    time.sleep(0.01)
sys.stdout.flush()
print(nursery.current().process_id, flush=True)
os.kill(os.getpid(), 9)
"""


def run_script(text: str, folder: Path) -> Sequence[str]:
    """Run a program and give the words that it printed."""
    script = folder / "script.py"
    script.write_text(text)
    done = subprocess.run(
        [sys.executable, str(script)],
        env=process_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.split()


def test_a_copy_of_a_process_serves_it_and_dies_with_it(tmp_path: Path) -> None:
    """Kill -9 of the owner is enough; what it had printed before is printed once."""
    words = run_script(FORK_HERE, tmp_path)
    assert words[:-1] == ["before", "after", "FLIP-501", "4", "said"]
    until(lambda: not psutil.pid_exists(int(words[-1])))


def test_there_is_no_nursery_unless_one_was_kept() -> None:
    """A process that made none starts its helpers another way."""
    assert nurseries.current() is None
