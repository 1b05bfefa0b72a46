"""Statistics over runs: pure functions from data frames to frames and frozen results.

``from flip_lab import analysis`` loads neither pandas, scipy nor statsmodels;
``analysis.compare(…)`` loads what it needs on first use. Frames have the columns of the
store's SQL tables. Nothing here reads a store or draws a figure.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flip_lab.analysis.client_fairness import fairness as fairness
    from flip_lab.analysis.client_fairness import fairness_of_groups as fairness_of_groups
    from flip_lab.analysis.comparison import Comparison as Comparison
    from flip_lab.analysis.comparison import compare as compare
    from flip_lab.analysis.confidence import bands as bands
    from flip_lab.analysis.differences import CodeDiff as CodeDiff
    from flip_lab.analysis.differences import code_diff as code_diff
    from flip_lab.analysis.differences import configuration_diff as configuration_diff
    from flip_lab.analysis.distances import distances_between as distances_between
    from flip_lab.analysis.distances import distances_to_whole as distances_to_whole
    from flip_lab.analysis.distances import gini as gini
    from flip_lab.analysis.estimates import Estimate as Estimate
    from flip_lab.analysis.estimates import estimate as estimate
    from flip_lab.analysis.odd_ones import odd_clients as odd_clients
    from flip_lab.analysis.odd_ones import robust_scores as robust_scores
    from flip_lab.analysis.pairs import Pairwise as Pairwise
    from flip_lab.analysis.pairs import pairwise as pairwise
    from flip_lab.analysis.ranking import leaderboard as leaderboard
    from flip_lab.analysis.skew import SkewSummary as SkewSummary
    from flip_lab.analysis.skew import label_skew as label_skew
    from flip_lab.analysis.skew import skew_summary as skew_summary
    from flip_lab.analysis.smoothing import Smoothing as Smoothing
    from flip_lab.analysis.smoothing import smooth as smooth
    from flip_lab.analysis.targets import TimeToTarget as TimeToTarget
    from flip_lab.analysis.targets import rounds_to_target as rounds_to_target

_HOME = {
    "CodeDiff": "differences",
    "Comparison": "comparison",
    "Estimate": "estimates",
    "Pairwise": "pairs",
    "SkewSummary": "skew",
    "Smoothing": "smoothing",
    "TimeToTarget": "targets",
    "bands": "confidence",
    "code_diff": "differences",
    "compare": "comparison",
    "configuration_diff": "differences",
    "distances_between": "distances",
    "distances_to_whole": "distances",
    "estimate": "estimates",
    "fairness": "client_fairness",
    "fairness_of_groups": "client_fairness",
    "gini": "distances",
    "label_skew": "skew",
    "leaderboard": "ranking",
    "odd_clients": "odd_ones",
    "pairwise": "pairs",
    "robust_scores": "odd_ones",
    "rounds_to_target": "targets",
    "skew_summary": "skew",
    "smooth": "smoothing",
}

__all__ = [
    "CodeDiff",
    "Comparison",
    "Estimate",
    "Pairwise",
    "SkewSummary",
    "Smoothing",
    "TimeToTarget",
    "bands",
    "code_diff",
    "compare",
    "configuration_diff",
    "distances_between",
    "distances_to_whole",
    "estimate",
    "fairness",
    "fairness_of_groups",
    "gini",
    "label_skew",
    "leaderboard",
    "odd_clients",
    "pairwise",
    "robust_scores",
    "rounds_to_target",
    "skew_summary",
    "smooth",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  # a function or class of any shape
    """Load a name from its module on first use.

    Raises:
        AttributeError: If there is no such name.
    """
    if name not in _HOME:
        raise AttributeError(f"module 'flip_lab.analysis' has no attribute {name!r}")
    return getattr(import_module(f"flip_lab.analysis.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """Offer the names to tab completion."""
    return list(__all__)
