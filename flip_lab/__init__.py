"""FLIP Lab: a Jupyter-native platform for federated-learning research.

Importing this package loads neither Flower, torch, Ray nor Jupyter: each name below is
looked up in its own module the first time it is used.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# Flower reads these while it is imported: nothing that we start phones home.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")

if TYPE_CHECKING:
    from flip_lab.analysis.fleet import Fleet as Fleet
    from flip_lab.client.opening import connect as connect
    from flip_lab.core.callback import Callback as Callback
    from flip_lab.core.errors import FlipLabError as FlipLabError
    from flip_lab.core.listening import log as log
    from flip_lab.core.logged import confusion_matrix as confusion_matrix
    from flip_lab.core.logged import histogram as histogram
    from flip_lab.core.logged import image as image
    from flip_lab.core.policy import RoundPolicy as RoundPolicy
    from flip_lab.core.scenario import Scenario as Scenario
    from flip_lab.core.stopping import StopRule as StopRule
    from flip_lab.fl.scenarios import load_scenario as load_scenario
    from flip_lab.fl.scenarios import scenario_names as scenario_names
    from flip_lab.runs.checkpoints import Checkpoints as Checkpoints
    from flip_lab.runs.inputs import App as App
    from flip_lab.runs.lab import Lab as Lab
    from flip_lab.runs.run import Run as Run
    from flip_lab.widgets.comparer import Comparer as Comparer
    from flip_lab.widgets.fleet import FleetView as FleetView
    from flip_lab.widgets.launcher import Launcher as Launcher
    from flip_lab.widgets.monitor import watch as watch
    from flip_lab.widgets.partitions import PartitionExplorer as PartitionExplorer

__version__ = "0.1.0"

_HOME = {
    "App": "flip_lab.runs.inputs",
    "Callback": "flip_lab.core.callback",
    "Checkpoints": "flip_lab.runs.checkpoints",
    "Comparer": "flip_lab.widgets.comparer",
    "Fleet": "flip_lab.analysis.fleet",
    "FleetView": "flip_lab.widgets.fleet",
    "FlipLabError": "flip_lab.core.errors",
    "Lab": "flip_lab.runs.lab",
    "Launcher": "flip_lab.widgets.launcher",
    "PartitionExplorer": "flip_lab.widgets.partitions",
    "RoundPolicy": "flip_lab.core.policy",
    "Run": "flip_lab.runs.run",
    "Scenario": "flip_lab.core.scenario",
    "StopRule": "flip_lab.core.stopping",
    "confusion_matrix": "flip_lab.core.logged",
    "connect": "flip_lab.client.opening",
    "histogram": "flip_lab.core.logged",
    "image": "flip_lab.core.logged",
    "load_scenario": "flip_lab.fl.scenarios",
    "log": "flip_lab.core.listening",
    "scenario_names": "flip_lab.fl.scenarios",
    "watch": "flip_lab.widgets.monitor",
}

__all__ = [
    "App",
    "Callback",
    "Checkpoints",
    "Comparer",
    "Fleet",
    "FleetView",
    "FlipLabError",
    "Lab",
    "Launcher",
    "PartitionExplorer",
    "RoundPolicy",
    "Run",
    "Scenario",
    "StopRule",
    "confusion_matrix",
    "connect",
    "histogram",
    "image",
    "load_scenario",
    "log",
    "scenario_names",
    "watch",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  # any public object of ours
    """Load a public name from its module on first use.

    Raises:
        AttributeError: If there is no such name.
    """
    if name not in _HOME:
        raise AttributeError(f"module 'flip_lab' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """Offer the public names to tab completion."""
    return [*__all__, "__version__"]
