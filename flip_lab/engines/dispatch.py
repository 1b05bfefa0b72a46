"""Which client call goes to which worker process, and when: pure bookkeeping.

Long calls go first, so that no worker waits for another at the end; short calls travel in
batches that shrink towards the end (guided self-scheduling, Polychronopoulos & Kuck, IEEE
Transactions on Computers 1987); a partition returns to the worker that has its data in
memory where that delays nothing. No result depends on any of it.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from math import ceil

from flip_lab.engines.clients import ClientCall

MAX_ATTEMPTS = 3
"""How often a call is carried out before its node counts as failed: workers may die."""

_MAX_BATCH = 32
_BATCH_S = 0.02  # most work in one batch of several calls: nobody shall wait for it
_LEAST_S = 0.003  # a message to a worker and its answer cost a tenth of that
_IN_FLIGHT = 2  # batches a worker holds: one to carry out, one so that it need not wait


class Backlog:
    """Calls that wait for one of several workers, and what each worker holds.

    Not safe for several threads: an executor holds its lock around each call.

    Args:
        num_workers: Workers, numbered from 0.
        whole_shares: Give each worker its whole share of a cohort at once; for workers
            that train many clients together.
    """

    def __init__(self, num_workers: int, *, whole_shares: bool = False) -> None:
        """Start with nothing to do."""
        self._num_workers = num_workers
        self._whole_shares = whole_shares
        self._share = 1
        self._waiting: list[ClientCall] = []
        self._held: list[dict[str, ClientCall]] = [{} for _ in range(num_workers)]
        self._batches = [0] * num_workers
        self._attempts: dict[str, int] = {}
        self._home: dict[int, int] = {}

    def __len__(self) -> int:
        """Count calls that no worker has been given yet."""
        return len(self._waiting)

    def add(self, calls: Iterable[ClientCall]) -> None:
        """Queue calls; the longest come first, equally long ones in their order."""
        new = list(calls)
        if len(new) == 1:  # many may wait, and many come one by one
            insort(self._waiting, new[0], key=self._rank)
        else:
            self._waiting = sorted([*self._waiting, *new], key=self._rank)
        self._share = ceil(len(self._waiting) / self._num_workers)

    def _rank(self, call: ClientCall) -> tuple[bool, float]:
        return not self._is_suspect(call), -call.expected_s

    def _is_suspect(self, call: ClientCall) -> bool:
        """Whether a worker died with this call: it goes alone, so as to harm no other."""
        return _id(call) in self._attempts

    def take(self, worker: int) -> list[ClientCall]:
        """Give a worker its next batch; empty when it should have none now.

        Returns:
            Calls that share one content object, so that it is sent once.
        """
        busy = self._batches[worker]
        if busy >= _IN_FLIGHT:
            return []
        if busy and len(self._waiting) <= self._num_workers:
            return []  # towards the end calls go to workers that have nothing to do
        if (
            busy
            and self._attempts
            and any(map(self._is_suspect, self._held[worker].values()))
        ):
            return []
        first = self._pick(worker, None)
        if first is None:
            return []
        batch, size = [first], self._batch_size(first)
        while len(batch) < size and (more := self._pick(worker, first)) is not None:
            batch.append(more)
        self._held[worker] |= {_id(call): call for call in batch}
        self._batches[worker] += 1
        self._home |= {call.partition_id: worker for call in batch}
        return batch

    def _batch_size(self, first: ClientCall) -> int:
        if self._is_suspect(first):
            return 1
        if self._whole_shares:
            return self._share
        left = len(self._waiting) + 1
        guided = ceil(left / (4 * self._num_workers))
        if first.expected_s <= 0:
            return min(_MAX_BATCH, guided)
        least, most = (ceil(work_s / first.expected_s) for work_s in (_LEAST_S, _BATCH_S))
        fair = ceil(left / self._num_workers)
        return min(_MAX_BATCH, most, fair, max(guided, least))

    def _pick(self, worker: int, like: ClientCall | None) -> ClientCall | None:
        """Take the next call, rather one whose data this worker has in memory.

        Args:
            worker: Who will carry it out.
            like: The first call of the batch; others must share its content.
        """
        home = self._home
        fits = [
            place
            for place, call in enumerate(self._waiting[: 4 * self._num_workers])
            if (
                self._may_begin(call, worker)
                if like is None
                else self._may_join(call, like)
            )
        ]
        at_home = (
            place
            for place in fits
            if home.get(self._waiting[place].partition_id, worker) == worker
        )
        chosen = next(at_home, fits[0] if fits else None)
        return None if chosen is None else self._waiting.pop(chosen)

    def _may_begin(self, call: ClientCall, worker: int) -> bool:
        return not (self._batches[worker] and self._is_suspect(call))

    def _may_join(self, call: ClientCall, first: ClientCall) -> bool:
        return call.message.content is first.message.content and not self._is_suspect(call)

    def finished(self, worker: int, message_ids: Sequence[str]) -> None:
        """Note calls that a worker has carried out."""
        for message_id in message_ids:
            self._held[worker].pop(message_id, None)
            self._attempts.pop(message_id, None)

    def batch_over(self, worker: int) -> None:
        """Note that a worker is through with the oldest batch it was given."""
        self._batches[worker] -= 1

    def put_back(self, worker: int, message_ids: Sequence[str]) -> None:
        """Queue calls again that a worker was given and did not begin."""
        if message_ids:
            self.add([self._held[worker].pop(message_id) for message_id in message_ids])

    def holds(self, worker: int) -> list[ClientCall]:
        """List what a worker was given and has not finished, in the order given."""
        return list(self._held[worker].values())

    def died(self, worker: int) -> list[ClientCall]:
        """Take back what a dead worker held; another one takes its place and number.

        Returns:
            Calls that are given up: they were carried out too often already.
        """
        calls, self._held[worker] = self.holds(worker), {}
        self._batches[worker] = 0
        given_up: list[ClientCall] = []
        for call in calls:
            attempts = self._attempts.get(_id(call), 0) + 1
            self._attempts[_id(call)] = attempts
            if attempts >= MAX_ATTEMPTS:
                del self._attempts[_id(call)]
                given_up.append(call)
        kept = [call for call in calls if _id(call) in self._attempts]
        self._waiting = [*kept, *self._waiting]
        return given_up

    def drop(self, worker: int, message_id: str) -> None:
        """Forget a call that took too long; its worker is about to be replaced."""
        self._held[worker].pop(message_id, None)
        self._attempts.pop(message_id, None)


def _id(call: ClientCall) -> str:
    return call.message.metadata.message_id
