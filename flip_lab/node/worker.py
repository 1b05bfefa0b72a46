"""What runs in a node's worker: one call after another, within the site's limits."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from flip_lab.core.events import Json
from flip_lab.engines.channel import Channel
from flip_lab.engines.failures import failure_tail
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.node.app_shelf import LoadedApps
from flip_lab.node.calling import SiteCall, SiteOutcome, carry_out

_PR_SET_PDEATHSIG = 1  # prctl(2)
_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class WorkerSetting:
    """What a worker is told once.

    Attributes:
        work_dir: Where clients run.
        memory_mb: Most private memory, MiB; ``None`` for no limit.
        cpu_s: Most processor time of one call, seconds; ``None`` for no limit.
    """

    work_dir: Path
    memory_mb: int | None
    cpu_s: float | None


def main(fds: Sequence[int], arguments: Mapping[str, Json]) -> None:
    """Serve a node until it closes the connection or is gone.

    Args:
        fds: The connection to the node.
        arguments: None are needed.
    """
    del arguments
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the node decides
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    channel = Channel(socket.socket(fileno=fds[0]))
    try:
        _serve(channel)
    except (EOFError, ConnectionError):
        os._exit(0)  # nobody is left to report to; skip what an app left for the exit


def _serve(channel: Channel) -> None:
    setting: WorkerSetting = channel.receive()[0]
    _prepare(setting)
    apps = LoadedApps()
    while True:
        call: SiteCall = channel.receive()[0]
        _limit_processor_time(setting)
        outcome = carry_out(call, apps)
        sys.stdout.flush()
        os.chdir(setting.work_dir)
        _report(channel, outcome)


def _prepare(setting: WorkerSetting) -> None:
    setting.work_dir.mkdir(parents=True, exist_ok=True)
    os.chdir(setting.work_dir)
    torch.set_num_threads(1)  # sums of floats depend on the number of threads
    install_fast_arrays()
    logging.getLogger().addHandler(logging.StreamHandler(sys.stderr))
    if setting.memory_mb:
        most = setting.memory_mb * _MIB
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold data


def _limit_processor_time(setting: WorkerSetting) -> None:
    """Let the kernel end this process when one call computes for too long."""
    if setting.cpu_s is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        soft = int(used.ru_utime + used.ru_stime + setting.cpu_s) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _report(channel: Channel, outcome: SiteOutcome) -> None:
    """Send an outcome; one that cannot be sent is a failed call, not a dead worker."""
    try:
        channel.send(outcome)
    except OSError:
        raise
    except Exception as raised:  # noqa: BLE001  # no memory left, or what cannot be pickled
        channel.send(
            replace(
                outcome,
                reply=None,
                state=None,
                failure=f"The reply could not be sent: {type(raised).__name__}.",
                detail=failure_tail(raised),
                logged={},
            )
        )
