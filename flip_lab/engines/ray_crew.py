"""The actors that serve one run: who they are, what they were told, what they answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, TypeAlias

from flip_lab.core.clock import tick_s
from flip_lab.engines.base import Job
from flip_lab.engines.channel import Channel
from flip_lab.engines.clients import ClientCall
from flip_lab.engines.process_contents import SharedContents
from flip_lab.engines.ray_door import Door
from flip_lab.engines.ray_gate import Herald
from flip_lab.engines.ray_inbox import Inbox
from flip_lab.engines.ray_lease import Leases, Slot
from flip_lab.engines.ray_package import is_our_own, package_of
from flip_lab.engines.ray_parcels import Packed, RayContents, pack, unpack, without_content

ADOPTION = -1
"""The number of the answer that is not a batch's: whether the app could be loaded."""

SERVICE = -2
"""The number of the task in which an actor answers by socket; it should not end."""

News: TypeAlias = tuple[int, int, Callable[[], Any]]
"""Who answers (its place in the crew), to which batch, and what gives the answer."""


@dataclass(kw_only=True)
class Member:
    """An actor and what it has been told.

    Attributes:
        slot: The leased actor.
        door: Where it may knock, if it is on this machine.
        channel: The connection to it, if it did; else all goes through Ray.
        is_ready: Whether it has loaded the app.
        key: The content that it was sent last.
        batches: What it was given and has not answered, oldest first, by number: answers
            may overtake each other on their way through Ray.
        since_s: When it began with the oldest one.
    """

    slot: Slot
    door: Door = field(default_factory=Door)
    channel: Channel | None = None
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

    def answered(self, batch: int) -> Sequence[ClientCall]:
        """Note that it is through with a batch, and begins with the next one."""
        self.since_s = tick_s()
        return self.batches.pop(batch)


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
        self._gate, self._herald = job.gate, Herald(job.gate)
        self._package = ray.put(package_of(ray, job, self._herald.name))
        self.contents = SharedContents()
        self._by_ray = RayContents(ray, self.contents)
        self._serials = count()
        self.members = [Member(slot=slot) for slot in leases.take()]
        self._inbox = Inbox()
        self._gate.watch(self._gate_moved)
        for member in self.members:
            self._adopt(member)

    def _adopt(self, member: Member) -> None:
        reference = member.slot.actor.adopt.remote(
            self._leases.job_id, self._package, member.door.name
        )
        self._inbox.expect(member.slot.name, ADOPTION, reference)

    def _gate_moved(self) -> None:
        self._inbox.ring()
        self._herald.tell()

    def begin(self, number: int) -> None:
        """Take on an actor that has loaded the app; one of this machine by socket."""
        member = self.members[number]
        member.is_ready = True
        member.channel = member.door.open()
        if member.channel is None:
            self._herald.begin()
        else:
            with suppress(OSError):  # as in ``give``
                member.channel.send(None, descriptors=[self._gate.descriptor])
            self._inbox.watch(member.slot.name, member.channel)
            service = member.slot.actor.serve.remote()
            self._inbox.expect(member.slot.name, SERVICE, service)

    def give(self, number: int, batch: Sequence[ClientCall], ticket: int) -> None:
        """Give an actor a batch of calls that share a content.

        Args:
            number: The actor's place.
            batch: The calls.
            ticket: What the gate gave before they were taken.
        """
        member = self.members[number]
        if not member.batches:
            member.since_s = tick_s()
        serial = next(self._serials)
        member.batches[serial] = batch
        key = self.contents.key_of(batch[0].message.content)
        is_known, member.key = key == member.key, key
        bare = without_content(batch)
        if member.channel is None:
            content = None if is_known else self._by_ray.reference(key)
            reference = member.slot.actor.carry_out.remote(key, content, pack(bare), ticket)
            self._inbox.expect(member.slot.name, serial, reference)
        else:
            files = [] if is_known else [self.contents.parcel(key).descriptor]
            with suppress(OSError):  # Ray tells of a dead actor, and of what it died
                member.channel.send((serial, bare), descriptors=files)

    def wait(self, timeout_s: float) -> None:
        """Wait until there is news."""
        self._inbox.wait(timeout_s)

    def news(self) -> list[News]:
        """Take out all the news that is there, of actors that have not been replaced."""
        numbers = {member.slot.name: at for at, member in enumerate(self.members)}
        told = [
            *self._inbox.from_sockets(),
            *(
                (name, task, result if task < 0 else partial(_unpacked, result))
                for name, task, result in self._inbox.from_ray()
            ),
        ]
        return [
            (numbers[name], task, result) for name, task, result in told if name in numbers
        ]

    def is_current(self, number: int, batch: int) -> bool:
        """Whether an actor still owes this answer: it may have been replaced just now."""
        member = self.members[number]
        if batch == SERVICE:
            return member.channel is not None
        return batch in member.batches or (batch == ADOPTION and not member.is_ready)

    def replace(self, number: int) -> None:
        """End an actor, whatever it is doing, and put another one in its place."""
        self._part(self.members[number])
        self._leases.end([self.members[number].slot])
        self.members[number] = Member(slot=self._leases.new())
        self._adopt(self.members[number])

    def _part(self, member: Member) -> None:
        """Hang up; an actor that waits for calls goes on to its next task."""
        member.door.close()
        if member.channel is not None:
            self._inbox.ignore(member.channel)
            member.channel.close()

    def close(self, *, gives_back: bool = True) -> None:
        """Let go of all actors.

        Args:
            gives_back: Whether others may use them from now on. Those of a session that is
                gone are gone too.
        """
        self._gate.unwatch(self._gate_moved)
        self._herald.close()
        for member in self.members:
            self._part(member)
        self._inbox.close()
        self.contents.close()
        if gives_back and self._leases.is_session_alive():
            self._herald.erase()
            busy = [each.slot for each in self.members if each.batches]
            rest = [each.slot for each in self.members if not each.batches]
            self._leases.end(busy)
            self._leases.give_back(rest, is_reusable=self._is_reusable)


def _unpacked(result: Callable[[], tuple[Packed, bool]]) -> tuple[Any, bool]:
    packed, hung = result()
    return unpack(packed), hung
