"""A fleet, as its runs showed it: how fast each node answers, and how often it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

from flip_lab.core.events import RunEvent
from flip_lab.core.policy import RoundPolicy

Shares: TypeAlias = tuple[float, float]
"""The lowest and the highest share, 0 to 1, that what was seen allows."""

UNKNOWN: Shares = (0.0, 1.0)

NARROW = 0.35
"""Width of a share's bounds up to which their middle is a fair guess."""


class RecordedSpec(Protocol):
    """What a fit needs to know of how a run was launched."""

    @property
    def federation(self) -> str | None:
        """Name of the real federation that it ran on; ``None`` in simulation."""
        ...

    @property
    def policy(self) -> RoundPolicy | None:
        """When its rounds closed; ``None``: with the last reply."""
        ...


class RecordedRun(Protocol):
    """A run that can be learned from: a ``Run``, or anything that kept its events."""

    @property
    def run_id(self) -> str:
        """The run's id."""
        ...

    @property
    def spec(self) -> RecordedSpec:
        """How it was launched."""
        ...

    def events(self) -> Sequence[RunEvent]:
        """Give all its events, in order."""
        ...


class Estimate(NamedTuple):
    """A number with what is known of it.

    Attributes:
        value: The best guess; NaN where nothing but its bounds is known.
        low: It is hardly below this.
        high: It is hardly above this; infinite where nothing bounds it.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """A log-normal time, as learned.

    Attributes:
        median_s: Its middle, seconds, above 0.
        log_sigma: Standard deviation of its natural logarithm, 0 or more.
        num_observed: Times that it was learned from, 1 or more.
    """

    median_s: float
    log_sigma: float
    num_observed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseProfile:
    """How long one kind of message takes a node, from its dispatch to its reply.

    The time has three parts: computing, which grows with the examples; moving, which grows
    with the bytes; and the rest, which is the same for each message. What they add up to is
    seen; each by itself often is not, and then only bounds of its share are known.

    Attributes:
        timing: How long it takes.
        num_examples: Examples of a usual message; 0 where none of its messages told.
        num_bytes: Bytes that go down and come up with a usual message; 0 likewise.
        compute_share: What computing may be of it.
        transfer_share: What moving bytes may be of it.
    """

    timing: Timing
    num_examples: float
    num_bytes: float
    compute_share: Shares = UNKNOWN
    transfer_share: Shares = UNKNOWN

    @property
    def compute_s_per_example(self) -> Estimate:
        """Seconds that an example takes; infinite where messages carry none."""
        if self.num_examples <= 0:
            return Estimate(float("nan"), 0.0, float("inf"))
        return _scaled(self.compute_share, self.timing.median_s / self.num_examples)

    @property
    def transfer_s_per_mib(self) -> Estimate:
        """Seconds that a mebibyte takes, both ways alike."""
        if self.num_bytes <= 0:
            return Estimate(float("nan"), 0.0, float("inf"))
        return _scaled(self.transfer_share, self.timing.median_s * 2**20 / self.num_bytes)

    @property
    def fixed_s(self) -> Estimate:
        """Seconds that any message takes, however small."""
        low = max(0.0, 1 - self.compute_share[1] - self.transfer_share[1])
        high = 1 - self.compute_share[0] - self.transfer_share[0]
        return _scaled((low, max(low, high)), self.timing.median_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """How often a node was there when it was needed.

    Attributes:
        num_asked: Messages that it was sent.
        num_failed: Those that it failed, or never answered.
        failed_s: How long it usually took to know that; 0 when it never failed.
        up_s: Seconds that it was connected while runs went on.
        down_s: Seconds that it was not.
        num_outages: How often it went away.
    """

    num_asked: int
    num_failed: int
    failed_s: float = 0.0
    up_s: float = 0.0
    down_s: float = 0.0
    num_outages: int = 0

    @property
    def error_rate(self) -> float:
        """Share of messages that it failed, 0 to 1."""
        return self.num_failed / self.num_asked if self.num_asked else 0.0

    @property
    def share_up(self) -> float:
        """Share of the time that it was connected, 0 to 1."""
        watched_s = self.up_s + self.down_s
        return self.up_s / watched_s if watched_s else 1.0

    @property
    def mean_up_s(self) -> float | None:
        """Mean time until it goes away, seconds; ``None`` when it never did."""
        return self.up_s / self.num_outages if self.num_outages else None

    @property
    def mean_down_s(self) -> float | None:
        """Mean time until it is back, seconds; ``None`` when it never went away."""
        return self.down_s / self.num_outages if self.num_outages else None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProfile:
    """One node as runs showed it.

    Attributes:
        partition_id: The partition that it holds, 0-based; its node id where it never told.
        phases: How long its messages take, by phase; a phase that it never did is missing.
        warm_up_s: What the first message of a run takes longer, seconds, 0 or more.
        availability: How often it was there.
    """

    partition_id: int
    phases: Mapping[str, PhaseProfile]
    warm_up_s: float = 0.0
    availability: Availability

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NodeProfile:
        """Read what ``dataclasses.asdict`` gave.

        Raises:
            KeyError: If something is missing.
            TypeError: If something is not as it should be.
        """
        phases = {name: _phase(phase) for name, phase in data["phases"].items()}
        return cls(
            partition_id=int(data["partition_id"]),
            phases=phases,
            warm_up_s=float(data["warm_up_s"]),
            availability=Availability(**data["availability"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProfile:
    """What a round takes besides waiting for its nodes.

    Attributes:
        overhead: Aggregating, evaluating centrally, keeping a checkpoint, a round.
        shared_log_sigma: How much the nodes of one round are slow together, by phase:
            standard deviation of a factor's natural logarithm that they all share.
    """

    overhead: Timing
    shared_log_sigma: Mapping[str, float] = field(default_factory=dict[str, float])

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ServerProfile:
        """Read what ``dataclasses.asdict`` gave; errors as ``NodeProfile.from_dict``."""
        shared = {str(name): float(v) for name, v in data["shared_log_sigma"].items()}
        return cls(overhead=Timing(**data["overhead"]), shared_log_sigma=shared)


def as_plain_data(profile: NodeProfile | ServerProfile) -> dict[str, Any]:
    """Give a profile as plain data, fit for JSON."""
    return asdict(profile)


def _phase(data: Mapping[str, Any]) -> PhaseProfile:
    return PhaseProfile(
        timing=Timing(**data["timing"]),
        num_examples=float(data["num_examples"]),
        num_bytes=float(data["num_bytes"]),
        compute_share=_shares(data["compute_share"]),
        transfer_share=_shares(data["transfer_share"]),
    )


def _shares(pair: Sequence[float]) -> Shares:
    low, high = pair
    return float(low), float(high)


def _scaled(shares: Shares, by: float) -> Estimate:
    low, high = shares
    is_known = high - low <= NARROW
    return Estimate(
        (low + high) / 2 * by if is_known else float("nan"), low * by, high * by
    )
