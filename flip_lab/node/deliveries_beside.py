"""What a node does with models while it runs: takes in deliveries, answers predictions."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager

from flip_lab.core.errors import HubStateError
from flip_lab.node.config import NodeConfig
from flip_lab.node.deliveries import LOOK_EVERY_S, Deliveries
from flip_lab.node.deliveries_line import SignedLine
from flip_lab.node.serving.server import serve_beside

_log = logging.getLogger(__name__)

_PAUSE_S = 1.0  # between two nodes of one process: a hundred put no load on a hub
_PATIENCE_S = 5.0


@contextmanager
def models_beside(configs: Sequence[NodeConfig]) -> Generator[None]:
    """Take in deliveries, and let endpoints answer, while the block lasts.

    One thread asks for all nodes of this process; each endpoint is a process of its own.

    Args:
        configs: The nodes; those of a stock SuperLink have no key of a hub, and no
            deliveries.
    """
    is_over = threading.Event()
    with ExitStack() as cleanup:
        for config in configs:
            if config.serve is not None:
                cleanup.callback(serve_beside(config).stop)
        thread = threading.Thread(target=_follow, args=(configs, is_over), daemon=True)
        thread.name = "flip-deliveries"
        thread.start()
        cleanup.callback(thread.join, _PATIENCE_S)
        cleanup.callback(is_over.set)
        yield


def _follow(configs: Sequence[NodeConfig], is_over: threading.Event) -> None:
    with ExitStack() as cleanup:
        nodes: list[Deliveries] = []
        for config in configs:
            try:
                line = cleanup.enter_context(SignedLine(config))
                nodes.append(Deliveries(config, line))
            except HubStateError as error:
                _log.info("%s takes no deliveries: %s", config.name, error.what)
        while nodes and not is_over.is_set():
            for node in nodes:
                node.look()
                is_over.wait(_PAUSE_S if len(nodes) > 1 else 0)
            is_over.wait(max(0.0, LOOK_EVERY_S - _PAUSE_S * (len(nodes) - 1)))
