"""Check what a scenario promises against what a run of it gave."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flip_lab.core.scenario import Expectation, Scenario
from flip_lab.fl.baselines import local_only, pooled, weighted_mean


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One expectation, and what became of it.

    Attributes:
        expectation: What the scenario says.
        observed: The run's value of the metric; NaN when the run has no such metric.
        needed: The least value that fulfils the expectation, margin included.
        holds: Whether it is fulfilled; never by a NaN.
    """

    expectation: Expectation
    observed: float
    needed: float
    holds: bool


def check(
    scenario: Scenario,
    final_metrics: Mapping[str, float],
    *,
    other: Callable[[str], Mapping[str, float]],
) -> list[Verdict]:
    """Check every expectation of a scenario.

    Local-only and pooled training are averaged over the sites by their number of test
    examples, as the federated metrics are.

    Args:
        scenario: What was run.
        final_metrics: Federated evaluation metrics of the run's last round, by name.
        other: Gives the same of another scenario, by its name.

    Returns:
        One outcome for each expectation, in order.

    Raises:
        PartitionError: If a baseline is needed and the data cannot be split.
    """
    outcomes: list[Verdict] = []
    for expectation in scenario.expect:
        observed = final_metrics.get(expectation.metric, math.nan)
        needed = _reference(scenario, expectation, other) + expectation.margin
        outcomes.append(
            Verdict(
                expectation=expectation,
                observed=observed,
                needed=needed,
                holds=observed >= needed,
            )
        )
    return outcomes


def _reference(
    scenario: Scenario,
    expectation: Expectation,
    other: Callable[[str], Mapping[str, float]],
) -> float:
    """Give the number that the run's metric is compared with."""
    reference = expectation.at_least
    if not isinstance(reference, str):
        return reference
    if reference.startswith("scenario:"):
        metrics = other(reference.removeprefix("scenario:"))
    else:
        baseline = {"local_only": local_only, "pooled": pooled}[reference]
        metrics = weighted_mean(baseline(scenario))
    return metrics.get(expectation.metric, math.nan)
