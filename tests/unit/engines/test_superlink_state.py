"""A hub's link state: whole messages only, and an answer for every call."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Thread

import numpy as np
import pytest
from flwr.app import ArrayRecord, Message, RecordDict
from flwr.app.message import make_message
from flwr.app.metadata import Metadata
from flwr.common.constant import NOOP_FLWR_AID
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.constant import NOOP_FEDERATION_ID
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
)
from flwr.supercore.object_store import in_memory_object_store
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore

from flip_lab.core.clock import now_s
from flip_lab.engines.flower import superlink_leftovers
from flip_lab.engines.flower.control import RunStanding
from flip_lab.engines.flower.superlink_leftovers import UNCLAIMED_S
from flip_lab.engines.flower.superlink_state import HubLinkState, new_state, node_id_of

KEY = b"-----BEGIN PUBLIC KEY----- of a test"
HUB = 1
LOST = 5  # Flower's code for a node that is not there


@dataclass
class Heard:
    """Hears what is new."""

    nodes: list[int] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)

    def node(self, node_id: int) -> None:
        """Keep a node."""
        self.nodes.append(node_id)

    def run(self, run_id: int) -> None:
        """Keep a run."""
        self.runs.append(run_id)


@dataclass
class World:
    """A state with one online node and one run."""

    heard: Heard
    state: HubLinkState
    node_id: int
    run_id: int

    def message(self, reply_to: Message | None = None) -> Message:
        """Make a call for the node, or its reply."""
        source, target = (HUB, self.node_id) if reply_to is None else (self.node_id, HUB)
        metadata = Metadata(
            run_id=self.run_id,
            message_id="",
            src_node_id=source,
            dst_node_id=target,
            reply_to_message_id=reply_to.metadata.message_id if reply_to else "",
            group_id="",
            message_type="train",
            created_at=now_s(),
            ttl=60.0,
        )
        arrays = ArrayRecord([np.arange(4.0) + (reply_to is not None)])
        message = make_message(metadata, RecordDict({"arrays": arrays}))
        message.metadata.__dict__["_message_id"] = message.object_id
        return message

    def store(self, message: Message, *, leave: int = 0) -> list[tuple[str, bytes, str]]:
        """Store a message with its objects but for some; give those."""
        session = self.state.start_session(self.run_id)
        stored, missing = self.state.store_message_and_object_tree(
            message, get_object_tree(message), session
        )
        assert stored
        contents = get_all_nested_objects(message)
        objects = [(each, contents[each].deflate(), session) for each in missing]
        for each in objects[: len(objects) - leave]:
            self.put(*each)
        return objects[len(objects) - leave :]

    def put(self, object_id: str, content: bytes, session: str) -> None:
        """Store an object."""
        assert self.state.store_object(self.run_id, session, object_id, content)

    def take(self) -> list[Message]:
        """Take a call as the node."""
        return self.state.get_message_ins(self.node_id, 1)

    def replies(self, call: Message) -> list[Message]:
        """Take the reply to a call as its driver."""
        return self.state.get_message_res({call.metadata.message_id}, self.run_id)


@pytest.fixture
def world() -> World:
    """Give a world."""
    heard = Heard()
    state = new_state(heard)
    node_id = state.admit(KEY)
    assert node_id == node_id_of(KEY) == state.admit(KEY)
    state.acknowledge_node_heartbeat(node_id, 30)
    run_id = state.create_run(
        None, None, None, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, "flwr-serverapp"
    )
    return World(heard, state, node_id, run_id)


def test_only_whole_messages_are_handed_out(world: World) -> None:
    """In both directions, and the one they are for hears of it once."""
    call = world.message()
    rest = world.store(call, leave=2)
    assert (world.take(), world.heard.nodes) == ([], [])
    for each in rest:
        assert not world.state.has_call(world.node_id)
        world.put(*each)
    assert world.heard.nodes == [world.node_id]
    assert world.take() == [call]
    assert world.take() == []
    reply = world.message(reply_to=call)
    rest = world.store(reply, leave=1)
    assert (world.replies(call), world.heard.runs) == ([], [])
    world.put(*rest[0])
    assert world.heard.runs == [world.run_id]
    assert world.replies(call) == [reply]


def test_a_reply_counts_whatever_became_of_its_node(world: World) -> None:
    """It was sent before its node said goodbye, or was revoked."""
    call = world.message()
    world.store(call)
    world.take()
    reply = world.message(reply_to=call)
    world.store(reply)
    world.state.deactivate_node(world.node_id)
    assert world.replies(call) == [reply]


def test_nothing_is_remembered_of_what_is_over(world: World) -> None:
    """Calls that are done, and calls that never became whole."""
    state = world.state
    done, never = world.message(), world.message()
    world.store(done)
    world.take()
    world.store(world.message(reply_to=done))
    world.store(never, leave=1)
    ids = {done.metadata.message_id, never.metadata.message_id}
    state.delete_messages(ids)
    kept = [state._missing, state._needed_by, state._lost, state._ready[world.node_id]]
    assert kept == [{}, {}, set(), {}]


def test_noise_is_not_taken_for_an_object(world: World) -> None:
    """Neither under a name that is not its hash, nor if nobody could read it."""
    [[object_id, content, session]] = world.store(world.message(), leave=1)
    for noise in (b"", b"noise", content + b"x"):
        assert not world.state.store_object(world.run_id, session, object_id, noise)
    assert not world.state.has_call(world.node_id)
    world.put(object_id, content, session)
    assert world.state.has_call(world.node_id)


def test_a_reply_that_is_never_finished_is_a_lost_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its node began to push and went on with something else."""
    call = world.message()
    world.store(call)
    world.take()
    world.store(world.message(reply_to=call), leave=1)
    world.state.sweep()
    assert world.replies(call) == []
    [session] = [
        each
        for each in world.state._object_push_sessions.values()
        if each.pending_object_ids
    ]
    monkeypatch.setattr(session, "expires_at", session.expires_at - timedelta(hours=1))
    world.state.sweep()
    assert world.heard.runs == [world.run_id]
    assert [reply.error.code for reply in world.replies(call)] == [LOST]


@pytest.mark.parametrize("is_confirmed", [False, True])
def test_a_new_process_of_a_node_inherits_what_it_can(
    world: World, *, is_confirmed: bool
) -> None:
    """Calls whose objects are still here are given again; the others are lost."""
    call = world.message()
    world.store(call)
    assert world.take() == [call]
    if is_confirmed:
        world.state.object_store.delete(call.metadata.message_id)
    world.state.begin_anew(world.node_id, is_same_process=False)
    assert world.state.activate_node(world.node_id, 30), "Flower must let it in"
    if is_confirmed:
        assert world.take() == []
        assert [reply.error.code for reply in world.replies(call)] == [LOST]
    else:
        assert world.take() == [call]
        assert world.replies(call) == []


def test_the_same_process_keeps_its_calls(world: World) -> None:
    """It activates again and answers what it took before."""
    call = world.message()
    world.store(call)
    world.take()
    world.state.object_store.delete(call.metadata.message_id)
    world.state.begin_anew(world.node_id, is_same_process=True)
    assert world.state.activate_node(world.node_id, 30)
    assert world.take() == []
    reply = world.message(reply_to=call)
    world.store(reply)
    assert world.replies(call) == [reply]


def test_a_call_that_its_node_lost_is_answered_for(world: World) -> None:
    """Unless there is a reply, or nobody knows the call any more."""
    lost, answered = world.message(), world.message()
    for call in (lost, answered):
        world.store(call)
        assert world.take() == [call]
    reply = world.message(reply_to=answered)
    world.store(reply)
    for call_id in (lost.metadata.message_id, answered.metadata.message_id, "forgotten"):
        world.state.give_up(call_id)
    assert world.heard.runs == [world.run_id] * 2
    assert [each.error.code for each in world.replies(lost)] == [LOST]
    assert world.replies(answered) == [reply]


def test_a_dismissed_node_may_be_admitted_again(world: World) -> None:
    """Under the same id; what it was asked meanwhile has an answer."""
    call = world.message()
    world.store(call)
    world.state.dismiss(world.node_id)
    world.state.dismiss(world.node_id)
    assert world.state.online() == set()
    assert world.heard.runs
    assert [reply.error.code for reply in world.replies(call)] == [LOST]
    assert world.state.admit(KEY) == world.node_id
    assert world.state.activate_node(world.node_id, 30)


def test_a_run_that_was_stopped_says_by_whom(world: World) -> None:
    """Only if somebody is known to have done it; its driver reads the name."""
    with world.state.stopped_by(world.run_id, "ada"):
        assert world.state.stop_run(world.run_id)
    status = world.state.get_run_status({world.run_id})[world.run_id]
    standing = RunStanding(
        status=status.status, sub_status=status.sub_status, details=status.details
    )
    assert (standing.is_stopped, standing.stopped_by) == (True, "ada")
    assert world.heard.runs[-1] == world.run_id


def test_a_run_whose_driver_fell_silent_ends_and_holds_nobody_up(world: World) -> None:
    """Flower ends it with its lock of tasks held, which it cannot take twice."""
    task_id = world.state.run_ids[world.run_id].run.primary_task_id
    assert task_id is not None
    assert world.state.claim_task(task_id)
    assert world.state.activate_task(task_id)
    world.state.task_token_store[task_id].active_until -= timedelta(hours=1)
    ended = Future[list[int]]()
    Thread(target=lambda: ended.set_result(world.state.sweep()), daemon=True).start()
    assert ended.result(timeout=60) == [world.run_id]
    assert world.state.outcome(world.run_id) == "failed"
    assert world.heard.runs[-1] == world.run_id
    assert world.state.sweep() == []


def test_a_call_of_a_lost_node_leaves_no_objects_behind(world: World) -> None:
    """It never said that it has them; a model of each such round would stay."""
    call = world.message()
    world.store(call)
    assert world.take() == [call]
    world.state.deactivate_node(world.node_id)
    [answer] = world.replies(call)
    assert answer.error.code == LOST
    world.state.delete_messages({call.metadata.message_id})
    world.state.object_store.delete(answer.metadata.message_id)  # as its driver does
    assert len(world.state.object_store) == 0


@pytest.mark.parametrize("what", ["store", "get"])
def test_an_expired_push_takes_locks_in_the_order_of_all_others(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Whoever stores a message holds its lock and wants that of pushes: never crosswise."""
    [[object_id, content, session_id]] = world.store(world.message(), leave=1)
    session = world.state._object_push_sessions[session_id]
    monkeypatch.setattr(session, "expires_at", session.expires_at - timedelta(hours=1))
    was_free = list[bool]()

    def look() -> None:
        was_free.append(world.state.lock.acquire(blocking=False))
        if was_free[-1]:
            world.state.lock.release()

    def delete(_: str) -> None:
        """Be called with the lock of pushes held; another thread tries the other one."""
        other = Thread(target=look)
        other.start()
        other.join()

    monkeypatch.setattr(world.state.object_store, "delete", delete)
    if what == "store":
        assert not world.state.store_object(world.run_id, session_id, object_id, content)
    else:
        world.state.get_object(world.run_id, object_id)
    assert was_free
    assert not any(was_free)


def test_a_tree_is_taken_in_whole_whatever_goes_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its arrays came with another message, which somebody confirms at that moment."""
    before, state = world.message(), world.state
    store = state.object_store
    assert isinstance(store, InMemoryObjectStore)
    world.store(before)

    def confirm() -> None:
        if store.lock_store.acquire(blocking=False):
            with store.lock_store:
                store.delete(before.metadata.message_id)
            store.lock_store.release()

    def walk(tree: ObjectTree) -> Iterator[ObjectTree]:
        *children, root = iterate_object_tree(tree)
        yield children[0]
        other = Thread(target=confirm)
        other.start()
        other.join()
        yield from (*children[1:], root)

    monkeypatch.setattr(in_memory_object_store, "iterate_object_tree", walk)
    world.store(world.message())
    confirm()
    assert len(world.take()) == 1
    assert [bool(each.content) for each in store.store.values()] == [True] * len(store)


def test_a_run_that_nobody_claims_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its driver was killed as it started it; one that is claimed goes on."""
    now = [1e6]
    monkeypatch.setattr(superlink_leftovers, "tick_s", lambda: now[0])
    state = world.state
    claimed = state.create_run(
        None, None, None, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, "flwr-serverapp"
    )
    task_id = state.run_ids[claimed].run.primary_task_id
    assert task_id is not None
    assert state.sweep() == []
    assert state.claim_task(task_id)
    now[0] += UNCLAIMED_S - 1
    assert state.sweep() == []
    now[0] += 2
    assert state.sweep() == [world.run_id]
    assert (state.outcome(world.run_id), state.outcome(claimed)) == ("failed", "starting")
    assert state.sweep() == []


def test_the_app_of_a_run_goes_with_the_last_run_that_has_it(world: World) -> None:
    """A hub that is up for months would hold every app that ever ran there."""
    state = world.state
    apps = [state.store_fab(Fab("", content, {})) for content in (b"one", b"two")]
    runs = [
        state.create_run(
            None, None, app, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, "flwr-serverapp"
        )
        for app in (apps[0], apps[0], apps[1])
    ]
    kept: list[set[str]] = []
    for run_id in runs:
        assert state.stop_run(run_id)
        state.sweep()
        kept.append({*state.fab_store})
    assert kept == [{*apps}, {apps[1]}, set()]
