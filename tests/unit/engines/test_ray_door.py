"""How a run process and an actor meet: here only, and between processes of one user."""

from __future__ import annotations

import os
import socket
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from flip_lab.engines import ray_door
from flip_lab.engines.channel import Channel
from flip_lab.engines.ray_door import Door, knock
from flip_lab.engines.ray_inbox import Inbox


def both_ends() -> tuple[Channel, Channel]:
    """Give a connection."""
    door = Door()
    theirs = knock(door.name)
    ours = door.open()
    assert ours is not None
    assert theirs is not None
    return ours, theirs


def test_who_knocked_is_let_in_and_what_they_send_arrives() -> None:
    """Even what they sent before the door was opened."""
    door = Door()
    theirs = knock(door.name)
    assert theirs is not None
    theirs.send("hello")
    ours = door.open()
    assert ours is not None
    assert ours.receive()[0] == "hello"
    ours.close()
    theirs.close()


def test_a_door_at_which_nobody_knocked_opens_on_nobody() -> None:
    """The actor is on another machine, then."""
    assert Door().open() is None


def test_a_door_that_is_not_there_is_no_error() -> None:
    """That is how it looks from another machine, or when the run is over."""
    assert knock("\0flip-lab/nowhere") is None
    door = Door()
    door.close()
    assert knock(door.name) is None


def test_another_user_is_not_talked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """On neither side: what comes is unpickled."""
    door = Door()
    stranger = socket.socket(socket.AF_UNIX)
    stranger.connect(door.name)
    with monkeypatch.context() as patch:
        patch.setattr(ray_door.os, "getuid", lambda: os.geteuid() + 1)
        assert knock(door.name) is None
        assert door.open() is None
    assert stranger.recv(1) == b""
    stranger.close()


def test_news_comes_by_socket_and_by_ray() -> None:
    """And wakes whoever waits, in the order in which it came."""
    inbox = Inbox()
    ours, theirs = both_ends()
    inbox.watch("near", ours)
    future: Future[str] = Future()
    inbox.expect("far", 7, SimpleNamespace(future=lambda: future))
    inbox.wait(0.0)
    assert [*inbox.from_sockets(), *inbox.from_ray()] == []
    for task, word in enumerate(("one", "two")):
        theirs.send((task, word))
    future.set_result("done")
    inbox.wait(120.0)
    inbox.wait(120.0)  # nothing is lost that was not taken out
    told = [*inbox.from_sockets(), *inbox.from_ray()]
    assert [(name, task, result()) for name, task, result in told] == [
        ("near", 0, "one"),
        ("near", 1, "two"),
        ("far", 7, "done"),
    ]
    theirs.close()
    inbox.wait(120.0)
    assert list(inbox.from_sockets()) == []
    inbox.wait(0.0)  # a connection that is over does not wake anybody again
    assert inbox._ready == []
    inbox.close()
    ours.close()


def test_ray_may_tell_something_when_nobody_listens_any_more() -> None:
    """Its threads go on after a run."""
    inbox = Inbox()
    future: Future[str] = Future()
    inbox.expect("far", 7, SimpleNamespace(future=lambda: future))
    inbox.close()
    future.set_result("done")
