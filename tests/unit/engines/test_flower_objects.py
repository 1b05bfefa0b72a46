"""Messages as objects on the wire: written once going out, distrusted coming in."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from threading import Event
from typing import Any

import httpx
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.app.message.arraychunk import ArrayChunk
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ConfirmMessageReceivedResponse,
    PullObjectRequest,
    PullObjectResponse,
    PushObjectRequest,
    PushObjectResponse,
)
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import PullAppMessagesResponse
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_id,
)
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.errors import ReplyRefusedError
from flip_lab.engines.flower import heartbeat, objects
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.flower.fetching import Fetcher
from flip_lab.engines.flower.heartbeat import Heartbeat
from flip_lab.engines.flower.incoming import read_npy, unpack
from flip_lab.engines.flower.messages import become_server
from flip_lab.engines.flower.objects import ObjectCalls, _Frames
from flip_lab.engines.flower.outgoing import pack, readdressed

ROOMY = 2**26


@pytest.fixture(autouse=True)
def server() -> None:
    """Be a server that may build messages."""
    install_fast_arrays()
    become_server(3)


def message_with(values: np.ndarray, node_id: int = 7) -> Message:
    """Make a message with every kind of record."""
    return Message(records_with(values), node_id, "train")


def records_with(values: np.ndarray) -> RecordDict:
    """Make records of every kind."""
    return RecordDict(
        {
            "arrays": ArrayRecord({"w": Array(values), "b": Array(np.zeros(0))}),
            "metrics": MetricRecord({"loss": 0.5}),
            "config": ConfigRecord({"server-round": 3, "names": ["a", "b"]}),
        }
    )


def on_the_wire(message: Message) -> tuple[str, dict[str, bytes]]:
    """Write a message as a SuperLink keeps it."""
    parcels = pack([message])
    [message_id] = parcels.ids
    return message_id, dict(parcels.contents(parcels.objects, lambda: None))


@pytest.mark.parametrize(
    "values",
    [
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.array(2.5),
        np.zeros((0, 4), np.int64),
        np.array(["north", "south"]),
        np.zeros(3_000_000, np.uint8),
        np.arange(4, dtype=">f8"),
    ],
    ids=["c", "fortran", "scalar", "empty", "text", "alike-chunks", "big-endian"],
)
def test_what_goes_out_comes_in(values: np.ndarray) -> None:
    """Values, dtypes and orders, and all other records."""
    message_id, contents = on_the_wire(message_with(values))
    content = unpack(message_id, contents, limit_bytes=ROOMY).content
    found = content.array_records["arrays"]["w"].numpy()
    np.testing.assert_array_equal(found, values)
    assert found.dtype == values.dtype
    assert found.flags.f_contiguous == values.flags.f_contiguous
    assert content.metric_records["metrics"] == {"loss": 0.5}
    assert content.config_records["config"]["names"] == ["a", "b"]


def test_ids_are_those_that_flower_gives() -> None:
    """A SuperLink holds what it has against the hash of what comes."""
    message = message_with(np.arange(5.0))
    parcels = pack([message])
    assert set(parcels.objects) == set(get_all_nested_objects(message))
    for object_id, content in parcels.contents(parcels.objects, lambda: None):
        assert get_object_id(content) == object_id


def test_a_content_that_messages_share_is_written_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bytes of a model are made once for all nodes of a round."""
    written: list[int] = []
    deflate = ArrayChunk.deflate

    def counted(self: ArrayChunk) -> bytes:
        written.append(len(self.data))
        return deflate(self)

    monkeypatch.setattr(ArrayChunk, "deflate", counted)
    content = records_with(np.arange(1000.0))
    twins = readdressed((Message(content, 1, "train"), node) for node in range(2, 52))
    parcels = pack(twins)
    list(parcels.contents(parcels.objects, lambda: None))
    assert len(parcels.trees) == 50 == len(set(parcels.ids))
    assert written.count(max(written)) == 2, "hashed once, pushed once"
    assert "data" not in vars(content.array_records["arrays"]["w"]), "ours stays lean"


def test_messages_of_an_earlier_run_are_sent_in_this_one() -> None:
    """Ids of run and node are the present ones; the given message stays as it was."""
    become_server(3)
    old = message_with(np.zeros(2))
    become_server(4)
    [twin] = readdressed([(old, 99)])
    assert (twin.metadata.run_id, twin.metadata.dst_node_id) == (4, 99)
    assert (old.metadata.run_id, old.metadata.dst_node_id) == (3, 7)


def forged(change: Callable[[dict[str, Any]], None]) -> tuple[str, dict[str, bytes]]:
    """Write a reply whose array says of itself what a forger likes."""
    message_id, contents = on_the_wire(message_with(np.arange(4.0)))
    for object_id, content in contents.items():
        if content.startswith(b"Array ") and b'"shape": [4]' in content:
            head, _, body = content.partition(b"\x00")
            told = json.loads(body)
            change(told)
            body = json.dumps(told).encode()
            kind, children, _ = head.split(b" ")
            contents[object_id] = (
                b" ".join([kind, children, b"%d" % len(body)]) + b"\x00" + body
            )
            return message_id, contents
    raise AssertionError(list(contents.values()))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda told: told.update(arraychunk_ids=[0] * 10_000), "unfolds to"),
        (lambda told: told.update(shape=[10**12]), "holds float64"),
        (lambda told: told.update(shape=[5]), "holds float64"),
        (lambda told: told.update(dtype="float32"), "holds float64"),
        (lambda told: told.update(dtype="object"), "cannot be read|holds"),
        (lambda told: told.update(arraychunk_ids=[0, 0]), "bytes"),
        (lambda told: told.update(arraychunk_ids=[7]), "cannot be read"),
        (lambda told: told.update(shape="x"), "cannot be read"),
    ],
)
def test_a_forged_array_is_refused_before_it_takes_memory(
    change: Callable[[dict[str, Any]], None], why: str
) -> None:
    """A chunk of five megabytes, named a million times, would be five terabytes."""
    message_id, contents = forged(change)
    tracemalloc.start()
    try:
        with pytest.raises(ReplyRefusedError, match=why):
            unpack(message_id, contents, limit_bytes=ROOMY)
        assert tracemalloc.get_traced_memory()[1] < 2**30
    finally:
        tracemalloc.stop()


def test_a_reply_may_not_be_larger_than_its_limit() -> None:
    """All its arrays together."""
    message_id, contents = on_the_wire(message_with(np.zeros(1000)))
    with pytest.raises(ReplyRefusedError, match="unfolds to"):
        unpack(message_id, contents, limit_bytes=8000)


def test_a_reply_that_is_no_message_is_refused() -> None:
    """Its root may be any object."""
    content = ConfigRecord({"a": 1}).deflate()
    with pytest.raises(ReplyRefusedError, match="is a ConfigRecord"):
        unpack("x", {"x": content}, limit_bytes=ROOMY)


def test_an_array_of_python_objects_is_refused() -> None:
    """Reading one would run whatever it holds."""
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ReplyRefusedError, match="Python objects"):
        read_npy(file.getvalue())


@given(st.binary(max_size=200))
def test_noise_is_refused_and_nothing_worse(noise: bytes) -> None:
    """Whatever the readers of Flower and NumPy raise becomes one error."""
    for content in (
        noise,
        b"Message  %d\x00" % len(noise) + noise,
        b"Array  3\x00{}" + noise,
    ):
        with suppress(ReplyRefusedError):
            unpack("x", {"x": content}, limit_bytes=ROOMY)


class FakeClient:
    """A Runtime API that keeps objects; a hub's, or a stock one."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.calls: list[tuple[str, int]] = []
        self.confirmed: list[str] = []
        self.confirmed: list[str] = []
        self.forgets = False
        self.is_heard = Event()
        self.is_closed = Event()

    def ConfirmMessageReceived(self, _request: object) -> None:  # noqa: N802  # Flower's name
        """Answer when the test says so."""
        assert self.is_heard.wait(120)
        assert not self.is_closed.is_set()

    def close(self) -> None:
        """Answer nobody any more."""
        self.is_closed.set()

    def _unary_unary(
        self, *, path: str, rpc_method: str, request: _Frames, response_type: type[_Frames]
    ) -> _Frames:
        assert rpc_method.startswith(("/flwr.proto.Runtime/P", "/flwr.proto.Runtime/C"))
        body, at, answers = request.SerializeToString(deterministic=True), 0, []
        while at < len(body):
            size = int.from_bytes(body[at : at + 4])
            answers.append(self._one(path, body[at + 4 : at + 4 + size]))
            at += 4 + size
        self.calls.append((path, len(answers)))
        given = answers[:3] if "pull" in path else answers
        framed = [a.SerializeToString() for a in given]
        response = response_type()
        response.ParseFromString(b"".join(len(a).to_bytes(4) + a for a in framed))
        return response

    def _one(
        self, path: str, part: bytes
    ) -> ConfirmMessageReceivedResponse | PullObjectResponse | PushObjectResponse:
        if "confirm" in path:
            request = ConfirmMessageReceivedRequest.FromString(part)
            self.confirmed.append(request.message_object_id)
            return ConfirmMessageReceivedResponse()
        if "push" in path:
            return self.PushObject(PushObjectRequest.FromString(part))
        return self.PullObject(PullObjectRequest.FromString(part))

    def PushObject(self, request: PushObjectRequest) -> PushObjectResponse:  # noqa: N802  # Flower's name
        """Keep an object."""
        self.objects[request.object_id] = request.object_content
        return PushObjectResponse(stored=not self.forgets)

    def PullObject(self, request: PullObjectRequest) -> PullObjectResponse:  # noqa: N802  # Flower's name
        """Give an object."""
        content = self.objects.get(request.object_id)
        if content is None:
            return PullObjectResponse(object_found=False)
        return PullObjectResponse(
            object_found=True, object_available=True, object_content=content
        )


@pytest.mark.parametrize("in_batches", [True, False])
def test_objects_go_both_ways(in_batches: bool) -> None:  # noqa: FBT001  # a case
    """A hub takes many at once, and may answer the first ones only."""
    client: Any = FakeClient()
    calls = ObjectCalls(client, Node(node_id=1), 3, in_batches=in_batches)
    objects = {f"id-{number}": b"%d" % number * 2_000_000 for number in range(10)}
    calls.push(iter(objects.items()), "session")
    assert client.objects == objects
    got = calls.pull(list(objects))
    contents = [answer.object_content for answer in got]
    assert contents == list(objects.values())[: len(contents)]
    assert len(contents) >= 3
    if in_batches:
        assert sorted(count for _, count in client.calls) == [5, 5, 10], "8 MiB each"
    calls.close()


def test_a_push_that_the_hub_forgot_is_to_be_done_again() -> None:
    """Its session ended: what arrived does not count."""
    client: Any = FakeClient()
    client.forgets = True
    calls = ObjectCalls(client, Node(node_id=1), 3, in_batches=True)
    with pytest.raises(httpx.ReadError, match="no longer waits"):
        calls.push(iter([("a", b"b")]), "session")
    calls.close()


def announced(count: int) -> tuple[Any, Fetcher, dict[str, int]]:
    """Give a hub that has replies, a fetcher that heard of them, and their limits."""
    client: Any = FakeClient()
    answer = PullAppMessagesResponse()
    for number in range(count):
        parcels = pack([message_with(np.full(3, float(number)))])
        client.objects.update(parcels.contents(parcels.objects, lambda: None))
        parcels.messages[0].metadata.reply_to_message_id = f"call {number}"
        answer.messages_list.append(parcels.messages[0])
        answer.message_object_trees.append(parcels.trees[0])
    calls = ObjectCalls(client, Node(node_id=1), 3, in_batches=True)
    fetcher = Fetcher(calls)
    fetcher.announce(answer)
    return client, fetcher, {f"call {number}": ROOMY for number in range(count)}


@pytest.mark.parametrize("num_missing", [0, 1])
def test_replies_of_a_round_are_confirmed_together(num_missing: int) -> None:
    """A request for each would cost a hub as much as the replies themselves."""
    client, fetcher, limits = announced(20)
    more = {f"not here yet {number}": ROOMY for number in range(num_missing)}
    arrivals = fetcher.collect(limits | more)
    fetcher._objects.close()
    assert len(arrivals) == 20
    requests = [path for path, _ in client.calls if "confirm" in path]
    assert len(requests) == 1 - num_missing
    assert len(client.confirmed) == (0 if num_missing else 20)


def test_a_connection_is_closed_after_the_last_call_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Closed under a call that was opening it, it would stay open for ever."""
    monkeypatch.setattr(objects, "_GRACE_S", 0.0)
    client: Any = FakeClient()
    calls = ObjectCalls(client, Node(node_id=1), 3, in_batches=False)
    calls.confirm(["reply"])
    calls.close()
    assert not client.is_closed.is_set()
    client.is_heard.set()
    assert client.is_closed.wait(120)


def test_a_heartbeat_outlives_its_failures() -> None:
    """Flower's own ends at the first HTTP 500, and the run with it a minute later."""
    beats: list[int] = []
    enough, ended = Event(), Event()

    def beat() -> None:
        beats.append(1)
        if len(beats) >= 3:
            enough.set()
        raise RuntimeError("HTTP 500")

    patched = pytest.MonkeyPatch()
    with patched.context() as patch:
        patch.setattr(heartbeat, "_AGAIN_S", 0.001)
        sender = Heartbeat(beat, ended.set)
        assert enough.wait(120)
        sender.close()
    assert ended.wait(120), "it hangs up when it is closed"
