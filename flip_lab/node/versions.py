"""Which versions a node and its hub run, and whether they understand each other."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import flip_lab
from flip_lab.core.errors import VersionMismatchError


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What runs here.

    Attributes:
        flip_lab: FLIP Lab.
        flower: Flower.
        python: Python.
    """

    flip_lab: str
    flower: str
    python: str


def versions_here() -> Versions:
    """Say what runs here; imports none of it."""
    try:
        flower = version("flwr")
    except PackageNotFoundError:
        flower = "none"
    return Versions(
        flip_lab=flip_lab.__version__, flower=flower, python=platform.python_version()
    )


def see_that_versions_agree(node: str, hub: str) -> None:
    """See that a node's Flower understands its hub's: the first two numbers count.

    Args:
        node: The node's version of Flower, such as ``"1.41.0"``.
        hub: The hub's.

    Raises:
        VersionMismatchError: If it does not: what they send changes from one to the next.
    """
    if node.split(".")[:2] != hub.split(".")[:2]:
        raise VersionMismatchError(
            f"The node has Flower {node:.20}, its hub {hub:.20}.",
            fix="Install the same on both: pip install "
            f'"flwr=={".".join(hub.split(".")[:2])}.*" on the node.',
        )
