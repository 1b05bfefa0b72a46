"""The engines by name; plug-ins add theirs with the entry-point group below."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from flip_lab.core.registry import Registry
from flip_lab.engines.base import Engine

ENGINES: Registry[Callable[[], Engine]] = Registry("engine", "flip_lab.engines")


def _lazily(module: str, name: str) -> Callable[[], Engine]:
    """Import an engine when a run opens it: a kernel that only reads needs none."""
    return lambda: cast("Engine", getattr(import_module(module), name)())


ENGINES.add("auto")(_lazily("flip_lab.engines.auto", "AutoEngine"))
ENGINES.add("in_process")(_lazily("flip_lab.engines.in_process", "InProcessEngine"))
ENGINES.add("processes")(_lazily("flip_lab.engines.processes", "ProcessesEngine"))
ENGINES.add("vectorised")(_lazily("flip_lab.engines.processes", "VectorisedEngine"))
ENGINES.add("ray")(_lazily("flip_lab.engines.ray", "RayEngine"))
