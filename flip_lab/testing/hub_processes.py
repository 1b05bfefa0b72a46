"""Programs that a test federation consists of: started, watched and ended by process id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from time import sleep

import flip_lab
from flip_lab.core.clock import tick_s
from flip_lab.core.errors import EngineStartError

_GRACE_S = 5.0
_POLL_S = 0.05
_TAIL_LINES = 25
_PORTS = range(20_000, 32_000)  # systems give connections that go out higher ones


@dataclass(frozen=True, kw_only=True)
class Program:
    """A process of ours; its children stay in its process group.

    Attributes:
        process: The process, which leads a session of its own.
        log_path: What it and its children print.
    """

    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def has_ended(self) -> bool:
        """Whether the process itself is gone."""
        return self.process.poll() is not None

    @property
    def log_tail(self) -> str:
        """The end of what it printed, under the name of its log."""
        lines = self.log_path.read_text("utf-8", errors="replace").splitlines()
        return "\n".join([f"--- {self.log_path.name}", *lines[-_TAIL_LINES:]])

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and its children, if there are any left."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def script(name: str) -> str:
    """Give the path of a command that is installed beside this Python."""
    return str(Path(sys.executable).with_name(name))


def start_program(
    command: Sequence[str], log_path: Path, environment: Mapping[str, str]
) -> Program:
    """Start a program, without a terminal, with its directory as that of its log.

    Args:
        command: The program and its arguments; no shell.
        log_path: Where it prints to; what is there already is kept.
        environment: All of its environment variables.
    """
    with log_path.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603  # our own command, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=log_path.parent,
            env=environment,
            start_new_session=True,
        )
    return Program(process=process, log_path=log_path)


def end_programs(programs: Sequence[Program], *, grace_s: float = _GRACE_S) -> None:
    """Ask them to end, all at once, then make sure that nothing of them is left.

    Args:
        programs: What shall end.
        grace_s: How long they may take before they are killed, seconds.
    """
    for program in programs:
        program.send_signal(signal.SIGTERM)
    end_s = tick_s() + grace_s
    for program in programs:
        with suppress(subprocess.TimeoutExpired):
            program.process.wait(max(end_s - tick_s(), 0))
    for program in programs:
        program.send_signal(signal.SIGKILL)
        program.process.wait()


def wait_until(
    what: str, is_so: Callable[[], bool], programs: Iterable[Program], end_s: float
) -> None:
    """Wait until something of some programs is so.

    Args:
        what: What is waited for, as an error names it.
        is_so: Looks.
        programs: What must not end meanwhile.
        end_s: When it must be so, by ``tick_s``.

    Raises:
        EngineStartError: If a program ends, or the time is over; its detail are the ends
            of their logs.
    """
    watched = list(programs)
    while not is_so():
        ended = [one for one in watched if one.has_ended]
        if ended or tick_s() >= end_s:
            why = "ended" if ended else "was not there in time"
            raise EngineStartError(
                f"{what} {why}.",
                fix="Read the ends of the logs below.",
                detail="\n\n".join(one.log_tail for one in ended or watched),
            )
        sleep(_POLL_S)


def free_port(host: str) -> int:
    """Choose a port that nobody listens at, and that no connection takes meanwhile.

    So a server that is killed can be started at its port again.

    Args:
        host: An address of this machine.

    Raises:
        EngineStartError: If all are taken.
    """
    for port in SystemRandom().sample(_PORTS, len(_PORTS)):  # others are choosing, too
        with socket.socket() as probe, suppress(OSError):
            probe.bind((host, port))
            return port
    raise EngineStartError(
        f"No port of {host} from {_PORTS[0]} to {_PORTS[-1]} is free.",
        fix="End some of the servers of this machine.",
    )


def quiet_environment(directory: Path, *hosts: str) -> dict[str, str]:
    """Give an environment for Flower's programs and ours.

    They phone nobody, are at home in our directory, find ``flip_lab`` and each other, and
    use no proxy for the hosts.

    Args:
        directory: Where they may keep things.
        *hosts: Addresses that they reach directly.
    """
    inherited = os.environ
    source = str(Path(flip_lab.__file__).parents[1])
    scripts = str(Path(sys.executable).parent)  # a SuperNode starts flower-superexec
    no_proxy = ",".join(filter(None, [*hosts, inherited.get("NO_PROXY", "")]))
    return {
        **inherited,
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_HOME": str(directory / "flwr"),
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
        "FLWR_TELEMETRY_ENABLED": "0",
        "NO_PROXY": no_proxy,
        "PATH": os.pathsep.join([scripts, inherited.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(
            filter(None, [source, inherited.get("PYTHONPATH", "")])
        ),
    }
