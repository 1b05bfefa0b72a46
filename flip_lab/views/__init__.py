"""Views: pure functions from data frames to a plotly figure or a table.

``from flip_lab import views`` loads neither pandas nor plotly; ``views.training_curves(…)``
loads them on first use. Frames have the columns of the store's SQL tables.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flip_lab.views.clients import client_distribution as client_distribution
    from flip_lab.views.curves import training_curves as training_curves
    from flip_lab.views.partitions import partition_map as partition_map
    from flip_lab.views.results import results_table as results_table
    from flip_lab.views.theme import apply_theme as apply_theme
    from flip_lab.views.timeline import cohort_timeline as cohort_timeline

_HOME = {
    "apply_theme": "flip_lab.views.theme",
    "client_distribution": "flip_lab.views.clients",
    "cohort_timeline": "flip_lab.views.timeline",
    "partition_map": "flip_lab.views.partitions",
    "results_table": "flip_lab.views.results",
    "training_curves": "flip_lab.views.curves",
}

__all__ = [
    "apply_theme",
    "client_distribution",
    "cohort_timeline",
    "partition_map",
    "results_table",
    "training_curves",
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
