"""Who carries out a node's calls, with a thread in the place of each worker process."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import Any, cast

import pytest

from flip_lab.engines.channel import Channel
from flip_lab.node import callers
from flip_lab.node.callers import Workers
from flip_lab.node.calling import SiteCall, SiteOutcome
from flip_lab.node.settings import NodeLimits

NOBODY = 2**22 + 1  # no process has this id


class Nursery:
    """Starts threads that answer each call."""

    def start(self, target: str, *, fds: Sequence[int]) -> int:
        """Start one."""
        assert target.endswith(":main")
        connection = socket.socket(fileno=os.dup(fds[0]))
        Thread(target=self._work, args=(Channel(connection),), daemon=True).start()
        return NOBODY

    def close(self) -> None:
        """End nothing: they end with their connections."""

    @staticmethod
    def _work(channel: Channel) -> None:
        channel.receive()  # its settings
        try:
            while True:
                channel.receive()
                channel.send(SiteOutcome(failure="as asked"))
        except EOFError:
            channel.close()


@pytest.mark.parametrize("timeout_s", [60.0, 30 * 86_400.0, float("inf")])
def test_a_site_may_let_a_call_take_as_long_as_it_likes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timeout_s: float
) -> None:
    """A month, or for ever: more than the kernel can wait in one go."""
    monkeypatch.setattr(callers.Nursery, "spawn", lambda _: Nursery())
    workers = Workers(1, NodeLimits(call_timeout_s=timeout_s), tmp_path)
    try:
        assert workers.call(cast("SiteCall", cast("Any", "a call"))).failure == "as asked"
    finally:
        workers.close()
