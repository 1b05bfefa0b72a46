"""Draw how long messages take: chance, and what the few observations leave open.

Each draw is one fleet that fits what was seen: for every node and phase a middle and a
spread from their posterior under a flat prior (Gelman et al., *Bayesian Data Analysis*,
section 3.2), and parts of its time from the bounds that are known. Rounds of one draw share
them, so a sum over rounds is as uncertain as it should be.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flip_lab.analysis.columns import Reals
from flip_lab.analysis.fleet import Fleet
from flip_lab.analysis.fleet_fit import PRIOR_WEIGHT
from flip_lab.analysis.twin_choice import WhatIf
from flip_lab.core.fleet import Availability, PhaseProfile, Timing

Flags = npt.NDArray[np.bool_]

_FAILURE_SIGMA = 0.3  # of how long it takes to know of a failure: timers, mostly
_NOBODY = Availability(num_asked=0, num_failed=0)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Messages of one phase of one round.

    Attributes:
        partitions: Whom they may go to.
        num_examples: What each works on; NaN for the node's usual.
        num_bytes: What travels with each; NaN for the node's usual.
        is_first: Whether it is the node's first in the run.
    """

    partitions: Sequence[int]
    num_examples: Reals
    num_bytes: Reals
    is_first: Flags


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What became of messages: shape ``(num_draws, messages)`` each.

    Attributes:
        ready_s: Seconds until the reply is there; infinite where none comes.
        known_s: Seconds until its end is known, reply or failure.
        is_away: Whether the node is not connected, so that nobody asks it.
    """

    ready_s: Reals
    known_s: Reals
    is_away: Flags


@dataclass(frozen=True, kw_only=True)
class _Learned:
    """One node in one phase: draws of its parameters, each of shape ``(num_draws,)``."""

    log_s: Reals
    sigma: Reals
    compute: Reals
    transfer: Reals
    profile: PhaseProfile


class FleetDraws:
    """Draws of a fleet, and of what it does with messages.

    Args:
        fleet: The fleet.
        what_if: What is otherwise.
        num_draws: How many.
        seed: Of the generator; the same gives the same draws.
    """

    def __init__(self, fleet: Fleet, what_if: WhatIf, *, num_draws: int, seed: int) -> None:
        """Draw parameters for each node and phase."""
        self.num_draws = num_draws
        self.random = np.random.default_rng(seed)
        self._fleet = fleet
        self._what_if = what_if
        self._learned = {
            (node.partition_id, phase): self._learn(profile)
            for node in fleet.nodes
            for phase, profile in sorted(node.phases.items())
        }
        self._server = self._parameters(fleet.server.overhead, 0.0)
        self._strangers: dict[str, _Learned] = {}
        self._shared = {
            phase: self._common(sigma)
            for phase, sigma in sorted(fleet.server.shared_log_sigma.items())
        }

    def overhead_s(self) -> Reals:
        """Draw what one round takes besides its nodes; shape ``(num_draws,)``."""
        log_s, sigma = self._server
        return np.exp(log_s + sigma * self.random.standard_normal(self.num_draws))

    def messages(self, phase: str, asked: Asked) -> Drawn:
        """Draw what becomes of the messages of one phase of one round."""
        times = self._times(phase, asked)
        nodes = [self._fleet.by_partition.get(node) for node in asked.partitions]
        there = [node.availability if node else _NOBODY for node in nodes]
        failed = self.random.random(times.shape) < [each.error_rate for each in there]
        is_away = self.random.random(times.shape) >= [each.share_up for each in there]
        chance = np.exp(_FAILURE_SIGMA * self.random.standard_normal(times.shape))
        told_s = np.array([each.failed_s for each in there]) * chance
        return Drawn(
            ready_s=np.where(failed | is_away, np.inf, times),
            known_s=np.where(is_away, 0.0, np.where(failed, told_s, times)),
            is_away=is_away,
        )

    def _times(self, phase: str, asked: Asked) -> Reals:
        """Draw how long messages take that are answered."""
        learned = [self._of(node, phase) for node in asked.partitions]
        shared, common = self._shared.get(phase) or self._common(0.0)
        sigma = np.stack([each.sigma for each in learned], axis=1)
        alone = np.maximum(sigma**2 - shared[:, None] ** 2, (_OWN * sigma) ** 2) ** 0.5
        log_s = np.stack([each.log_s for each in learned], axis=1)
        together = common + shared * self.random.standard_normal(self.num_draws)
        own = alone * self.random.standard_normal(sigma.shape)
        times = np.exp(log_s + together[:, None] + own) * self._factors(asked, learned)
        known = self._fleet.by_partition
        warm_up = [known[n].warm_up_s if n in known else 0.0 for n in asked.partitions]
        return times + np.array(warm_up) * asked.is_first

    def _common(self, shared_sigma: float) -> tuple[Reals, Reals]:
        """Draw how much rounds differ as a whole, and how untypical those seen were."""
        num_rounds = max(self._fleet.num_rounds, 2)
        sigma = shared_sigma * self._spread(num_rounds - 1.0)
        noise = self.random.standard_normal(self.num_draws)
        return sigma, sigma * noise / np.sqrt(num_rounds)

    def _factors(self, asked: Asked, learned: Sequence[_Learned]) -> Reals:
        """Say how many times its usual time each message takes for what it carries."""
        columns: list[Reals] = []
        for at, (node, one) in enumerate(zip(asked.partitions, learned, strict=True)):
            usual = one.profile
            work = _ratio(asked.num_examples[at], usual.num_examples)
            work *= self._what_if.examples_factor * self._what_if.slower.get(node, 1.0)
            moved = _ratio(asked.num_bytes[at], usual.num_bytes)
            moved *= self._what_if.bytes_factor
            columns.append(1 + one.compute * (work - 1) + one.transfer * (moved - 1))
        return np.stack(columns, axis=1)

    def _of(self, node: int, phase: str) -> _Learned:
        known = self._learned.get((node, phase))
        if known is not None:
            return known
        if phase not in self._strangers:
            self._strangers[phase] = self._learn(_typical(self._fleet, phase))
        return self._strangers[phase]

    def _learn(self, profile: PhaseProfile) -> _Learned:
        log_s, sigma = self._parameters(profile.timing, PRIOR_WEIGHT)
        transfer = self._any_size(*profile.transfer_share)
        compute = self.random.uniform(*profile.compute_share, self.num_draws)
        return _Learned(
            log_s=log_s,
            sigma=sigma,
            transfer=transfer,
            compute=np.minimum(compute, 1 - transfer),
            profile=profile,
        )

    def _any_size(self, low: float, high: float) -> Reals:
        """Draw a share of moving bytes: links differ in orders of magnitude."""
        if high < _NOTHING:
            return np.zeros(self.num_draws)
        low = max(low, high / _SLOWEST_TO_FASTEST)
        return np.exp(self.random.uniform(math.log(low), math.log(high), self.num_draws))

    def _parameters(self, timing: Timing, prior_weight: float) -> tuple[Reals, Reals]:
        """Draw middle and spread of the logarithm from their posterior."""
        freedom = max(timing.num_observed - 1 + prior_weight, 1.0)
        sigma = timing.log_sigma * self._spread(freedom)
        error = sigma / np.sqrt(timing.num_observed)
        noise = self.random.standard_normal(self.num_draws)
        return np.log(timing.median_s) + error * noise, sigma

    def _spread(self, freedom: float) -> Reals:
        """Draw by how much a spread may differ from the one that was seen, as a factor."""
        chi = self.random.chisquare(freedom, self.num_draws)
        return np.sqrt(freedom / np.maximum(chi, _LEAST_CHI))


_OWN = 0.4  # a node's own spread is at least this share of all, however much is shared
_NOTHING = 1e-9  # a share of a message's time that is as good as none
_SLOWEST_TO_FASTEST = 1_000  # links that could be meant, where only one bound is known
_LEAST_CHI = 0.5  # a fleet seen twice shall be uncertain, not absurd


def _ratio(value: float, usual: float) -> float:
    known = np.isfinite(value) and value > 0 and usual > 0
    return float(value / usual) if known else 1.0


def _typical(fleet: Fleet, phase: str) -> PhaseProfile:
    """Give a node that was never seen in a phase: the middle of those that were.

    How much nodes differ is part of its spread. Where none was seen, all phases stand in.
    """
    profiles: list[PhaseProfile] = [
        profile
        for node in fleet.nodes
        for name, profile in node.phases.items()
        if name == phase
    ] or [profile for node in fleet.nodes for profile in node.phases.values()]
    logs = np.log([profile.timing.median_s for profile in profiles])
    within = np.mean([profile.timing.log_sigma**2 for profile in profiles])
    timing = Timing(
        median_s=float(np.exp(np.median(logs))),
        log_sigma=float(np.sqrt(within + np.var(logs))),
        num_observed=len(profiles),
    )
    return PhaseProfile(
        timing=timing,
        num_examples=_middle(profile.num_examples for profile in profiles),
        num_bytes=_middle(profile.num_bytes for profile in profiles),
    )


def _middle(values: Iterable[float]) -> float:
    return float(np.median(list(values)))
