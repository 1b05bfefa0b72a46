"""What a node remembers of models: what it keeps, and which versions were live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from flip_lab.node.serving.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A version that a node keeps.

    Attributes:
        manifest: What the hub says of it.
        path: Its file.
        is_live: Whether it answers predictions.
    """

    manifest: Manifest
    path: Path
    is_live: bool


@dataclass(frozen=True, kw_only=True)
class ShelfState:
    """What a node remembers of deliveries.

    Attributes:
        last: Number of the last delivery that was dealt with; 0 if none was.
        produced: By model, the versions that were live, in order; the last one is.
    """

    last: int = 0
    produced: Mapping[str, tuple[int, ...]] = field(
        default_factory=dict[str, tuple[int, ...]]
    )

    def is_live(self, name: str, version: int) -> bool:
        """Say whether a version answers predictions."""
        return self.produced.get(name, ())[-1:] == (version,)

    def with_live(self, name: str, version: int) -> ShelfState:
        """Make a version the live one of its model."""
        before = tuple(n for n in self.produced.get(name, ()) if n != version)
        return replace(self, produced={**self.produced, name: (*before, version)})

    def without(self, name: str, version: int) -> ShelfState:
        """Forget a version; the one that was live before it is live again."""
        left = tuple(n for n in self.produced.get(name, ()) if n != version)
        others = {key: found for key, found in self.produced.items() if key != name}
        return replace(self, produced={**others, name: left} if left else others)
