"""Views: pure functions from data frames to a plotly figure or a table.

``from flip_lab import views`` loads neither pandas nor plotly; ``views.training_curves(…)``
loads them on first use. Frames have the columns of the store's SQL tables.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flip_lab.views.arrivals import target_curves as target_curves
    from flip_lab.views.bands import confidence_bands as confidence_bands
    from flip_lab.views.clients import client_distribution as client_distribution
    from flip_lab.views.configurations import configuration_table as configuration_table
    from flip_lab.views.confusion import confusion_map as confusion_map
    from flip_lab.views.curves import training_curves as training_curves
    from flip_lab.views.drift import drift_figure as drift_figure
    from flip_lab.views.family import family_tree as family_tree
    from flip_lab.views.federation_timeline_lanes import (
        federation_timeline as federation_timeline,
    )
    from flip_lab.views.fleet import fleet_figure as fleet_figure
    from flip_lab.views.forest import effect_forest as effect_forest
    from flip_lab.views.fork import fork_curves as fork_curves
    from flip_lab.views.heatmap import client_heatmap as client_heatmap
    from flip_lab.views.histograms import histogram_map as histogram_map
    from flip_lab.views.images import image_strip as image_strip
    from flip_lab.views.layers import layer_heatmap as layer_heatmap
    from flip_lab.views.panels import small_multiples as small_multiples
    from flip_lab.views.partitions import partition_map as partition_map
    from flip_lab.views.ranking import leaderboard_figure as leaderboard_figure
    from flip_lab.views.results import results_table as results_table
    from flip_lab.views.spans import span_timeline as span_timeline
    from flip_lab.views.spread import fairness_figure as fairness_figure
    from flip_lab.views.theme import apply_theme as apply_theme
    from flip_lab.views.timeline import cohort_timeline as cohort_timeline
    from flip_lab.views.twin_choices import what_if_figure as what_if_figure
    from flip_lab.views.twin_course import twin_rounds as twin_rounds
    from flip_lab.views.twin_nodes import twin_messages as twin_messages
    from flip_lab.views.twin_profiles import node_profiles as node_profiles
    from flip_lab.views.updates import update_figure as update_figure

_HOME = {
    "apply_theme": "flip_lab.views.theme",
    "client_distribution": "flip_lab.views.clients",
    "client_heatmap": "flip_lab.views.heatmap",
    "cohort_timeline": "flip_lab.views.timeline",
    "confidence_bands": "flip_lab.views.bands",
    "configuration_table": "flip_lab.views.configurations",
    "confusion_map": "flip_lab.views.confusion",
    "drift_figure": "flip_lab.views.drift",
    "effect_forest": "flip_lab.views.forest",
    "fairness_figure": "flip_lab.views.spread",
    "federation_timeline": "flip_lab.views.federation_timeline_lanes",
    "family_tree": "flip_lab.views.family",
    "fork_curves": "flip_lab.views.fork",
    "layer_heatmap": "flip_lab.views.layers",
    "fleet_figure": "flip_lab.views.fleet",
    "histogram_map": "flip_lab.views.histograms",
    "image_strip": "flip_lab.views.images",
    "leaderboard_figure": "flip_lab.views.ranking",
    "node_profiles": "flip_lab.views.twin_profiles",
    "partition_map": "flip_lab.views.partitions",
    "results_table": "flip_lab.views.results",
    "small_multiples": "flip_lab.views.panels",
    "span_timeline": "flip_lab.views.spans",
    "target_curves": "flip_lab.views.arrivals",
    "training_curves": "flip_lab.views.curves",
    "twin_messages": "flip_lab.views.twin_nodes",
    "twin_rounds": "flip_lab.views.twin_course",
    "update_figure": "flip_lab.views.updates",
    "what_if_figure": "flip_lab.views.twin_choices",
}

__all__ = [
    "apply_theme",
    "client_distribution",
    "client_heatmap",
    "cohort_timeline",
    "confidence_bands",
    "configuration_table",
    "confusion_map",
    "drift_figure",
    "effect_forest",
    "fairness_figure",
    "family_tree",
    "federation_timeline",
    "fleet_figure",
    "fork_curves",
    "histogram_map",
    "image_strip",
    "layer_heatmap",
    "leaderboard_figure",
    "node_profiles",
    "partition_map",
    "results_table",
    "small_multiples",
    "span_timeline",
    "target_curves",
    "training_curves",
    "twin_messages",
    "twin_rounds",
    "update_figure",
    "what_if_figure",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  # a function of any shape
    """Load a view from its module on first use.

    Raises:
        AttributeError: If there is no such view.
    """
    if name not in _HOME:
        raise AttributeError(f"module 'flip_lab.views' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """Offer the views to tab completion."""
    return list(__all__)
