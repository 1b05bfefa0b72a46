"""A process that runs nodes: one at a site, or many of them to put load on a hub."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

from flip_lab.core.errors import HubBusyError, HubStateError
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.node.app_shelf import AppShelf
from flip_lab.node.callers import caller_for
from flip_lab.node.config import WORK, NodeConfig
from flip_lab.node.deliveries_beside import models_beside
from flip_lab.node.http_clients import HttpClients
from flip_lab.node.reporting import reports_beside
from flip_lab.node.runner import NodeRunner
from flip_lab.node.surroundings import Surroundings

DRAIN_S = 80.0
"""How long work under way may take once a node is asked to end: less than systemd waits."""

_CLIENTS = "flip-client"  # what threads are called that wait for a client, or are one
_LAST_BREATH_S = 0.5


def run_nodes(
    configs: Sequence[NodeConfig],
    *,
    on_ready: Callable[[], None] = lambda: None,
    drain_s: float = DRAIN_S,
) -> None:
    """Run nodes until SIGTERM or SIGINT; a second signal ends the process at once.

    The first node's settings say where clients run (``workers``) and how many apps lie
    where; with ``workers = 0`` the nodes of one process take turns.

    Args:
        configs: The nodes, at least one.
        on_ready: Called once all of them are under way.
        drain_s: How long work under way may take once asked to end, seconds.

    Raises:
        HubBusyError: If another process runs one of them.
        HubStateError: If a node's key or certificate cannot be read.
        EngineStartError: If no worker can be started.
    """
    install_fast_arrays()
    first = configs[0]
    with ExitStack() as cleanup:
        for config in configs:
            cleanup.enter_context(_only_here(config))
        cleanup.push(_wait_for_no_client)
        caller = caller_for(first.workers, first.limits, first.directory / WORK)
        cleanup.callback(caller.close)
        threads = ThreadPoolExecutor(caller.room, thread_name_prefix=_CLIENTS)
        cleanup.callback(partial(threads.shutdown, wait=False, cancel_futures=True))
        clients = HttpClients()
        around = Surroundings(
            http=clients.of,
            caller=caller,
            threads=threads,
            shelf=AppShelf(first.directory / "apps"),
            num_nodes=len(configs),
        )
        cleanup.enter_context(models_beside(configs))
        cleanup.enter_context(reports_beside(configs))
        asyncio.run(_run(configs, around, clients, on_ready, drain_s))


async def _run(
    configs: Sequence[NodeConfig],
    around: Surroundings,
    clients: HttpClients,
    on_ready: Callable[[], None],
    drain_s: float,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _asked_to_end, stop)
    runners = [_runner(config, around) for config in configs]
    on_ready()
    try:
        await asyncio.gather(*(each.serve(stop, drain_s=drain_s) for each in runners))
    finally:
        await clients.close()


def _wait_for_no_client(kind: type[BaseException] | None, *_: object) -> None:
    """End here, if a client goes on in this process that had its time to finish.

    Python would wait for its thread, for hours: a process that says it has ended, beside
    the one that takes its place. So it must not outlive the lock, either.
    """
    clients = [each for each in threading.enumerate() if each.name.startswith(_CLIENTS)]
    for each in clients:
        each.join(_LAST_BREATH_S)
    if kind is None and any(each.is_alive() for each in clients):
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)


def _asked_to_end(stop: asyncio.Event) -> None:
    if stop.is_set():
        os._exit(1)  # asked twice: whatever is under way, not a moment longer
    stop.set()


def _runner(config: NodeConfig, around: Surroundings) -> NodeRunner:
    """Make a node of its settings.

    Raises:
        HubStateError: If its key cannot be read.
    """
    try:
        return NodeRunner(config, around)
    except (OSError, ValueError) as error:
        raise HubStateError(
            f"The key of the node {config.name!r}, {config.key_file}, cannot be read "
            f"({error}).",
            fix="Enrol the node again; a key cannot be replaced.",
        ) from error


@contextmanager
def _only_here(config: NodeConfig) -> Generator[None]:
    """Keep a second process from being the same node.

    Raises:
        HubBusyError: If there is one already.
    """
    with (config.directory / "node.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise HubBusyError(
                f"Another process runs the node {config.name!r} in {config.directory}.",
                fix="End that one first; its process is in status.json.",
            ) from error
        yield
