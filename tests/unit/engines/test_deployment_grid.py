"""The Grid of real devices: what is asked is answered once, whatever the hub does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from threading import Event, Timer
from types import SimpleNamespace
from typing import Any, Self

import httpx
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from flip_lab.core.errors import (
    CohortError,
    FederationUnreachableError,
    NotEnoughNodesError,
    ReplyRefusedError,
)
from flip_lab.core.holding import Holding
from flip_lab.core.notice import Notice
from flip_lab.engines import deployment_grid, device_nodes, device_post, hub_session
from flip_lab.engines.chosen_nodes import ChosenNodes
from flip_lab.engines.deployment_grid import DeploymentGrid, Surroundings
from flip_lab.engines.device_replies import REFUSED, DeviceReplies
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.flower.attach import Ending
from flip_lab.engines.flower.control import STOPPED_BY, RunStanding, SuperLink
from flip_lab.engines.flower.fab import Fab
from flip_lab.engines.flower.facts import Facts, add_facts
from flip_lab.engines.flower.fetching import NODE_AWAY, Arrival
from flip_lab.engines.flower.messages import become_server, stamp
from flip_lab.engines.hub_nodes import HubNode
from flip_lab.engines.hub_session import HubSession
from flip_lab.engines.node_book import NodeBook
from flip_lab.engines.outbox import Outbox
from flip_lab.engines.reply_checks import ReplyRules

NORTH, SOUTH, EAST = 11, 12, 13
_TOKEN = "flip_of_nobody"  # noqa: S105  # nobody takes it
SUPERLINK = SuperLink(address="hub.example.org:8443", root_certificates=None, token=_TOKEN)


class StopRunError(Exception):
    """The user asked the run to end."""


def failure(status: int | None = None) -> FederationUnreachableError:
    """Make what a call raises: without a status, nobody answers."""
    request = httpx.Request("POST", "https://hub.example.org/v1/runtime/get-nodes")
    cause: Exception = httpx.ConnectError("refused")
    if status is not None:
        response = httpx.Response(status, request=request)
        cause = httpx.HTTPStatusError(str(status), request=request, response=response)
    error = FederationUnreachableError("The SuperLink refused.", fix="Look there.")
    error.__cause__ = cause
    return error


@dataclass
class FakeHub:
    """A hub whose nodes answer when the test lets them.

    Attributes:
        is_up: Whether anybody answers.
        online: Nodes that are connected.
        known: Nodes that it takes messages for.
        runs: Where each run stands; it forgets them when it is started again.
        asked: Every message that it was given, in order: run, node.
        answers: Makes what a node sends back; an ``Arrival`` stands for one on its way.
    """

    is_up: bool = True
    refuses: int | None = None
    online: list[int] = field(default_factory=lambda: [NORTH, SOUTH, EAST])
    known: set[int] = field(default_factory=lambda: {NORTH, SOUTH, EAST})
    runs: dict[int, RunStanding] = field(default_factory=dict)
    asked: list[tuple[int, int]] = field(default_factory=list)
    polls: list[float] = field(default_factory=list)
    numbers: Any = field(default_factory=lambda: count(1))
    waiting: dict[str, tuple[int, Message]] = field(default_factory=dict)
    ready: dict[str, Arrival] = field(default_factory=dict)
    holds_requests: bool = False
    when_away: Callable[[], None] = lambda: None

    def attach(self, superlink: SuperLink, fab: Fab) -> FakeAttachment:
        """Start a run."""
        del superlink
        assert fab.content == b"app"
        self.check()
        run_id = next(self.numbers)
        self.runs[run_id] = RunStanding(status="running", sub_status="", details="")
        become_server(run_id)
        return FakeAttachment(self, run_id)

    def check(self, run_id: int | None = None) -> None:
        """Refuse, if the hub is away or does not drive this run."""
        if not self.is_up:
            self.when_away()
            raise failure()
        if self.refuses:
            raise failure(self.refuses)
        if run_id is not None:
            standing = self.runs.get(run_id)
            if standing is None or standing.is_finished:
                raise failure(401)

    def forget(self) -> None:
        """Be another process: nothing is known, nobody is connected."""
        self.runs.clear()
        self.waiting.clear()
        self.ready.clear()

    def answer(self, *node_ids: int, content: RecordDict | None = None) -> None:
        """Let nodes reply to what they were asked."""
        for wire_id, (node_id, message) in list(self.waiting.items()):
            if node_id in node_ids:
                reply = Message(content or RecordDict(), reply_to=message)
                self.put(wire_id, reply=reply)

    def fail(self, node_id: int, code: int, reason: str) -> None:
        """Let the hub answer for a node, in its own name."""
        for wire_id, (asked, message) in list(self.waiting.items()):
            if asked == node_id:
                self.put(wire_id, reply=Message(Error(code, reason), reply_to=message))

    def lose(self, node_id: int) -> None:
        """Let the answer of a node be lost on its way."""
        for wire_id, (asked, _) in list(self.waiting.items()):
            if asked == node_id:
                self.put(wire_id)

    def put(
        self,
        wire_id: str,
        reply: Message | None = None,
        refusal: ReplyRefusedError | None = None,
    ) -> None:
        """Have something for a driver to fetch."""
        del self.waiting[wire_id]
        self.ready[wire_id] = Arrival(message_id=wire_id, reply=reply, refusal=refusal)


class FakeAttachment:
    """One run on the fake hub."""

    def __init__(self, hub: FakeHub, run_id: int) -> None:
        self.hub, self.run = hub, SimpleNamespace(run_id=run_id)
        self.is_retired = False
        self.endings: list[object] = []

    @property
    def is_news_told(self) -> bool:
        """Whether questions are held."""
        return self.hub.holds_requests

    def online_node_ids(self) -> list[int]:
        """List who is connected."""
        self.hub.check(self.run.run_id)
        return sorted(self.hub.online)

    def push(self, messages: Sequence[Message], check: Callable[[], None]) -> set[str]:
        """Take messages."""
        check()
        self.hub.check(self.run.run_id)
        refused: set[str] = set()
        for message in messages:
            assert message.metadata.run_id == self.run.run_id, "of the run under way"
            wire_id = f"wire-{next(self.hub.numbers)}"
            stamp(message, wire_id)
            node_id = message.metadata.dst_node_id
            self.hub.asked.append((self.run.run_id, node_id))
            self.hub.waiting[wire_id] = (node_id, message)
            if node_id not in self.hub.known:
                refused.add(wire_id)
                self.hub.put(wire_id, reply=Message(Error(3, "gone"), reply_to=message))
        return refused

    def pull(self, limits: Mapping[str, int], *, wait_s: float) -> list[Arrival]:
        """Give what was answered, once."""
        self.hub.polls.append(wait_s)
        self.hub.check(self.run.run_id)
        return [self.hub.ready.pop(key) for key in limits if key in self.hub.ready]

    def retire(self) -> None:
        """Be of an earlier run from now on."""
        self.is_retired = True

    def close(self, ending: object, details: str = "") -> None:
        """Take note of the end."""
        self.endings.append((ending, details))


class FakeControl:
    """What a session asks of the Control API."""

    hub: FakeHub

    def __init__(self, superlink: SuperLink) -> None:
        assert superlink is SUPERLINK

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def find_run(self, run_id: int) -> RunStanding | None:
        """Say where a run stands."""
        self.hub.check()
        return self.hub.runs.get(run_id)

    def stop_run(self, run_id: int) -> None:
        """Stop a run."""
        self.hub.runs[run_id] = RunStanding(
            status="finished", sub_status="stopped", details=""
        )


@dataclass
class Names:
    """What the hub knows of its nodes."""

    nodes: dict[int, HubNode] = field(default_factory=dict)
    calls: int = 0

    def known(self) -> Mapping[int, HubNode]:
        """List them."""
        self.calls += 1
        return self.nodes


@dataclass
class Bench:
    """A Grid on a fake hub, and all around it."""

    hub: FakeHub
    grid: DeploymentGrid
    session: HubSession
    notices: list[Notice]
    names: Names
    now_s: float = 100.0
    is_stopped: bool = False
    hears_stops: bool = True
    held: list[Holding] = field(default_factory=list[Holding])
    stoppers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def ask(self, *node_ids: int, content: RecordDict | None = None) -> list[str]:
        """Send one message to each node."""
        sent = content or RecordDict()
        messages = [Message(sent, node, "train") for node in node_ids]
        return list(self.grid.push_messages(messages))

    def replies(self, message_ids: Sequence[str], timeout_s: float = 5.0) -> dict[int, Any]:
        """Wait for replies; gives them by node."""
        got = self.grid.await_replies(message_ids, timeout_s=timeout_s)
        return {reply.message.metadata.src_node_id: reply.message for reply in got}

    def codes(self) -> list[str]:
        """Name what was told beside replies."""
        return [notice.code for notice in self.notices]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Give a Grid on a hub with three nodes; time moves only when somebody sleeps."""
    return build(monkeypatch)


def build(
    monkeypatch: pytest.MonkeyPatch, *, choice: str = "", asks: bool = False
) -> Bench:
    """Put a Grid together as the engine does, on a fake hub."""
    install_fast_arrays()
    hub, notices, names = FakeHub(), list[Notice](), Names()
    held = list[Holding]()
    holder: list[Bench] = []

    def now() -> float:
        return holder[0].now_s if holder else 100.0

    def sleep(duration_s: float) -> None:
        holder[0].now_s += duration_s + 1e-6

    def check() -> None:
        if holder and holder[0].is_stopped:
            raise StopRunError

    def stop(person: str, where: str) -> None:
        holder[0].stoppers.append((person, where))
        holder[0].is_stopped = holder[0].hears_stops

    for module in (deployment_grid, device_nodes, device_post, hub_session):
        monkeypatch.setattr(module, "tick_s", now)
    for module in (deployment_grid, device_post, hub_session):
        monkeypatch.setattr(module, "sleep", sleep)
    monkeypatch.setattr(hub_session, "attach", hub.attach)
    monkeypatch.setattr(FakeControl, "hub", hub, raising=False)
    monkeypatch.setattr(hub_session, "ControlClient", FakeControl)
    session = HubSession(
        SUPERLINK,
        Fab("0" * 64, b"app", {}),
        wait_s=120.0,
        check=check,
        stopped_by=stop,
        notify=notices.append,
    )
    book = NodeBook(notices.append)
    surroundings: Any = {
        "session": session,
        "outbox": Outbox(ReplyRules(same_arrays=asks)),
        "book": book,
        "replies": DeviceReplies(book, notices.append, held.append),
        "chosen": ChosenNodes(choice, book.facts),
        "hub": names,
        "asks_partitions": asks,
        "check": check,
    }
    grid = DeploymentGrid(Surroundings(**surroundings))
    holder.append(Bench(hub, grid, session, notices, names, held=held))
    return holder[0]


def test_a_stock_superlink_is_asked_eagerly_and_then_gently(bench: Bench) -> None:
    """A minute of short waits costs about a request a second, not one per wait."""
    [message_id] = bench.ask(NORTH)
    first_second = 0
    while bench.now_s < 160.0:
        assert bench.replies([message_id], 0.05) == {}
        if bench.now_s < 101.0:
            first_second = len(bench.hub.polls)
    assert 4 <= first_second <= 8
    assert 58 <= len(bench.hub.polls) <= 70


def test_a_hub_holds_the_question_and_no_longer_than_a_stop_takes(bench: Bench) -> None:
    """Between two questions nobody sleeps, and each lasts half a second at most."""
    bench.hub.holds_requests = True
    [message_id] = bench.ask(NORTH)

    def held(limits: Mapping[str, int], *, wait_s: float) -> list[Arrival]:
        assert list(limits) == list(bench.hub.waiting)
        bench.hub.polls.append(wait_s)
        bench.now_s += wait_s
        return []

    bench.session.attachment.pull = held  # pyright: ignore[reportAttributeAccessIssue]
    assert bench.replies([message_id], 10.0) == {}
    assert len(bench.hub.polls) in {20, 21}
    assert max(bench.hub.polls) <= 0.5


def test_a_reply_is_handed_over_once(bench: Bench) -> None:
    """Asking again for what was given says at once that there is nothing."""
    first, second = bench.ask(NORTH, SOUTH)
    bench.hub.answer(SOUTH)
    assert list(bench.replies([first, second], 0)) == [SOUTH]
    assert bench.grid.await_replies([second], timeout_s=1e9) == []
    assert bench.replies([first], 0) == {}


def test_a_reply_fetched_for_one_waits_for_the_other(bench: Bench) -> None:
    """Flower's legacy server waits in one thread for each client."""
    first, second = bench.ask(NORTH, SOUTH)
    bench.hub.answer(NORTH, SOUTH)
    assert list(bench.replies([first], 0)) == [NORTH]
    assert list(bench.replies([second], 10.0)) == [SOUTH]
    assert len(bench.hub.polls) == 1


def test_many_threads_get_their_own_replies(bench: Bench) -> None:
    """None is lost and none is given twice."""
    bench.hub.online = bench_nodes = list(range(20, 28))
    bench.hub.known = set(bench_nodes)

    def one_client(node_id: int) -> list[int]:
        ids = bench.ask(node_id)
        bench.hub.answer(node_id)
        return list(bench.replies(ids, 60.0))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one_client, bench_nodes)) == [[n] for n in bench_nodes]


def test_a_hub_that_is_started_again_is_asked_only_for_what_it_owes(bench: Bench) -> None:
    """The ids that the strategy knows stay; what was answered is not asked again."""
    first, second, third = bench.ask(NORTH, SOUTH, EAST)
    bench.hub.answer(NORTH)
    assert list(bench.replies([first, second, third])) == [NORTH]
    bench.hub.forget()
    assert bench.replies([second, third], 1.0) == {}
    assert bench.hub.asked[3:] == [(5, SOUTH), (5, EAST)], "the second run, numbered on"
    assert TaskIdentity.run_id == 5
    bench.hub.answer(SOUTH, EAST)
    got = bench.grid.await_replies([second, third], timeout_s=5.0)
    told = {r.message.metadata.reply_to_message_id for r in got}
    assert told == {second, third}
    assert bench.codes() == ["hub_lost", "hub_back"]
    assert "started there again" in bench.notices[1].message
    assert bench.grid.run.run_id == 5


def test_a_hub_that_comes_back_with_its_runs_is_asked_nothing_again(bench: Bench) -> None:
    """A cut network: the run is still there, and so are its replies."""
    [message_id] = bench.ask(NORTH)
    bench.hub.is_up = False
    bench.hub.answer(NORTH)

    def come_back() -> None:
        bench.hub.is_up = bench.now_s > 130.0

    bench.hub.when_away = come_back
    assert list(bench.replies([message_id], 60.0)) == [NORTH]
    assert len(bench.hub.asked) == 1
    assert bench.codes() == ["hub_lost", "hub_back"]
    assert "still knows this run" in bench.notices[1].message
    assert "back after 3" in bench.notices[1].message, "the seconds are told"


def test_what_nodes_hold_is_told_of_replies_that_count(bench: Bench) -> None:
    """Whoever sends what no client of ours sends is not believed in this either."""
    ids = bench.ask(NORTH, SOUTH)
    holding = Holding(partition_id=0, partition_sha256="a" * 64, data_sha256="b" * 64)
    for node, num_examples in ((NORTH, 3), (SOUTH, -3)):
        for wire_id, (asked, message) in list(bench.hub.waiting.items()):
            if asked == node:
                metrics = MetricRecord({"num-examples": num_examples})
                reply = Message(RecordDict({"metrics": metrics}), reply_to=message)
                add_facts(reply, Facts(started_s=1.0, duration_s=1.0, holding=holding))
                bench.hub.put(wire_id, reply=reply)
    assert len(bench.replies(ids)) == 2
    assert bench.codes() == ["reply_refused"]
    assert bench.held == [holding]


def test_what_was_asked_waits_for_its_node_to_find_the_new_hub(bench: Bench) -> None:
    """Who is there is asked at once, the others when they come, or after a minute."""
    ids = bench.ask(NORTH, SOUTH)
    bench.hub.forget()
    bench.hub.online = [NORTH]
    bench.replies(ids, 4.0)
    assert [node for _, node in bench.hub.asked[2:]] == [NORTH]
    bench.replies(ids, 70.0)
    assert [node for _, node in bench.hub.asked[2:]] == [NORTH, SOUTH]


def test_a_run_that_somebody_stopped_on_the_hub_ends(bench: Bench) -> None:
    """Also where nobody listens for that: nothing is started again."""
    bench.hears_stops = False
    ids = bench.ask(NORTH)
    FakeControl(SUPERLINK).stop_run(1)
    with pytest.raises(FederationUnreachableError, match="finished, stopped"):
        bench.replies(ids)
    assert list(bench.hub.runs) == [1]


def test_a_run_that_the_hub_gave_up_is_started_again(bench: Bench) -> None:
    """A laptop that slept is no reason to end: its task expired, nobody stopped it."""
    ids = bench.ask(NORTH)
    gone = RunStanding(status="finished", sub_status="failed", details="No heartbeat")
    bench.hub.runs[1] = gone
    bench.replies(ids, 1.0)
    bench.hub.answer(NORTH)
    assert list(bench.replies(ids)) == [NORTH]


def test_a_token_that_nobody_takes_ends_the_run_at_once(bench: Bench) -> None:
    """Waiting would not help; the error is the hub's own."""
    ids = bench.ask(NORTH)
    bench.hub.refuses = 401
    with pytest.raises(FederationUnreachableError, match="refused"):
        bench.replies(ids)
    assert bench.now_s < 101.0


def test_patience_ends(bench: Bench) -> None:
    """A hub that stays away for longer than hub-wait-s fails the run."""
    ids = bench.ask(NORTH)
    bench.hub.is_up = False
    with pytest.raises(FederationUnreachableError, match="longer than the 120 s") as caught:
        bench.replies(ids, 600.0)
    assert 220.0 <= bench.now_s < 226.0
    assert "hub-wait-s" in caught.value.fix


def test_a_stop_is_seen_while_the_run_waits_for_the_hub(bench: Bench) -> None:
    """The user need not wait for the hub to end a run."""
    ids = bench.ask(NORTH)
    bench.hub.is_up = False

    def stop() -> None:
        bench.is_stopped = bench.now_s > 105.0

    bench.hub.when_away = stop
    with pytest.raises(StopRunError):
        bench.replies(ids, 600.0)
    assert bench.now_s < 110.0


@pytest.mark.parametrize("num_answered", [0, 1], ids=["at first", "while it waits"])
def test_a_stop_does_not_wait_for_a_call_that_hangs(
    bench: Bench, num_answered: int
) -> None:
    """A network that swallows all keeps a call until its time is over; nobody else."""
    released, calls = Event(), count()

    def swallow() -> None:
        if next(calls) >= num_answered:
            Timer(0.1, lambda: vars(bench).update(is_stopped=True)).start()
            released.wait(120.0)

    ids = bench.ask(NORTH)
    bench.hub.is_up, bench.hub.when_away = False, swallow
    with pytest.raises(StopRunError):
        bench.replies(ids, 600.0)
    assert bench.codes() == ["hub_lost"] * num_answered
    released.set()


def test_a_stopped_run_waits_a_moment_for_the_hub_to_hear_of_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has ended by itself takes the time that it needs."""
    heard, is_heard, released = list[Ending](), Event(), Event()

    def close(ending: Ending, details: str) -> None:
        del details
        heard.append(ending)
        is_heard.set()
        released.wait(120.0)

    monkeypatch.setattr(bench.session.attachment, "close", close)
    monkeypatch.setattr(hub_session, "_FAREWELL_S", 0.1)
    bench.session.close(Ending.STOPPED)  # it comes back, although the hub says nothing
    assert is_heard.wait(120.0)
    assert heard == [Ending.STOPPED]
    released.set()
    bench.session.close(Ending.COMPLETED)
    assert heard == [Ending.STOPPED, Ending.COMPLETED]


def test_a_stop_is_seen_while_the_run_waits_for_nodes(bench: Bench) -> None:
    """Also where Flower's own loop waits: it asks for the nodes again and again."""
    bench.is_stopped = True
    with pytest.raises(StopRunError):
        bench.grid.wait_for_nodes(4, timeout_s=600.0)
    with pytest.raises(StopRunError):
        bench.grid.get_node_ids()


@pytest.mark.parametrize(("details", "person"), [(STOPPED_BY + "ada", "ada"), ("", "")])
def test_a_stop_on_the_hub_ends_the_run_and_says_who_it_was(
    bench: Bench, details: str, person: str
) -> None:
    """It is not started there again behind their back; a SuperLink knows no names."""
    ids = bench.ask(NORTH)
    [run_id] = bench.hub.runs
    bench.hub.runs[run_id] = RunStanding(
        status="finished", sub_status="stopped", details=details
    )
    with pytest.raises(StopRunError):
        bench.replies(ids, 600.0)
    assert bench.stoppers == [(person, SUPERLINK.address)]
    assert [*bench.hub.runs] == [run_id]


def test_a_push_that_fails_for_good_leaves_nothing_to_send(bench: Bench) -> None:
    """The strategy was told of an error; its messages must not go out later."""
    bench.is_stopped = True
    with pytest.raises(StopRunError):
        bench.ask(NORTH)
    bench.is_stopped = False
    ids = bench.ask(SOUTH)
    bench.hub.answer(SOUTH)
    assert list(bench.replies(ids)) == [SOUTH]
    assert [node for _, node in bench.hub.asked] == [SOUTH]


def test_nodes_that_lost_the_hub_too_get_time_to_come_back(bench: Bench) -> None:
    """A hub that hung for a minute misses its nodes; that is no reason to go without."""
    bench.grid.get_node_ids()
    ids = bench.ask(NORTH)
    bench.hub.is_up = False

    def come_back() -> None:
        bench.hub.is_up = bench.now_s > 105.0
        bench.hub.online = [SOUTH]

    bench.hub.when_away = come_back
    bench.replies(ids, 8.0)
    bench.hub.fail(NORTH, NODE_AWAY, "Node Unavailable")
    assert bench.replies(ids, 5.0) == {}
    assert len(bench.hub.asked) == 1, "it is not there to be asked"
    bench.hub.online = [NORTH, SOUTH]
    assert bench.replies(ids, 2.0) == {}
    bench.hub.answer(NORTH)
    assert bench.replies(ids)[NORTH].has_content()
    assert "node_lost" not in bench.codes()


def test_messages_for_a_hub_that_was_just_started_wait_for_their_nodes(
    bench: Bench,
) -> None:
    """It would refuse them: it does not know yet who will come."""
    bench.grid.get_node_ids()
    bench.hub.forget()
    bench.hub.online = []
    ids = bench.ask(NORTH)
    assert bench.replies(ids, 5.0) == {}
    assert bench.hub.asked == []
    bench.hub.online = [NORTH]
    assert bench.replies(ids, 2.0) == {}
    bench.hub.answer(NORTH)
    assert bench.replies(ids)[NORTH].has_content()


def test_a_round_after_a_restart_begins_with_all_nodes_that_were_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strategies size a cohort by who is there; one of the first to return is another."""
    everybody, check = list(bench.grid.get_node_ids()), bench.hub.check
    bench.hub.forget()
    bench.hub.online = [SOUTH]

    def come_back(run_id: int | None = None) -> None:
        check(run_id)
        bench.hub.online = [SOUTH] if bench.now_s < 105.0 else [NORTH, SOUTH, EAST]

    monkeypatch.setattr(bench.hub, "check", come_back)
    assert list(bench.grid.get_node_ids()) == everybody
    assert "node_lost" not in bench.codes()


def test_a_round_after_a_restart_waits_a_minute_for_nodes_and_no_longer(
    bench: Bench,
) -> None:
    """Who went with the hub is lost then, and the round begins without."""
    bench.grid.get_node_ids()
    bench.hub.forget()
    bench.hub.online = [SOUTH]
    assert list(bench.grid.get_node_ids()) == [SOUTH]
    assert 160.0 <= bench.now_s < 161.0
    assert bench.codes().count("node_lost") == 2


def test_an_answer_that_was_lost_on_its_way_is_asked_for_again(bench: Bench) -> None:
    """Three times; then it is an error that names the node."""
    ids = bench.ask(NORTH)
    bench.grid.get_node_ids()
    for _ in range(2):
        bench.hub.lose(NORTH)
        assert bench.replies(ids, 3.0) == {}
    assert len(bench.hub.asked) == 3
    bench.hub.lose(NORTH)
    reply = bench.replies(ids)[NORTH]
    assert f"node {NORTH} was lost on its way 3 times" in str(reply.error.reason)


def test_a_lost_node_is_told_with_its_name_and_told_when_it_is_back(bench: Bench) -> None:
    """The error says who, why and what to do; the round goes on."""
    bench.names.nodes = {NORTH: HubNode(node_id=NORTH, name="north", partition_id=0)}
    bench.grid.get_node_ids()
    ids = bench.ask(NORTH)
    bench.hub.online = [SOUTH, EAST]
    bench.hub.fail(NORTH, NODE_AWAY, "Node Unavailable")
    assert bench.replies(ids, 25.0) == {}, "it may be starting again"
    assert bench.replies(ids, 10.0) == {}
    assert len(bench.hub.asked) == 2
    bench.hub.fail(NORTH, NODE_AWAY, "Node Unavailable")
    reply = bench.replies(ids)[NORTH]
    assert "node 'north' (partition 0)" in reply.error.reason
    assert "Fix:" in reply.error.reason
    assert reply.metadata.reply_to_message_id == ids[0]
    bench.grid.get_node_ids()
    bench.hub.online = [NORTH, SOUTH, EAST]
    bench.grid.get_node_ids()
    assert bench.codes() == ["node_lost", "node_back"]
    assert (bench.notices[0].node_id, bench.notices[0].partition_id) == (NORTH, 0)


def test_a_node_that_is_killed_at_work_and_started_again_is_asked_again(
    bench: Bench,
) -> None:
    """The round waits half a minute for it, and loses nothing."""
    ids = bench.ask(NORTH)
    bench.hub.online = [SOUTH, EAST]
    bench.hub.fail(NORTH, NODE_AWAY, "Node Unavailable")
    assert bench.replies(ids, 3.0) == {}
    bench.hub.online = [NORTH, SOUTH, EAST]
    assert bench.replies(ids, 3.0) == {}
    bench.hub.answer(NORTH)
    assert bench.replies(ids)[NORTH].has_content()
    assert bench.codes() == ["node_lost", "node_back"]


def test_a_node_that_the_hub_does_not_know_answers_with_an_error(bench: Bench) -> None:
    """Its key was revoked; asking again would not help."""
    ids = bench.ask(4242)
    assert "takes no messages for node 4242" in str(bench.replies(ids)[4242].error.reason)
    assert len(bench.hub.asked) == 1


def test_an_app_that_a_site_refuses_is_told_once(bench: Bench) -> None:
    """The researcher has to ask the site, not to read every client's error."""
    for _ in range(2):
        ids = bench.ask(NORTH)
        bench.hub.fail(NORTH, 1, "[FLIP-805] This app is not on the list. Fix: ask.")
        assert bench.replies(ids)[NORTH].has_error()
    assert bench.codes() == ["app_refused"]


def test_a_reply_that_no_honest_client_sends_becomes_an_error(bench: Bench) -> None:
    """The strategy never sees it; the round goes on."""
    sent = RecordDict({"arrays": ArrayRecord([np.zeros(3)])})
    ids = bench.ask(NORTH, SOUTH, content=sent)
    bench.hub.answer(NORTH, content=RecordDict({"arrays": ArrayRecord([np.zeros(4)])}))
    bench.hub.answer(SOUTH, content=sent)
    got = bench.replies(ids)
    assert got[NORTH].error.code == REFUSED
    assert ReplyRefusedError.code in got[NORTH].error.reason
    assert f"node {NORTH}" in got[NORTH].error.reason
    assert got[SOUTH].has_content()
    assert bench.codes() == ["reply_refused"]


def test_a_reply_that_could_not_be_read_becomes_an_error(bench: Bench) -> None:
    """What the reader refused is told like what was read and refused."""
    ids = bench.ask(NORTH)
    [wire_id] = bench.hub.waiting
    bench.hub.put(wire_id, refusal=ReplyRefusedError("it is forged", fix="Look."))
    assert "it is forged" in bench.replies(ids)[NORTH].error.reason


def test_nodes_come_in_the_order_of_their_partitions(bench: Bench) -> None:
    """Known partitions lead, in order; the others follow by their ids."""
    assert bench.grid.get_node_ids() == [NORTH, SOUTH, EAST]
    bench.names.nodes = {
        EAST: HubNode(node_id=EAST, name="east", partition_id=0),
        NORTH: HubNode(node_id=NORTH, name="north", partition_id=1),
    }
    assert bench.grid.get_node_ids() == [EAST, NORTH, SOUTH]
    told = [bench.grid.partition_of(node) for node in (EAST, NORTH, SOUTH)]
    assert told == [0, 1, -1]


def test_a_hub_is_asked_for_names_only_while_some_are_missing(bench: Bench) -> None:
    """A round must not wait for a list that nobody needs."""
    bench.names.nodes = {
        node: HubNode(node_id=node, name=f"n{node}", partition_id=index)
        for index, node in enumerate((NORTH, SOUTH, EAST))
    }
    for _ in range(3):
        bench.grid.get_node_ids()
    assert bench.names.calls == 1


def test_only_chosen_nodes_take_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tags come from the hub; a choice that nobody meets says what there is."""
    bench = build(monkeypatch, choice="eu")
    bench.names.nodes = {
        NORTH: HubNode(node_id=NORTH, name="north", tags=frozenset({"eu"}), partition_id=0),
        SOUTH: HubNode(node_id=SOUTH, name="south", tags=frozenset({"us"}), partition_id=1),
        EAST: HubNode(node_id=EAST, name="east", partition_id=2),
    }
    assert bench.grid.get_node_ids() == [NORTH]
    bench.grid.wait_for_nodes(2, timeout_s=0)  # the one of the two that was chosen is there
    bench.names.nodes[EAST] = HubNode(
        node_id=EAST, name="east", tags=frozenset({"eu"}), partition_id=2
    )
    away = build(monkeypatch, choice="eu")
    away.names.nodes, away.hub.online = bench.names.nodes, [NORTH, SOUTH]
    with pytest.raises(NotEnoughNodesError, match="1 of 2 nodes"):
        away.grid.wait_for_nodes(3, timeout_s=0)
    nobody = build(monkeypatch, choice="asia")
    nobody.names.nodes = bench.names.nodes
    with pytest.raises(CohortError, match="tags: eu, us"):
        nobody.grid.wait_for_nodes(1, timeout_s=0)


def test_a_node_is_asked_once_what_it_holds_also_one_that_comes_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A hub that knows no partitions, or a stock SuperLink."""
    bench = build(monkeypatch, asks=True)
    bench.hub.online = [NORTH, SOUTH]
    push = FakeAttachment.push

    def describing(
        self: FakeAttachment, messages: Sequence[Message], check: Callable[[], None]
    ) -> set[str]:
        refused = push(self, messages, check)
        for node, message in list(bench.hub.waiting.values()):
            if message.metadata.message_type == "query.describe":
                told = MetricRecord({"partition-id": 20 - node})
                bench.hub.answer(node, content=RecordDict({"metrics": told}))
        return refused

    monkeypatch.setattr(FakeAttachment, "push", describing)
    assert bench.grid.get_node_ids() == [SOUTH, NORTH]
    bench.hub.online = [NORTH, SOUTH, EAST]
    assert bench.grid.get_node_ids() == [EAST, SOUTH, NORTH]
    assert [node for _, node in bench.hub.asked] == [NORTH, SOUTH, EAST]


def test_messages_keep_what_they_said_when_they_go_again(bench: Bench) -> None:
    """An app may build its next message in the records of the last one."""
    record = ArrayRecord({"w": Array(np.arange(3.0))})
    content = RecordDict({"arrays": record})
    ids = bench.ask(NORTH, content=content)
    record["w"] = Array(np.zeros(9))
    bench.hub.forget()
    bench.replies(ids, 1.0)
    [(_, message)] = bench.hub.waiting.values()
    [sent] = message.content.array_records.values()
    np.testing.assert_array_equal(sent["w"].numpy(), np.arange(3.0))


@pytest.mark.parametrize("hears_stops", [True, False], ids=["heard", "unheard"])
def test_a_hub_that_ended_the_run_for_somebody_is_not_told_as_lost(
    bench: Bench, *, hears_stops: bool
) -> None:
    """It is asked why first: nobody shall look for an outage that never was."""
    bench.hears_stops = hears_stops
    ids = bench.ask(NORTH)
    FakeControl(SUPERLINK).stop_run(1)
    with pytest.raises((StopRunError, FederationUnreachableError)):
        bench.replies(ids, 600.0)
    assert bench.codes() == []


def test_a_hub_that_goes_away_while_it_is_asked_why_is_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says when it is back decides: somebody stopped the run there."""
    asked = count()

    def find_run(control: FakeControl, run_id: int) -> RunStanding | None:
        if next(asked) == 0:
            raise failure()
        return control.hub.runs.get(run_id)

    monkeypatch.setattr(FakeControl, "find_run", find_run)
    ids = bench.ask(NORTH)
    FakeControl(SUPERLINK).stop_run(1)
    with pytest.raises(StopRunError):
        bench.replies(ids, 600.0)
    assert bench.codes() == ["hub_lost"]
    assert bench.stoppers == [("", SUPERLINK.address)]


def test_a_hub_that_takes_our_token_for_nothing_is_not_told_as_lost(bench: Bench) -> None:
    """It answers; what it refuses us for is the run's error."""
    ids = bench.ask(NORTH)
    bench.hub.refuses = 403
    with pytest.raises(FederationUnreachableError, match="refused"):
        bench.replies(ids)
    assert bench.codes() == []


def test_a_run_that_this_process_withdrew_counts_as_stopped_by_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub goes away just as the run begins again: the next attempt goes on."""
    calls, starts = count(), count()

    def check(hub: FakeHub, run_id: int | None = None) -> None:
        if run_id is not None and next(calls) == 0:
            raise failure(401)
        FakeHub.check(hub, run_id)

    def attach(superlink: SuperLink, fab: Fab) -> FakeAttachment:
        if next(starts) == 0:
            raise failure()
        return bench.hub.attach(superlink, fab)

    ids = bench.ask(NORTH)
    monkeypatch.setattr(bench.hub, "check", partial(check, bench.hub))
    monkeypatch.setattr(hub_session, "attach", attach)
    bench.replies(ids, 1.0)
    bench.hub.answer(NORTH)
    assert list(bench.replies(ids)) == [NORTH]
    assert bench.stoppers == []
