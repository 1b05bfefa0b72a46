"""When a node tries again to reach its hub."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
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
