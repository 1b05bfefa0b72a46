"""Channels and parcels: whole, unchanged while anybody looks, and nothing left open."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.errors import EngineError
from flip_lab.engines import channel as channels
from flip_lab.engines.channel import Channel
from flip_lab.engines.parcels import Parcel, open_parcel

_INLINE = channels._INLINE_BYTES


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    """Give the two ends of a channel."""
    one, other = (Channel(end) for end in socket.socketpair())
    yield one, other
    one.close()
    other.close()


def num_descriptors() -> int:
    """Count the open files of this process; those of earlier tests may go meanwhile."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def array(size: int, first: int = 0) -> Any:  # noqa: ANN401  # an ndarray
    """Give an array of so many bytes."""
    return (np.arange(first, first + size) % 251).astype(np.uint8)


def in_child(work: Callable[[], object]) -> int:
    """Let a copy of this process do something and end; give its process id."""
    process_id = os.fork()
    if process_id == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return process_id


def ended_well(process_id: int) -> bool:
    """Wait for a copy of this process."""
    return os.waitpid(process_id, 0)[1] == 0


THINGS = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=9), st.integers(0, 90_000)),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


# --- round trips -----------------------------------------------------------------------


@given(
    thing=THINGS, sizes=st.lists(st.sampled_from([0, 1, 63, 64, 65, 40_000]), max_size=5)
)
def test_what_is_sent_is_received(thing: object, sizes: list[int]) -> None:
    """Small things by socket and large ones by memory, arrays without bytes among them."""
    one, other = (Channel(end) for end in socket.socketpair())
    arrays = [array(size, size) for size in sizes]
    one.send((thing, arrays))
    (found, others), descriptors = other.receive()
    assert (found, descriptors) == (thing, [])
    assert [each.tobytes() for each in others] == [each.tobytes() for each in arrays]
    one.close()
    other.close()


@pytest.mark.parametrize(
    "size", [_INLINE - 400, _INLINE - 16, _INLINE, _INLINE + 1, 9 << 20]
)
def test_sizes_around_the_border(ends: tuple[Channel, Channel], size: int) -> None:
    """Both ways, again and again."""
    for number in range(4):
        ends[0].send([array(size, number)])
        [found], _ = ends[1].receive()
        assert found.tobytes() == array(size, number).tobytes()
        ends[1].send(found)
        assert ends[0].receive()[0].tobytes() == found.tobytes()


def test_thousands_of_small_arrays_do_not_fill_the_socket(
    ends: tuple[Channel, Channel],
) -> None:
    """Their sizes alone would: they go by memory, too, so that a send never blocks."""
    many = [array(3, number) for number in range(60_000)]
    ends[0].send(many)
    ends[0].send(many[:2])
    found, _ = ends[1].receive()
    assert [each.tobytes() for each in found] == [each.tobytes() for each in many]
    assert len(ends[1].receive()[0]) == 2


def test_order_and_dtype_stay(ends: tuple[Channel, Channel]) -> None:
    """Fortran order travels without being turned."""
    sent = np.asfortranarray(np.random.default_rng(0).random((300, 200)))
    ends[0].send(sent)
    found, _ = ends[1].receive()
    assert found.flags.f_contiguous
    assert not found.flags.writeable
    assert (found == sent).all()


def test_several_messages_wait_for_their_reader(ends: tuple[Channel, Channel]) -> None:
    """``has_more`` says what ``select`` cannot see."""
    for number in range(3):
        ends[0].send([number, array(50_000, number)])
    assert not ends[1].has_more()
    assert ends[1].receive()[0][0] == 0
    for number in (1, 2):
        found = ends[1].receive()[0]
        assert found[0] == number
        assert found[1].tobytes() == array(50_000, number).tobytes()
    assert not ends[1].has_more()


# --- memory ----------------------------------------------------------------------------


def test_memory_is_not_written_while_anybody_looks(ends: tuple[Channel, Channel]) -> None:
    """Arrays, slices of them and single parts of a message are held for long."""
    ends[0].send([array(50_000), array(70_000, 9)])
    held = ends[1].receive()[0][1][100:200]
    for number in range(50):
        ends[0].send(array(120_000, number))
        assert ends[1].receive()[0].tobytes() == array(120_000, number).tobytes()
        ends[1].send(None)  # carries the news of what is free
        ends[0].receive()
    assert held.tobytes() == array(70_000, 9)[100:200].tobytes()
    assert len(ends[0]._outbox.segments) == 2


def test_memory_is_used_again_and_fits(ends: tuple[Channel, Channel]) -> None:
    """One segment serves a thousand messages; a smaller one is rather taken."""
    for size in (400_000, 40_000):
        ends[0].send(array(size))
    ends[1].receive()
    ends[1].receive()
    ends[1].send(None)
    ends[0].receive()
    assert ends[0]._outbox.take(30_000).number == 1
    assert ends[0]._outbox.take(30_000).number == 0
    assert ends[0]._outbox.take(30_000).number == 2


def test_a_thousand_messages_leave_no_open_file() -> None:
    """With parcels sent along, and large ones both ways."""
    before = num_descriptors()
    one, other = (Channel(end) for end in socket.socketpair())
    during: list[int] = []
    found: Any = None
    for number in range(1000):
        parcel = Parcel(array(100, number))
        one.send(array(40_000 + number % 7, number), descriptors=[parcel.descriptor])
        parcel.close()
        found, [descriptor] = other.receive()
        assert open_parcel(descriptor).tobytes() == array(100, number).tobytes()
        other.send(found)
        assert one.receive()[0][-1] == found[-1]
        if number % 100 == 99:
            during.append(num_descriptors())
    assert max(during) == during[0]
    one.close()
    other.close()
    one.close()  # twice is once
    del found
    assert num_descriptors() <= before


def test_unread_files_are_closed(ends: tuple[Channel, Channel]) -> None:
    """Those of a message that nobody will receive."""
    parcel = Parcel("p")
    before = num_descriptors()
    ends[0].send(1)
    ends[0].send(2, descriptors=[parcel.descriptor])
    assert ends[1].receive()[0] == 1
    ends[1].close()
    assert num_descriptors() <= before
    parcel.close()


def test_news_of_free_memory_comes_from_any_thread(ends: tuple[Channel, Channel]) -> None:
    """Replies are dropped wherever the strategy drops them."""
    for _ in range(20):
        ends[0].send(array(50_000))
    replies = [ends[1].receive()[0] for _ in range(20)]
    threads = [threading.Thread(target=replies.pop) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    ends[1].send("news")
    ends[0].receive()
    assert ends[0]._outbox.free == set(range(20))


def test_what_was_received_outlives_the_channel(ends: tuple[Channel, Channel]) -> None:
    """A reply is still there when the run's workers are gone."""
    ends[0].send(array(90_000, 4))
    found, _ = ends[1].receive()
    ends[0].close()
    ends[1].close()
    gc.collect()
    assert found.tobytes() == array(90_000, 4).tobytes()


@pytest.mark.parametrize("call", ["posix_fallocate", "memfd_create"])
def test_full_memory_is_a_coded_error(
    ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Nothing was sent and nothing is lost: the channel goes on."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    ends[0].send(array(50_000))
    ends[1].receive()
    ends[1].send(array(60_000))
    ends[0].receive()
    before = num_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(EngineError, match="no shared memory left") as raised:
            ends[0].send(array(8 << 20))
    assert raised.value.code == "FLIP-500"
    assert num_descriptors() <= before
    ends[0].send(array(40_000, 3))
    assert ends[1].receive()[0].tobytes() == array(40_000, 3).tobytes()
    assert ends[1]._outbox.free == {0}  # the news was not lost with the failed message


def test_a_parcel_without_memory_is_a_coded_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its half-written memory is let go."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = num_descriptors()
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(EngineError, match="no shared memory left"):
        Parcel(array(1000))
    assert num_descriptors() <= before


def test_what_cannot_be_pickled_leaves_the_channel_as_it_was(
    ends: tuple[Channel, Channel],
) -> None:
    """Nothing of it is sent."""
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        ends[0].send([array(50_000), lambda: None])
    ends[0].send("next")
    assert ends[1].receive()[0] == "next"


# --- the other side --------------------------------------------------------------------


def test_a_closed_end_is_the_end(ends: tuple[Channel, Channel]) -> None:
    """What was sent before is still received."""
    ends[0].send("last words")
    ends[0].close()
    assert ends[1].receive()[0] == "last words"
    with pytest.raises(EOFError):
        ends[1].receive()
    with pytest.raises(OSError, match="pipe"):
        ends[1].send("too late")


@pytest.mark.parametrize("unread", [False, True])
def test_a_killed_process_is_the_end(
    ends: tuple[Channel, Channel], *, unread: bool
) -> None:
    """Also with something unread, where the kernel says that the connection was reset."""
    one, other = ends

    def hang() -> None:
        one.close()
        if not unread:
            other.receive()
        other.send("hello")
        signal.pause()

    child = in_child(hang)
    other._socket.close()
    one.send("for you")
    assert one.receive()[0] == "hello"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with pytest.raises(EOFError):
        one.receive()


def test_a_very_large_message_meets_a_slow_reader(ends: tuple[Channel, Channel]) -> None:
    """A frame larger than the socket waits until it is read; signals do not break it."""
    one, other = ends
    segments = 300_000  # as many pieces of news as no socket takes at once
    one._freed.extend(number % 5 for number in range(segments))
    before = signal.signal(signal.SIGALRM, lambda *_: None)

    def read() -> None:
        one.close()
        time.sleep(0.3)
        assert other.receive()[0] == "news"
        assert other._outbox.free == set(range(5))
        assert other.receive()[0] == "more"

    child = in_child(read)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.01)
    try:
        one.send("news")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    one.send("more")
    assert ended_well(child)


# --- parcels ---------------------------------------------------------------------------


def test_a_parcel_is_read_by_two_processes(ends: tuple[Channel, Channel]) -> None:
    """And by this one, after its sender has let go of it."""
    sent = {"arrays": [array(0), array(5), array(1 << 20, 7)], "round": 3}
    parcel = Parcel(sent)

    def check(found: dict[str, Any]) -> None:
        assert found["round"] == 3
        for one, other in zip(found["arrays"], sent["arrays"], strict=True):  # pyright: ignore[reportArgumentType]  # a list
            assert one.tobytes() == other.tobytes()
            assert not one.flags.writeable

    def receive() -> None:
        _, [descriptor] = ends[1].receive()
        check(open_parcel(descriptor))

    for _ in range(2):
        child = in_child(receive)
        ends[0].send("parcel", descriptors=[parcel.descriptor])
        assert ended_well(child)
    found = open_parcel(os.dup(parcel.descriptor))
    parcel.close()
    check(found)
