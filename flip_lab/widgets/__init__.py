"""What runs look like: in a notebook, a terminal or an exported page; one, or many.

Nothing heavy is loaded before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flip_lab.widgets.comparer import Comparer as Comparer
    from flip_lab.widgets.fleet import FleetView as FleetView
    from flip_lab.widgets.launcher import Launcher as Launcher
    from flip_lab.widgets.monitor import RunMonitor as RunMonitor
    from flip_lab.widgets.monitor import watch as watch
    from flip_lab.widgets.partitions import PartitionExplorer as PartitionExplorer

_HOME = {
    "Comparer": "comparer",
    "FleetView": "fleet",
    "Launcher": "launcher",
    "PartitionExplorer": "partitions",
    "RunMonitor": "monitor",
    "watch": "monitor",
}

__all__ = ["Comparer", "FleetView", "Launcher", "PartitionExplorer", "RunMonitor", "watch"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  # a function or class of any shape
    """Load a name from its module on first use.

    Raises:
        AttributeError: If there is no such name.
    """
    if name not in _HOME:
        raise AttributeError(f"module 'flip_lab.widgets' has no attribute {name!r}")
    return getattr(import_module(f"flip_lab.widgets.{_HOME[name]}"), name)
