"""When a node tries again to reach its hub."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from flip_lab.node import runner
from flip_lab.node.app_shelf import AppShelf
from flip_lab.node.config import NodeConfig
from flip_lab.node.runner import NodeRunner
from flip_lab.node.surroundings import Surroundings


def _runner(directory: Path) -> NodeRunner:
    key = ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (directory / "node.key").write_bytes(key)
    (directory / "node.key").chmod(0o600)
    around = Surroundings(
        http=cast("Any", None),
        caller=cast("Any", None),
        threads=ThreadPoolExecutor(1),
        shelf=AppShelf(directory / "apps"),
    )
    config = NodeConfig(name="st-mary", hub="hub.test:1", directory=directory)
    return NodeRunner(config, around)


def test_an_outage_after_a_steady_while_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node of a hub that is restarted often does not wait longer each time."""
    node, stop = _runner(tmp_path), asyncio.Event()
    # Seconds that each session lasts, and whether it came online.
    sessions = [(0.0, False), (0.0, False), (5.0, True), (0.0, False), (0.1, True)]
    now_s, failures = [100.0], list[int]()

    async def session(_: asyncio.Event) -> None:
        lasted_s, is_online = sessions.pop(0)
        now_s[0] += lasted_s
        if is_online:
            node._connection = cast("Any", object())
        if not sessions:
            stop.set()
        raise httpx.ConnectError("refused")

    def pause_s(num: int) -> float:
        failures.append(num)
        return 0.0

    async def nothing(*_: object) -> None:
        node._connection = None

    monkeypatch.setattr(node, "_session", session)
    monkeypatch.setattr(node, "_goodbye", nothing)
    monkeypatch.setattr(node, "_beat_on", nothing)
    monkeypatch.setattr(runner, "tick_s", lambda: now_s[0])
    monkeypatch.setattr(runner, "pause_s", pause_s)
    asyncio.run(node.serve(stop, drain_s=0.0))
    assert failures == [1, 2, 1, 2, 3]


def test_a_connection_after_another_knows_what_the_node_has_in_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that breaks while a client works does not bring the same work again."""
    told = list[str]()

    class Connection:
        """Brings one message, and breaks."""

        def __init__(self, *_: object, got: str, most_bytes: int) -> None:
            del most_bytes
            told.append(got)
            self.got = f"m{len(told)}"

        async def activate(self) -> int:
            """Come online."""
            return 7

        async def ask_no_more(self) -> None:
            """Let go."""

    async def broken(_: Connection) -> None:
        raise httpx.ReadError("The line broke.")

    monkeypatch.setattr(runner, "FleetConnection", Connection)
    node = _runner(tmp_path)
    node._around = replace(node._around, http=lambda _: cast("Any", None))
    monkeypatch.setattr(node, "_beat", broken)
    monkeypatch.setattr(node, "_ask", broken)

    async def sessions() -> None:
        for _ in range(3):
            with pytest.raises(httpx.ReadError):
                await node._session(asyncio.Event())

    asyncio.run(sessions())
    assert told == ["", "m1", "m2"]
