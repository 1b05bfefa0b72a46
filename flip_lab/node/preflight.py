"""``flip-lab node preflight``: everything that a run will need of this device, checked now.

Each check answers in its own words and says what to do; none of them changes anything
here. The hub learns only what a report tells it anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from flip_lab.core.errors import FlipLabError
from flip_lab.node.config import load_node
from flip_lab.node.identity import load_identity
from flip_lab.node.preflight_hub import check_hub
from flip_lab.node.preflight_limits import check_limits
from flip_lab.node.preflight_report import Check, Preflight, refused
from flip_lab.node.preflight_site import check_data, check_disk, check_imports, check_port


def check_node(directory: Path, *, app: Path | None = None) -> Preflight:
    """Check all that a run will need of a node.

    Args:
        directory: The node's.
        app: An app's directory: is all there that it imports?
    """
    return Preflight(checks=tuple(_checks(directory, app)))


def _checks(directory: Path, app: Path | None) -> Iterator[Check]:
    try:
        config = load_node(directory)
    except FlipLabError as error:  # without settings there is nothing to look at
        yield refused("settings", error)
        return
    yield Check(name="settings", verdict="good", found=f"{config.name} of {config.hub}")
    identity = None
    try:
        identity = load_identity(config.directory)
        found = f"{identity.fingerprint:.16}…"
        yield Check(name="key", verdict="good", found=found)
    except FlipLabError as error:
        yield refused("key", error)
    yield from check_hub(config, identity)
    yield check_limits(config)
    yield from check_imports(app)
    yield check_data(config)
    yield check_disk(config)
    yield from check_port(config)
