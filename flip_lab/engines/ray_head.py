"""What we ask of Ray beyond its public face: a small head, who lives, who answers.

It uses what Ray keeps to itself. Flower pins Ray to one exact version, and the tests start
the real thing.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import EngineStartError, MissingExtraError
from flip_lab.engines.environment import process_environment

NAMESPACE = "flip-lab"
"""Ray's namespace for all that we name."""

_START_ATTEMPTS = 5  # a raylet ends itself when its agents are not up in 15 fixed seconds
_PORT_S = 30.0
_RAYLET_S = 60.0
_LOOK_EVERY_S = 0.1
_ANSWER_S = 2.0
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
    with undisturbed():
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
            with loopback_allowed(_LOOPBACK):
                return _small_head(num_cpus)
        except Exception as error:  # noqa: BLE001  # Ray raises bare exceptions here
            problem = error
    raise EngineStartError(
        f"Ray did not start in {_START_ATTEMPTS} attempts: {problem}",
        fix='Free memory and processors and try again, or use on="in_process".',
    ) from problem


def _small_head(num_cpus: int) -> Any:  # noqa: ANN401  # as above
    ray_node: Any = import_module("ray._private.node")
    node_class: Any = ray_node.Node
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

        def start_gcs_server(self) -> None:
            """Do not wait for the port of a server that has ended."""
            wait = ray_node.wait_for_persisted_port
            ray_node.wait_for_persisted_port = partial(_await_port, wait, self)
            try:
                super().start_gcs_server()  # pyright: ignore[reportUnknownMemberType]  # as above
            finally:
                ray_node.wait_for_persisted_port = wait

        def start_api_server(self, **_: object) -> None:
            """Ray starts one even for ``include_dashboard=False``: two seconds more."""

        def start_ray_processes(self) -> None:
            """Do not wait for a raylet that has ended, half a minute and more."""
            super().start_ray_processes()  # pyright: ignore[reportUnknownMemberType]  # as above
            _await_raylet(self)

    return SmallHead()


def _await_port(wait: Callable[..., int], node: Any, *names: str) -> int:  # noqa: ANN401  # Ray's own
    """Wait for the port that a server writes down, while that server lives."""
    [server] = node.all_processes["gcs_server"]
    end_s = tick_s() + _PORT_S
    while True:
        try:
            return wait(*names, timeout_ms=200)
        except RuntimeError:
            if server.process.poll() is not None or tick_s() > end_s:
                raise


def _await_raylet(node: Any) -> None:  # noqa: ANN401  # as above
    """Wait until the GCS knows a raylet, while that lives."""
    [raylet] = node.all_processes["raylet"]
    services = import_module("ray._private.services")
    end_s = tick_s() + _RAYLET_S
    while True:
        try:
            services.get_node(node.gcs_address, node.node_id)
        except RuntimeError:
            if raylet.process.poll() is not None or tick_s() > end_s:
                raise
            time.sleep(_LOOK_EVERY_S)
        else:
            return


def _object_store_bytes() -> int:
    """Bound the object store; its memory is taken as it is used, not before."""
    return min(_OBJECT_STORE_BYTES, shutil.disk_usage("/dev/shm").total * 8 // 10)  # noqa: S108  # the memory itself


@contextmanager
def loopback_allowed(address: str) -> Generator[None]:
    """Keep Ray from taking a loopback address for this machine's address in the network."""
    constants: Any = import_module("ray._private.ray_constants")
    before = constants.ENABLE_RAY_CLUSTER
    constants.ENABLE_RAY_CLUSTER = before and not address.startswith(_LOOPBACK)
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def undisturbed() -> Generator[None]:
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


def living_jobs() -> set[str]:
    """Give the ids of all Ray jobs whose driver is alive."""
    jobs: Sequence[Mapping[str, Any]] = import_module("ray._private.state").jobs()
    return {job["JobID"] for job in jobs if not job["IsDead"]}
