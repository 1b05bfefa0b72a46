"""Ray sessions: found where there is one, else started small, quiet and on loopback only.

``python -m flip_lab.engines.ray_session --workers 4`` keeps a session for many runs: it
prints ``{"address": "127.0.0.1:PORT"}`` and lives until its standard input closes. Its Ray
processes end with it, however it ends.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flip_lab.core.errors import EngineStartError
from flip_lab.engines.ray_head import (
    NAMESPACE,
    answers,
    head_node,
    load_ray,
    loopback_allowed,
    undisturbed,
)
from flip_lab.engines.ray_lease import Leases

ADDRESS_VARIABLES = ("FLIP_LAB_RAY_ADDRESS", "RAY_ADDRESS")
"""Where a run process looks for a session, first the lab's own, then the user's cluster."""

RUNS_AT_ONCE = 16
"""Runs that a kept session has room for: its CPUs are slots, not processors."""

_ANY = "auto"  # Ray's word for the session that was started last on this machine


@dataclass(frozen=True, kw_only=True)
class Session:
    """A connection to a Ray session.

    Attributes:
        ray: The ``ray`` module.
        is_ours: Whether the session ends with this connection.
    """

    ray: Any
    is_ours: bool


@contextmanager
def connected(workers: int) -> Generator[Session]:
    """Use the Ray session of this process, or one that the environment names, or our own.

    A session that was there before is there afterwards; one of our own ends here.

    Args:
        workers: CPUs of a session of our own.

    Yields:
        The session.

    Raises:
        MissingExtraError: If Ray is not installed.
        EngineStartError: If the session does not answer, or does not start.
    """
    ray = load_ray()
    if ray.is_initialized():
        yield Session(ray=ray, is_ours=False)
        return
    address = next(filter(None, map(os.environ.get, ADDRESS_VARIABLES)), None)
    with contextlib.nullcontext(address) if address else head_node(workers) as found:
        connect(ray, found)
        try:
            yield Session(ray=ray, is_ours=not address)
        finally:
            disconnect(ray)


def connect(ray: Any, address: str) -> None:  # noqa: ANN401  # as above
    """Connect this process to a session.

    Args:
        ray: The ``ray`` module.
        address: ``HOST:PORT`` of a head; this machine belongs to its cluster.

    Raises:
        EngineStartError: If nobody answers there, or another machine's client is asked for.
    """
    if "://" in address:
        raise EngineStartError(
            f"The Ray session {address} can be reached through Ray's client only.",
            fix="Launch on a machine of the cluster, with its address as HOST:PORT.",
        )
    problem: object = "nobody listens there"
    if address == _ANY or answers(address):
        try:
            with undisturbed(), loopback_allowed(address):
                ray.init(
                    address=address,
                    namespace=NAMESPACE,
                    log_to_driver=False,
                    configure_logging=False,
                )
        except Exception as error:  # noqa: BLE001  # Ray raises bare exceptions here
            problem = error
            with contextlib.suppress(Exception):
                disconnect(ray)
        else:
            return
    raise EngineStartError(
        f"The Ray session at {address} does not answer: {problem}.",
        fix=f"Start it, or unset {' and '.join(ADDRESS_VARIABLES)} to use one that the run "
        "starts for itself.",
    )


def disconnect(ray: Any) -> None:  # noqa: ANN401  # as above
    """Leave a session; the signal handler that Ray would reset is put back."""
    with undisturbed():
        ray.shutdown()


def main(arguments: Sequence[str] | None = None) -> int:
    """Keep a session until standard input closes or SIGTERM comes.

    Args:
        arguments: The command line; ``None`` takes this process's.

    Returns:
        Exit status: 0 after a session, 1 when it could not start.
    """
    parser = argparse.ArgumentParser(description="Keep a Ray session for many runs.")
    parser.add_argument("--workers", type=int, required=True, help="actors kept warm")
    workers: int = parser.parse_args(arguments).workers
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is not for us
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # standard output carries the one line, whatever Ray prints
    try:
        with head_node(workers * RUNS_AT_ONCE) as address:
            _warm_up(address, workers)
            with answer:
                answer.write(json.dumps({"address": address}) + "\n")
            sys.stdin.buffer.read()
    except EngineStartError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _leave(number: int, frame: object) -> None:
    del number, frame
    sys.exit(0)


def _warm_up(address: str, workers: int) -> None:
    """Start the actors of the first run, which import what every run needs."""
    ray = load_ray()
    connect(ray, address)
    try:
        Leases(ray, workers).prepare()
    finally:
        disconnect(ray)  # before the head ends: Ray waits a minute for one that is gone


if __name__ == "__main__":
    sys.exit(main())
