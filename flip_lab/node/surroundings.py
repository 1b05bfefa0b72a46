"""What the nodes of one process share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import httpx

from flip_lab.node.app_shelf import AppShelf
from flip_lab.node.callers import Caller
from flip_lab.node.config import NodeConfig


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the nodes of one process share.

    Attributes:
        http: Gives the client to call the hub with, made anew when certificates change.
        caller: Who carries out client calls.
        threads: Where that is waited for.
        shelf: Where apps lie.
        num_nodes: How many nodes share it, so that they are gentle with a SuperLink.
    """

    http: Callable[[NodeConfig], httpx.AsyncClient]
    caller: Caller
    threads: Executor
    shelf: AppShelf
    num_nodes: int = 1
