"""Ray sessions: found where there is one, else started small, quiet and on loopback only.

``python -m flip_lab.engines.ray_session --workers 4`` keeps a session for many runs: it
prints ``{"address": "127.0.0.1:PORT"}`` and lives until its standard input closes. Its Ray
processes end with it, however it ends: Ray asks the kernel for their parent's death signal.

Whatever touches private modules of Ray is here. flwr pins Ray to one exact version, and the
tests of this module start the real thing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from flip_lab.core.errors import EngineStartError, MissingExtraError
from flip_lab.engines.environment import process_environment

ADDRESS_VARIABLES = ("FLIP_LAB_RAY_ADDRESS", "RAY_ADDRESS")
"""Where a run process looks for a session, first the lab's own, then the user's cluster."""

NAMESPACE = "flip-lab"
"""Ray's namespace for all that we name."""

RUNS_AT_ONCE = 16
"""Runs that a kept session has room for: its CPUs are slots, not processors."""

_START_ATTEMPTS = 3  # a raylet on a busy machine misses Ray's fixed start deadline
_ANSWER_S = 2.0
_ANY = "auto"  # Ray's word for the session that was started last on this machine
_LOOPBACK = "127.0.0.1"
_OBJECT_STORE_BYTES = 4 << 30
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # Ray's +15 starves workers on a busy machine
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # its future default, without the warning
}
_MORTAL = {  # for a head's processes: its agents would outlive a killed one by a minute
    "RAY_enable_pipe_based_agent_to_parent_health_check": "1",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
}


def load_ray() -> Any:  # noqa: ANN401  # an optional, untyped package
    """Import Ray.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        return import_module("ray")
    except ImportError as error:
        raise MissingExtraError(
            "The engine 'ray' needs Ray, which is not installed.",
            fix='Install it with: pip install "flip-lab[sim]", or use on="in_process".',
        ) from error


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
            with _undisturbed(), _loopback_allowed(address):
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
    with _undisturbed():
        ray.shutdown()


def answers(address: str) -> bool:
    """Ask whether somebody listens at an address; Ray itself would try for a minute.

    Args:
        address: ``HOST:PORT``.
    """
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return False
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except OSError:
        return False
    return True


@contextmanager
def head_node(num_cpus: int) -> Generator[str]:
    """Start a Ray head in this process's care, and end it and all its processes.

    Only what actors need: no dashboard, no autoscaler, no log monitor; every port is bound
    to loopback, for whoever reaches a Ray port can run code.

    Args:
        num_cpus: CPUs that it says it has.

    Yields:
        Its address, ``127.0.0.1:PORT``.

    Raises:
        MissingExtraError: If Ray is not installed.
        EngineStartError: If it does not start.
    """
    load_ray()
    with _undisturbed():
        os.environ.update(process_environment() | _MORTAL)
        node = _started(num_cpus)
    try:
        yield node.gcs_address
    finally:
        node.kill_all_processes(check_alive=False, allow_graceful=True, wait=True)
        shutil.rmtree(node.get_session_dir_path(), ignore_errors=True)


def _started(num_cpus: int) -> Any:  # noqa: ANN401  # as above
    problem: Exception | None = None
    for _ in range(_START_ATTEMPTS):
        try:
            with _loopback_allowed(_LOOPBACK):
                return _small_head(num_cpus)
        except Exception as error:  # noqa: BLE001  # Ray raises bare exceptions here
            problem = error
    raise EngineStartError(
        f"Ray did not start in {_START_ATTEMPTS} attempts: {problem}",
        fix='Free memory and processors and try again, or use on="in_process".',
    ) from problem


def _small_head(num_cpus: int) -> Any:  # noqa: ANN401  # as above
    node_class: Any = import_module("ray._private.node").Node
    parameters = import_module("ray._private.parameter").RayParams(
        num_cpus=num_cpus,
        node_ip_address=_LOOPBACK,
        object_store_memory=_object_store_bytes(),
        include_dashboard=False,
        include_log_monitor=False,
        no_monitor=True,
    )

    class SmallHead(node_class):
        """Ray's head without the dashboard's process, and without orphans."""

        def __init__(self) -> None:
            try:
                super().__init__(parameters, head=True)  # pyright: ignore[reportUnknownMemberType]  # Ray has no types
            except BaseException:
                self.kill_all_processes(check_alive=False, allow_graceful=False)
                raise

        def start_api_server(self, **_: object) -> None:
            """Ray starts one even for ``include_dashboard=False``: two seconds more."""

    return SmallHead()


def _object_store_bytes() -> int:
    """Bound the object store; its memory is taken as it is used, not before."""
    return min(_OBJECT_STORE_BYTES, shutil.disk_usage("/dev/shm").total * 8 // 10)  # noqa: S108  # the memory itself


@contextmanager
def _loopback_allowed(address: str) -> Generator[None]:
    """Keep Ray from taking a loopback address for this machine's address in the network."""
    constants: Any = import_module("ray._private.ray_constants")
    before = constants.ENABLE_RAY_CLUSTER
    constants.ENABLE_RAY_CLUSTER = before and not address.startswith(_LOOPBACK)
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _undisturbed() -> Generator[None]:
    """Put back what Ray changes in its host: the environment and the SIGTERM handler.

    Its handler ends the process; ours stops the run and keeps its results.
    """
    before = dict(os.environ)
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, handler)
        os.environ.clear()
        os.environ.update(before)


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
    from flip_lab.engines.ray_lease import Leases

    ray = load_ray()
    connect(ray, address)
    try:
        Leases(ray, workers, idle_s=None).prepare()
    finally:
        disconnect(ray)  # before the head ends: Ray waits a minute for one that is gone


if __name__ == "__main__":
    sys.exit(main())
