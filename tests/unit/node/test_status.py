"""What a node says of itself: news at once, counts a little later, always a whole file."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from flip_lab.node.status import NodeStatus, StatusFile, read_status


def test_news_are_written_at_once_and_counts_later(tmp_path: Path) -> None:
    """A busy node would write all the time; whoever looks on must hear of an outage."""
    path = tmp_path / "status.json"

    async def story() -> None:
        file = StatusFile(path, NodeStatus(name="a", hub="h:1"), every_s=0.01)
        assert file.tell(state="online")
        assert not file.tell(num_done=3)
        status = read_status(path)
        assert status is not None
        assert (status.state, status.num_done) == ("online", 0)
        async with asyncio.timeout(120):
            while (status := read_status(path)) is None or status.num_done != 3:  # noqa: ASYNC110  # a file tells nobody
                await asyncio.sleep(0.01)

    asyncio.run(story())


def test_what_is_told_last_is_what_stands_there(tmp_path: Path) -> None:
    """A write that is under way beside takes nothing back."""
    path = tmp_path / "status.json"

    async def story() -> None:
        file = StatusFile(path, NodeStatus(name="a", hub="h:1"), every_s=0.0)
        for number in range(50):
            file.tell(num_done=number)
            await asyncio.sleep(0)
        file.tell(state="stopped", num_working=0)

    asyncio.run(story())
    status = read_status(path)
    assert status is not None
    assert (status.state, status.num_done) == ("stopped", 49)
    assert [each.name for each in tmp_path.iterdir()] == ["status.json"]


def test_a_full_disk_ends_no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """News that cannot be written are told later; the node goes on, and drains."""
    path = tmp_path / "status.json"

    async def story() -> None:
        file = StatusFile(path, NodeStatus(name="a", hub="h:1"), every_s=0.0)
        with monkeypatch.context() as full:
            full.setattr(Path, "write_text", _full)
            assert file.tell(state="connecting", problem="The hub is away.")
            file.tell(num_done=1)
            await asyncio.sleep(0.01)
        status = read_status(path)
        assert status is not None
        assert status.state == "starting"
        assert file.tell(state="draining")

    asyncio.run(story())
    status = read_status(path)
    assert status is not None
    assert (status.state, status.num_done) == ("draining", 1)


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
