"""What a node answers when something breaks that nobody thought of."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from flwr.app import Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity  # noqa: TID251  # who builds messages

from flip_lab.node import answering
from flip_lab.node.answering import Answering
from flip_lab.node.app_shelf import AppShelf, SiteApp
from flip_lab.node.calling import SiteCall, SiteOutcome
from flip_lab.node.config import NodeConfig
from flip_lab.node.run_apps import RunApps, SiteRun
from flip_lab.node.site_log import SiteLog
from flip_lab.node.surroundings import Surroundings


class _Broken:
    """Breaks where it should call a client."""

    def call(self, call: SiteCall) -> SiteOutcome:
        """Raise what is no error of ours."""
        raise KeyError(call.app.app_hash)


def _answering(directory: Path, sent: list[Message]) -> Answering:
    async def push(reply: Message, duration_s: float) -> bool:
        assert duration_s == 0.0
        sent.append(reply)
        return True

    around = Surroundings(
        http=cast("Any", None),
        caller=cast("Any", _Broken()),
        threads=ThreadPoolExecutor(1),
        shelf=AppShelf(directory / "apps"),
    )
    config = NodeConfig(name="st-mary", hub="hub.test:1", directory=directory)
    return Answering(config, around, SiteLog(directory / "node.log", "st-mary"), push)


def _message(monkeypatch: pytest.MonkeyPatch) -> Message:
    for name in ("run_id", "task_id", "node_id"):
        monkeypatch.setattr(TaskIdentity, f"_{name}", 1)
    return Message(RecordDict(), dst_node_id=7, message_type="train")


def _work(directory: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[bool, list[Message]]:
    """Let a node answer one message; gives whether all was well, and what it sent."""
    sent: list[Message] = []
    connection = cast("Any", type("Connection", (), {"node_id": 7})())
    message = _message(monkeypatch)
    told = asyncio.run(_answering(directory, sent).work(message, "", connection))
    return told is not None and told.is_well, sent


def test_what_breaks_at_a_node_is_answered_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round that got no answer would wait for one until its deadline, or for ever."""
    app = SiteApp(app_hash="0" * 64, directory=tmp_path, client_ref="app:app")
    run = SiteRun(app=app, key="a-run", run_config={}, seed=None, is_ours=True)

    async def of(*_: object) -> SiteRun:
        return run

    monkeypatch.setattr(RunApps, "of", of)
    is_well, [reply] = _work(tmp_path, monkeypatch)
    assert not is_well
    assert "KeyError" in (reply.error.reason or "")


@pytest.mark.parametrize("status", [404, 502])
def test_an_app_that_cannot_be_fetched_is_answered_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """A proxy that says so for half a minute must not hold the round up for ever."""

    async def of(*_: object) -> SiteRun:
        response = httpx.Response(status, request=httpx.Request("POST", "https://hub"))
        response.raise_for_status()
        raise AssertionError

    monkeypatch.setattr(RunApps, "of", of)
    monkeypatch.setattr(answering, "pause_s", lambda _: 0.0)
    is_well, [reply] = _work(tmp_path, monkeypatch)
    assert not is_well
    assert "HTTPStatusError" in (reply.error.reason or "")


def test_a_reply_that_the_hub_does_not_take_becomes_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that is too large for a proxy: the round hears of it, and goes on."""
    asked, offered = _message(monkeypatch), list[Message]()

    async def push(reply: Message, _: float) -> bool:
        offered.append(reply)
        if not reply.has_error():
            response = httpx.Response(413, request=httpx.Request("POST", "https://hub"))
            response.raise_for_status()
        return True

    node = _answering(tmp_path, [])
    node._push = push
    reply = Message(RecordDict(), reply_to=asked)
    assert asyncio.run(node._send(asked, reply, 0.0)).has_error()
    assert [each.has_error() for each in offered] == [False, True]
    assert "HTTP 413" in (offered[1].error.reason or "")
