"""A message with its objects in one request: nothing lost, nothing taken from strangers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import (
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
    PushMessagesResponse,
)
from flwr.proto.message_pb2 import PullObjectResponse
from flwr.superlink.servicer.fleet import fleet_handlers
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.holding import Holding
from flip_lab.core.logged import confusion_matrix, histogram, image
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.flower.facts import RECORD, Facts, add_facts, take_facts
from flip_lab.engines.flower.fleet_exchange import ExchangeError, FleetDesk
from flip_lab.engines.flower.fleet_frames import framed, object_ids, unframed
from flip_lab.engines.flower.fleet_objects import deflated, inflated
from flip_lab.engines.flower.messages import become_server

NODE = 77


@pytest.fixture(autouse=True)
def ready() -> None:
    """Be as ready as a node is."""
    install_fast_arrays()


def message(size: int = 3) -> Message:
    """Give a message to the node."""
    become_server(5)
    content = RecordDict(
        {"arrays": ArrayRecord([np.arange(float(size))]), "config": ConfigRecord({"a": 1})}
    )
    return Message(content, NODE, "train")


class State:
    """What the desk needs of a link state, and what it asked of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *messages: Message) -> None:
        """Hold messages, all their objects with them."""
        self.object_store = self
        self.waiting = [*messages]
        self.confirmed: list[str] = []
        self.given_up: list[str] = []
        self.stored: dict[str, bytes] = {}
        self.objects: dict[str, bytes] = {}
        for name in ("pull_messages", "pull_object", "push_messages", "push_object"):
            monkeypatch.setattr(fleet_handlers, name, getattr(self, f"_{name}"))
        monkeypatch.setattr(fleet_handlers, "confirm_message_received", self._confirm)

    def get_run_status(self, run_ids: set[int]) -> dict[int, str]:
        """Know every run."""
        return dict.fromkeys(run_ids, "running")

    def give_up(self, message_id: str) -> None:
        """Keep which call is answered for."""
        self.given_up.append(message_id)

    def _pull_messages(self, *_: object) -> PullMessagesResponse:
        if not self.waiting:
            return PullMessagesResponse()
        parts = deflated(one := self.waiting.pop(0))
        self.objects.update(parts.contents)
        bare = message_to_proto(remove_content_from_message(one))
        return PullMessagesResponse(messages_list=[bare], message_object_trees=[parts.tree])

    def _pull_object(self, request: object, _: object) -> PullObjectResponse:
        content = self.objects.get(request.object_id)  # type: ignore[attr-defined]
        return PullObjectResponse(
            object_found=content is not None,
            object_available=bool(content),
            object_content=content or b"",
        )

    def _push_messages(
        self, request: PushMessagesRequest, _: object
    ) -> PushMessagesResponse:
        ids = object_ids(request.message_object_trees[0])
        return PushMessagesResponse(objects_to_push=ids[:-1], session_id="s")

    def _push_object(self, request: object, _: object) -> None:
        self.stored[request.object_id] = request.object_content  # type: ignore[attr-defined]

    def _confirm(self, request: object, *_: object) -> None:
        self.confirmed.append(request.message_object_id)  # type: ignore[attr-defined]


def asked(node_id: int = NODE) -> bytes:
    """Give the request of a node."""
    request = PullMessagesRequest()
    request.node.node_id = node_id
    return request.SerializeToString()


def received(body: bytes) -> Message | None:
    """Do what a node does with an answer."""
    head, *contents = unframed(body)
    answer = PullMessagesResponse.FromString(head)
    if not answer.messages_list:
        return None
    tree = answer.message_object_trees[0]
    return inflated(tree, dict(zip(object_ids(tree), contents, strict=True)))


@given(st.lists(st.binary(max_size=50), max_size=8))
def test_frames_come_apart_as_they_were_joined(parts: list[bytes]) -> None:
    """Empty ones, too."""
    assert unframed(framed(parts)) == parts


@given(st.binary(min_size=1, max_size=60))
def test_no_bytes_break_the_reader_of_frames(body: bytes) -> None:
    """Whatever a stranger sends: parts, or a refusal, and no large memory."""
    with suppress(ExchangeError):
        assert framed(unframed(body)) == body


def test_a_message_is_given_again_until_the_node_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection that breaks loses nothing; an acknowledgement lets go of the objects."""
    first, second = message(3), message(4)
    state = State(monkeypatch, first, second)
    desk = FleetDesk(state)  # type: ignore[arg-type]
    one = received(desk.next_call(NODE))
    again = received(desk.next_call(NODE, got="another"))
    assert one is not None
    assert again is not None
    assert one.metadata.message_id == again.metadata.message_id
    assert one.content["arrays"] == first.content["arrays"]
    assert state.confirmed == []
    assert desk.owes(NODE, "")
    other = received(desk.next_call(NODE, got=one.metadata.message_id))
    assert other is not None
    assert other.content["arrays"] == second.content["arrays"]
    assert state.confirmed == [one.metadata.message_id]
    last = desk.next_call(NODE, got=other.metadata.message_id)
    assert received(last) is None


def test_a_large_message_goes_in_flowers_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the hub never holds all of it for a hundred nodes at once."""
    state = State(monkeypatch, message(2**20))
    desk = FleetDesk(state)  # type: ignore[arg-type]
    assert len(unframed(desk.next_call(NODE))) == 1


def test_a_message_that_is_here_no_more_keeps_no_other_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node fetched and confirmed it in Flower's way, and lost it: somebody answers."""
    lost, next_one = message(2**20), message(4)
    state = State(monkeypatch, lost, next_one)
    desk = FleetDesk(state)  # type: ignore[arg-type]
    desk.next_call(NODE)
    state.objects.clear()
    given = received(desk.next_call(NODE))
    assert given is not None
    assert given.content["arrays"] == next_one.content["arrays"]
    assert state.given_up == [lost.metadata.message_id]


def test_a_message_whose_arrays_are_on_their_way_comes_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is answered meanwhile, and nothing is lost."""
    state = State(monkeypatch, message())
    desk = FleetDesk(state)  # type: ignore[arg-type]
    desk.next_call(NODE)
    last = [*state.objects][-1]
    content, state.objects[last] = state.objects[last], b""
    assert desk.next_call(NODE) == b""
    state.objects[last] = content
    assert received(desk.next_call(NODE)) is not None


def test_a_reply_is_stored_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects that the hub has already, and those nobody asked for, are left out."""
    state = State(monkeypatch)
    desk = FleetDesk(state)  # type: ignore[arg-type]
    parts, body = reply_of(NODE)
    desk.push(NODE, framed([body, *parts.values(), b"nobody wants this"]))
    assert set(state.stored) == {*[*parts][:-1]}


def reply_of(node_id: int) -> tuple[Mapping[str, bytes], bytes]:
    """Give a reply's objects and the request that announces them."""
    asking = message()
    asking.metadata.__dict__["_message_id"] = "m"
    reply = Message(RecordDict({"m": MetricRecord({"x": 1.0})}), reply_to=asking)
    parts = deflated(reply)
    request = PushMessagesRequest(
        messages_list=[message_to_proto(remove_content_from_message(reply))],
        message_object_trees=[parts.tree],
    )
    request.node.node_id = node_id
    return parts.contents, request.SerializeToString()


def test_nobody_speaks_for_another_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither to get its messages nor to answer them."""
    desk = FleetDesk(State(monkeypatch, message()))  # type: ignore[arg-type]
    with pytest.raises(ExchangeError, match="speaks for"):
        desk.see_that_it_asks(3, asked())
    for signed, said in ((3, NODE), (NODE, 3), (3, 3)):
        with pytest.raises(ExchangeError, match="speaks for"):
            desk.push(signed, framed([reply_of(said)[1]]))
    for body in (b"", framed([]), framed([b"\xff"]), framed([b""])):
        with pytest.raises(ExchangeError):
            desk.push(NODE, body)


def test_an_object_that_is_not_what_its_id_says_is_refused() -> None:
    """A message is built of the very bytes that were sent, or not at all."""
    parts = deflated(message())
    for object_id, content in parts.contents.items():
        damaged = {**parts.contents, object_id: content + b"x"}
        with pytest.raises(ValueError, match="damaged"):
            inflated(parts.tree, damaged)
    missing = dict([*parts.contents.items()][1:])
    with pytest.raises(ValueError, match="no message"):
        inflated(parts.tree, missing)


def test_facts_travel_in_a_reply_and_come_off_it() -> None:
    """Times and everything that can be logged; the reply is what the client made."""
    facts = Facts(
        started_s=1.5,
        duration_s=2.0,
        logged={
            "loss": 0.5,
            "weights": histogram([1, 2, 3, float("nan")], bins=3),
            "picture": image(np.zeros((4, 4))),
            "errors": confusion_matrix([[1, 2], [3, 4]], labels=["a", "b"]),
        },
        holding=Holding(partition_id=3, partition_sha256="a" * 64, data_sha256="b" * 64),
    )
    reply = message()
    before = dict(reply.content)
    add_facts(reply, facts)
    assert take_facts(reply) == facts
    assert dict(reply.content) == before
    assert take_facts(reply) is None


@pytest.mark.parametrize(
    "record",
    [
        ConfigRecord({}),
        ConfigRecord({"started_s": "now", "duration_s": 1.0}),
        ConfigRecord({"started_s": float("nan"), "duration_s": 1.0}),
        MetricRecord({"started_s": 1.0, "duration_s": 1.0}),
    ],
)
def test_facts_that_cannot_be_read_are_none(record: ConfigRecord | MetricRecord) -> None:
    """The reply is as good without them."""
    reply = message()
    reply.content[RECORD] = record
    assert take_facts(reply) is None
    assert RECORD not in reply.content


def test_what_is_no_fact_is_left_out() -> None:
    """A node may send anything; only what its makers would take is taken."""
    reply = message()
    told = {
        "logged/text": "no json",
        "logged/kind": '{"Secret": {}}',
        "logged/bytes": b"no png",
        "logged/histogram": '{"Histogram": {"edges": [0, 1], "counts": [1, 2]}}',
        "logged/list": "[]",
        "logged/depth": "[" * 100_000,
        "logged/endless": '{"Histogram": {"edges": [0, 1], "counts": [Infinity]}}',
        "logged/good": 3.0,
        "partition_id": 0,
        "partition_sha256": "no hash",
        "data_sha256": "b" * 64,
    }
    reply.content[RECORD] = ConfigRecord({"started_s": 1.0, "duration_s": -4.0, **told})
    assert take_facts(reply) == Facts(started_s=1.0, duration_s=0.0, logged={"good": 3.0})
