"""How the Grid of real devices waits: eager, then gentle, and once for all threads."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from types import SimpleNamespace
from typing import cast

import pytest
from flwr.app import Message, RecordDict

from flip_lab.engines import deployment
from flip_lab.engines.deployment import DeploymentGrid
from flip_lab.engines.flower.attach import Attachment
from flip_lab.engines.flower.messages import become_server, stamp


class FakeAttachment:
    """A SuperLink whose replies are put in by the test."""

    def __init__(self) -> None:
        become_server(1)
        self.run = SimpleNamespace(run_id=1)
        self.polls: list[list[str]] = []
        self.answered: set[str] = set()
        self._numbers = count()
        self._sent: dict[str, Message] = {}

    def online_node_ids(self) -> list[int]:
        """Three nodes, in order of their ids."""
        return [11, 12, 13]

    def push(self, messages: Sequence[Message]) -> list[str]:
        """Number the messages."""
        ids: list[str] = []
        for message in messages:
            message_id = f"message-{next(self._numbers)}"
            stamp(message, message_id)
            self._sent[message_id] = message
            ids.append(message_id)
        return ids

    def pull(self, message_ids: Sequence[str]) -> list[Message]:
        """Give what was answered, once."""
        self.polls.append(list(message_ids))
        ready = [key for key in message_ids if key in self.answered]
        return [Message(RecordDict(), reply_to=self._sent.pop(key)) for key in ready]


class Clock:
    """Time that only sleeping moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        monkeypatch.setattr(deployment, "tick_s", lambda: self.now_s)
        monkeypatch.setattr(deployment, "sleep", self.sleep)

    def sleep(self, duration_s: float) -> None:
        """Let time pass; a little more than asked, as it does."""
        self.now_s += duration_s + 1e-6


@pytest.fixture
def superlink() -> FakeAttachment:
    """Give a SuperLink that answers nothing yet."""
    return FakeAttachment()


@pytest.fixture
def grid(superlink: FakeAttachment) -> DeploymentGrid:
    """Give the Grid on it."""
    return DeploymentGrid(cast("Attachment", superlink))


def ask(grid: DeploymentGrid, *node_ids: int) -> list[str]:
    """Send one message to each node."""
    return list(
        grid.push_messages([Message(RecordDict(), node, "train") for node in node_ids])
    )


def test_waiting_polls_eagerly_and_then_gently(
    grid: DeploymentGrid, superlink: FakeAttachment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute of short waits costs about a request a second, not one per wait."""
    clock = Clock(monkeypatch)
    [message_id] = ask(grid, 11)
    first_second = 0
    while clock.now_s < 160.0:
        assert grid.await_replies([message_id], timeout_s=0.05) == []
        if clock.now_s < 101.0:
            first_second = len(superlink.polls)
    assert 4 <= first_second <= 8
    assert 58 <= len(superlink.polls) <= 70


def test_a_reply_is_handed_over_once(
    grid: DeploymentGrid, superlink: FakeAttachment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking again for what was given says at once that there is nothing."""
    Clock(monkeypatch)
    first, second = ask(grid, 11, 12)
    superlink.answered = {second}
    [reply] = grid.await_replies([first, second], timeout_s=0)
    assert reply.message.metadata.reply_to_message_id == second
    assert reply.message.metadata.src_node_id == 12
    assert grid.await_replies([second], timeout_s=1e9) == []
    assert grid.await_replies([first], timeout_s=0) == []
    assert superlink.polls[-1] == [first], "what was given is not asked for again"


def test_a_reply_fetched_for_one_waits_for_the_other(
    grid: DeploymentGrid, superlink: FakeAttachment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flower's legacy server waits in one thread for each client."""
    Clock(monkeypatch)
    first, second = ask(grid, 11, 12)
    superlink.answered = {first, second}
    assert len(grid.await_replies([first], timeout_s=0)) == 1
    assert len(grid.await_replies([second], timeout_s=10.0)) == 1
    assert len(superlink.polls) == 1


def test_many_threads_get_their_own_replies(
    grid: DeploymentGrid, superlink: FakeAttachment
) -> None:
    """None is lost and none is given twice."""

    def one_client(node_id: int) -> list[int]:
        [message_id] = ask(grid, node_id)
        superlink.answered.add(message_id)
        replies = grid.await_replies([message_id], timeout_s=60.0)
        return [reply.message.metadata.src_node_id for reply in replies]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one_client, range(8))) == [[node] for node in range(8)]


def test_nodes_of_unknown_partition_come_last(grid: DeploymentGrid) -> None:
    """Known partitions lead, in order; the others follow by their ids."""
    assert list(grid.get_node_ids()) == [11, 12, 13]
    grid._partitions = {13: 0, 11: 1}
    assert list(grid.get_node_ids()) == [13, 11, 12]
    assert [grid.partition_of(node) for node in (13, 11, 12)] == [0, 1, -1]
