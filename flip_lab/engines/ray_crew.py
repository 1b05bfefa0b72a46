"""The actors that serve one run: who they are, what they were told, what they answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from flip_lab.core.clock import tick_s
from flip_lab.engines.base import Job
from flip_lab.engines.clients import ClientCall
from flip_lab.engines.ray_lease import Leases, Slot
from flip_lab.engines.ray_package import is_our_own, package_of
from flip_lab.engines.ray_parcels import pack

ADOPTION = -1
"""The number of the answer that is not a batch's: whether the app could be loaded."""

News: TypeAlias = tuple[int, int, Any]
"""Who answers (its place in the crew), to which batch, and a future that is done."""


@dataclass(kw_only=True)
class Member:
    """An actor and what it has been told.

    Attributes:
        slot: The leased actor.
        is_ready: Whether it has loaded the app.
        key: The content that it was sent last.
        batches: What it was given and has not answered, oldest first, by number: answers
            may overtake each other on their way.
        since_s: When it began with the oldest one.
    """

    slot: Slot
    is_ready: bool = False
    key: int = -1
    batches: dict[int, Sequence[ClientCall]] = field(
        default_factory=dict[int, Sequence[ClientCall]]
    )
    since_s: float = 0.0

    @property
    def oldest(self) -> Sequence[ClientCall]:
        """The batch that it is busy with; empty when it is not."""
        return next(iter(self.batches.values()), ())

    def answered(self, batch: int) -> None:
        """Note that it is through with a batch, and begins with the next one."""
        del self.batches[batch]
        self.since_s = tick_s()


class Crew:
    """Leased actors in numbered places; one that is lost is replaced in its place.

    Args:
        ray: The ``ray`` module, connected.
        job: The run.
        leases: Where actors come from.
    """

    def __init__(self, ray: Any, job: Job, leases: Leases) -> None:  # noqa: ANN401  # an optional package
        """Lease the actors and have each load the app.

        Raises:
            EngineStartError: If no actor finds a place.
        """
        self._leases = leases
        self._is_reusable = is_our_own(job.app)
        self._package = ray.put(package_of(ray, job))
        self._told: SimpleQueue[tuple[int, int, str, Any]] = SimpleQueue()
        self._serials = count()
        self.members = [Member(slot=slot) for slot in leases.take()]
        for number in range(len(self.members)):
            self._adopt(number)

    def _adopt(self, number: int) -> None:
        actor = self.members[number].slot.actor
        reference = actor.adopt.remote(self._leases.job_id, self._package)
        self._listen(number, ADOPTION, reference)

    def _listen(self, number: int, batch: int, reference: Any) -> None:  # noqa: ANN401  # Ray's own
        """Have the answer put into the queue, in a thread of Ray's."""
        name = self.members[number].slot.name
        reference.future().add_done_callback(partial(self._tell, number, batch, name))

    def _tell(self, number: int, batch: int, name: str, future: Any) -> None:  # noqa: ANN401  # as above
        self._told.put((number, batch, name, future))

    def give(
        self,
        number: int,
        key: int,
        content: Any,  # noqa: ANN401  # as above
        batch: Sequence[ClientCall],
    ) -> None:
        """Give an actor a batch.

        Args:
            number: The actor's place.
            key: The content of all its messages.
            content: What to send for it, unless the actor has it.
            batch: The calls, without content.
        """
        member = self.members[number]
        if not member.batches:
            member.since_s = tick_s()
        sent = None if key == member.key else content
        member.key = key
        serial = next(self._serials)
        member.batches[serial] = batch
        reference = member.slot.actor.carry_out.remote(key, sent, pack(batch))
        self._listen(number, serial, reference)

    def await_news(self, timeout_s: float) -> list[News]:
        """Wait for the first answer; give it and all that are there by then."""
        told: list[tuple[int, int, str, Any]] = []
        try:
            told.append(self._told.get(timeout=max(0.0, timeout_s)))
            while True:
                told.append(self._told.get_nowait())
        except Empty:
            return [
                (number, batch, future)
                for number, batch, name, future in told
                if name == self.members[number].slot.name  # not of one that was replaced
            ]

    def is_current(self, number: int, batch: int) -> bool:
        """Whether an actor still owes this answer: it may have been replaced just now."""
        member = self.members[number]
        return batch in member.batches or (batch == ADOPTION and not member.is_ready)

    def replace(self, number: int) -> None:
        """End an actor, whatever it is doing, and put another one in its place."""
        self._leases.end([self.members[number].slot])
        self.members[number] = Member(slot=self._leases.new())
        self._adopt(number)

    def close(self) -> None:
        """Give the actors back; those of a session that is gone are gone too."""
        if self._leases.is_session_alive():
            busy = [each.slot for each in self.members if each.batches]
            rest = [each.slot for each in self.members if not each.batches]
            self._leases.end(busy)
            self._leases.give_back(rest, is_reusable=self._is_reusable)
