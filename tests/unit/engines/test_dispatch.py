"""Who gets which call: nobody waits for nothing, nothing is lost, nothing is done twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from flwr.app import Message, RecordDict
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from flip_lab.engines.clients import ClientCall
from flip_lab.engines.dispatch import MAX_ATTEMPTS, Backlog
from flip_lab.engines.flower.messages import become_server, stamp


@pytest.fixture(autouse=True)
def server() -> None:
    """Messages can only be built in the ServerApp's place."""
    become_server(9)


def call(
    number: int, *, content: RecordDict, expected_s: float = 0.0, partition_id: int = -1
) -> ClientCall:
    """Give a call named by its number."""
    message = Message(content, 1, "train")
    stamp(message, f"m{number}")
    return ClientCall(
        message=message,
        partition_id=number if partition_id < 0 else partition_id,
        server_round=1,
        phase="train",
        state=RecordDict(),
        expected_s=expected_s,
    )


def calls(expected_s: Sequence[float]) -> list[ClientCall]:
    """Give calls of one round; they share a content."""
    content = RecordDict()
    return [
        call(number, content=content, expected_s=seconds)
        for number, seconds in enumerate(expected_s)
    ]


def names(some: Iterable[ClientCall]) -> list[str]:
    """Give the ids of calls."""
    return [each.message.metadata.message_id for each in some]


def finish(backlog: Backlog, worker: int, batch: list[ClientCall]) -> None:
    """Say that a worker is through with a batch."""
    backlog.finished(worker, names(batch))
    backlog.batch_over(worker)


def carry_out(backlog: Backlog, num_workers: int) -> dict[int, list[str]]:
    """Let all workers take turns until nothing is left; give what each one did."""
    done: dict[int, list[str]] = {worker: [] for worker in range(num_workers)}
    while len(backlog):
        for worker in range(num_workers):
            if batch := backlog.take(worker):
                done[worker] += names(batch)
                finish(backlog, worker, batch)
    return done


# --- order and size --------------------------------------------------------------------


def test_the_longest_go_first() -> None:
    """So that nobody waits for one of them at the end; equals keep their order."""
    backlog = Backlog(1)
    backlog.add(calls([1, 3, 1, 2, 3]))
    assert carry_out(backlog, 1)[0] == ["m1", "m4", "m3", "m0", "m2"]


def test_calls_that_come_one_by_one_find_their_place() -> None:
    """The order is the same as if they had come together."""
    backlog = Backlog(1)
    some = calls([1, 3, 1, 2, 3])
    for each in some:
        backlog.add([each])
    assert carry_out(backlog, 1)[0] == ["m1", "m4", "m3", "m0", "m2"]


@pytest.mark.parametrize("expected_s", [0.0, 0.0001])
def test_batches_shrink_towards_the_end(expected_s: float) -> None:
    """Guided self-scheduling; no batch is larger than a worker's fair share."""
    backlog = Backlog(2)
    backlog.add(calls([expected_s] * 400))
    sizes: list[int] = []
    while len(backlog):
        left = len(backlog)
        batch = backlog.take(len(sizes) % 2)
        assert len(batch) <= (left + 1) / 2
        finish(backlog, len(sizes) % 2, batch)
        sizes.append(len(batch))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 10
    assert sizes[-1] == 1


def test_long_calls_travel_alone() -> None:
    """Nobody shall wait for a batch."""
    backlog = Backlog(2)
    backlog.add(calls([1.0] * 40))
    assert len(backlog.take(0)) == 1


def test_a_batch_shares_one_content() -> None:
    """It is sent once; calls of another round wait for the next batch."""
    one, other = RecordDict(), RecordDict()
    backlog = Backlog(1)
    backlog.add([call(n, content=one if n % 2 else other) for n in range(40)])
    while len(backlog):
        batch = backlog.take(0)
        assert len({id(each.message.content) for each in batch}) == 1
        finish(backlog, 0, batch)


def test_a_worker_holds_two_batches_but_none_more_than_it_needs_at_the_end() -> None:
    """One to carry out and one so that it need not wait; the last ones go round."""
    backlog = Backlog(2)
    backlog.add(calls([1.0] * 5))
    assert len(backlog.take(0)) == 1
    assert len(backlog.take(0)) == 1
    assert backlog.take(0) == []
    assert len(backlog.take(1)) == 1
    assert backlog.take(1) == []  # two are left for two workers: whoever is free first
    assert len(backlog) == 2


@pytest.mark.parametrize(("num", "shares"), [(9, [5, 4]), (1, [1, 0])])
def test_whole_shares_are_given_at_once(num: int, shares: list[int]) -> None:
    """For workers that train many clients together."""
    backlog = Backlog(2, whole_shares=True)
    backlog.add(calls([0.0] * num))
    assert [len(backlog.take(worker)) for worker in (0, 1)] == shares


def test_a_call_that_comes_later_does_not_cut_the_shares() -> None:
    """A node's second message is queued alone, while a cohort waits."""
    backlog = Backlog(2, whole_shares=True)
    some = calls([0.0] * 9)
    backlog.add(some[:8])
    backlog.add(some[8:])
    assert len(backlog.take(0)) == 5


# --- home ------------------------------------------------------------------------------


def test_partitions_return_to_the_worker_that_has_their_data() -> None:
    """Where that delays nothing."""
    backlog = Backlog(2)
    backlog.add(calls([1.0] * 8))
    first = carry_out(backlog, 2)
    backlog.add(reversed(calls([1.0] * 8)))
    second = carry_out(backlog, 2)
    assert {worker: sorted(done) for worker, done in first.items()} == {
        worker: sorted(done) for worker, done in second.items()
    }


def test_nobody_waits_for_a_worker_that_is_busy_elsewhere() -> None:
    """All data lie with worker 0, which does not come back: worker 1 does it all."""
    backlog = Backlog(2)
    content = RecordDict()
    backlog.add(calls([1.0]))
    assert len(backlog.take(0)) == 1
    backlog.add([call(n, content=content, partition_id=0) for n in range(1, 30)])
    done: list[str] = []
    while batch := backlog.take(1):
        done += names(batch)
        finish(backlog, 1, batch)
    assert len(done) == 29


# --- death -----------------------------------------------------------------------------


def test_what_a_dead_worker_held_goes_alone_and_first() -> None:
    """One of them may have killed it, and shall not take others along again."""
    backlog = Backlog(1)
    backlog.add(calls([0.0] * 40))
    held = [*backlog.take(0), *backlog.take(0)]
    assert len(held) > 2
    assert backlog.died(0) == []
    for _ in held:
        batch = backlog.take(0)
        assert batch[0] in held
        assert len(batch) == 1
        assert backlog.take(0) == []  # nothing besides it
        finish(backlog, 0, batch)
    assert len(backlog.take(0)) > 1


def test_a_killer_is_given_up_and_its_neighbours_are_not() -> None:
    """One call kills its worker each time, among forty good ones on two workers."""
    backlog = Backlog(2)
    backlog.add(calls([0.0] * 41))
    done: list[str] = []
    given_up: list[ClientCall] = []
    queued: dict[int, list[list[ClientCall]]] = {0: [], 1: []}
    while len(done) + len(given_up) < 41:
        for worker in (0, 1):
            while batch := backlog.take(worker):
                queued[worker].append(batch)
        for worker in (0, 1):
            if not queued[worker]:
                continue
            batch = queued[worker].pop(0)
            if "m7" in names(batch):
                queued[worker].clear()
                given_up += backlog.died(worker)
            else:
                done += names(batch)
                finish(backlog, worker, batch)
    assert names(given_up) == ["m7"]
    assert sorted(done) == sorted(f"m{n}" for n in range(41) if n != 7)


def test_a_call_is_given_up_after_its_last_attempt() -> None:
    """A later call of the same name starts anew."""
    backlog = Backlog(1)
    for _ in range(2):
        [only] = calls([0.0])
        backlog.add([only])
        for attempt in range(1, MAX_ATTEMPTS + 1):
            assert backlog.take(0) == [only]
            assert backlog.died(0) == ([only] if attempt == MAX_ATTEMPTS else [])
        assert len(backlog) == 0


def test_what_takes_too_long_is_forgotten() -> None:
    """Its worker is replaced, and repeats only the others."""
    backlog = Backlog(1)
    backlog.add(calls([0.0] * 20))
    held = backlog.take(0)
    assert len(held) > 1
    backlog.drop(0, names(held)[0])
    assert backlog.died(0) == []
    assert names(backlog.holds(0)) == []
    assert sorted(carry_out(backlog, 1)[0]) == sorted(f"m{n}" for n in range(1, 20))


def test_what_was_not_begun_waits_again_and_nobody_is_blamed() -> None:
    """The longest still go first, in batches, and a death later is the first one."""
    backlog = Backlog(1)
    backlog.add(calls([0.0] * 40))
    first, second = backlog.take(0), backlog.take(0)
    backlog.finished(0, names(first[:2]))
    backlog.put_back(0, names(first[2:]))
    backlog.batch_over(0)
    backlog.put_back(0, names(second))
    backlog.batch_over(0)
    assert backlog.holds(0) == []
    assert len(backlog) == 38
    assert len(backlog.take(0)) > 1
    assert backlog.died(0) == []


class AnyOrder(RuleBasedStateMachine):
    """Calls come, batches are taken and finished in parts, workers die, in any order."""

    @initialize(num_workers=st.integers(1, 3), whole_shares=st.booleans())
    def start(self, num_workers: int, *, whole_shares: bool) -> None:
        """Begin with some workers."""
        become_server(9)
        self.backlog = Backlog(num_workers, whole_shares=whole_shares)
        self.batches: list[list[list[ClientCall]]] = [[] for _ in range(num_workers)]
        self.suspects: dict[str, int] = {}
        self.open: set[str] = set()
        self.num_added = 0

    def a_worker(self, data: st.DataObject) -> int:
        """Choose one."""
        return data.draw(st.integers(0, len(self.batches) - 1))

    @rule(
        expected_s=st.lists(st.sampled_from([0.0, 0.001, 1.0]), max_size=30),
        partitions=st.integers(1, 9),
    )
    def add(self, expected_s: list[float], partitions: int) -> None:
        """Queue calls with one content."""
        content = RecordDict()
        new = [
            call(
                self.num_added + place,
                content=content,
                expected_s=seconds,
                partition_id=place % partitions,
            )
            for place, seconds in enumerate(expected_s)
        ]
        self.num_added += len(new)
        self.open |= {*names(new)}
        self.backlog.add(new)

    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        """Give a worker its next batch."""
        worker = self.a_worker(data)
        idle = not self.batches[worker]
        batch = self.backlog.take(worker)
        assert bool(batch) or not idle or not self.backlog
        if batch:
            self.batches[worker].append(batch)
            assert len({id(each.message.content) for each in batch}) == 1

    @precondition(lambda self: any(self.batches))
    @rule(data=st.data(), part=st.booleans())
    def finish(self, data: st.DataObject, *, part: bool) -> None:
        """End the oldest batch of a worker, or some of its calls."""
        worker = self.a_worker(data)
        if not self.batches[worker]:
            return
        batch = self.batches[worker][0]
        size = data.draw(st.integers(0, len(batch))) if part else len(batch)
        done, self.batches[worker][0] = batch[:size], batch[size:]
        self.settle(names(done))
        self.backlog.finished(worker, names(done))
        if size == len(batch):
            self.batches[worker].pop(0)
            self.backlog.batch_over(worker)

    @precondition(lambda self: any(self.batches))
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        """End the oldest batch of a worker with some of its calls not begun."""
        worker = self.a_worker(data)
        if not self.batches[worker]:
            return
        batch = self.batches[worker].pop(0)
        size = data.draw(st.integers(0, len(batch)))
        self.settle(names(batch[:size]))
        self.backlog.finished(worker, names(batch[:size]))
        self.backlog.put_back(worker, names(batch[size:]))
        self.backlog.batch_over(worker)

    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """Kill a worker with all that it holds."""
        worker = self.a_worker(data)
        held = [each for batch in self.batches[worker] for each in batch]
        assert names(self.backlog.holds(worker)) == names(held)
        self.batches[worker] = []
        for name in names(held):
            self.suspects[name] = self.suspects.get(name, 0) + 1
        expected = [name for name in names(held) if self.suspects[name] == MAX_ATTEMPTS]
        assert names(self.backlog.died(worker)) == expected
        self.settle(expected)

    def settle(self, done: list[str]) -> None:
        """Note calls that are over, each for the first time."""
        assert self.open >= {*done}
        self.open -= {*done}
        for name in done:
            self.suspects.pop(name, None)

    @invariant()
    def every_call_is_somewhere_once(self) -> None:
        """Waiting or held; and whoever may kill stands alone."""
        held = [[n for batch in some for n in names(batch)] for some in self.batches]
        somewhere = [*names(self.backlog._waiting), *(n for some in held for n in some)]
        assert sorted(somewhere) == sorted(self.open)
        for worker, some in zip(self.batches, held, strict=True):
            assert len(worker) <= 2
            assert len(some) <= 1 or not {*some} & {*self.suspects}


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=40)
