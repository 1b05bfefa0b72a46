"""The formats by name: which extra each needs, and which one a path looks like."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from flip_lab.core.errors import ForeignFormatError, nearest
from flip_lab.exchange import sealed

FLIP = "flip"
"""Another lab."""

TRACKERS = frozenset({"mlflow", "tensorboard", "wandb"})
"""Formats of other tools, which hold curves and settings but not every fact."""

SEALED = frozenset({"parquet", "ro-crate"})
"""Directories that FLIP Lab writes and seals."""

EXTRAS: Mapping[str, str] = MappingProxyType(
    {
        FLIP: "lab",
        "mlflow": "mlflow",
        "parquet": "lab",
        "ro-crate": "crate",
        "tensorboard": "tensorboard",
        "wandb": "wandb",
    }
)
"""The extra that brings what each format needs."""


def known(name: str) -> str:
    """Check a format's name.

    Raises:
        ForeignFormatError: If there is no such format; the message names the nearest.
    """
    if name not in EXTRAS:
        raise ForeignFormatError(
            f"There is no format {name!r}.", fix=nearest(str(name), EXTRAS)
        )
    return name


def guess(path: Path) -> str:
    """Say which format a path looks like.

    Raises:
        ForeignFormatError: If it looks like none.
    """
    if (path / "lab.json").is_file():
        return FLIP
    if (path / sealed.FILE).is_file():
        return _made_as(path / sealed.FILE)
    if path.suffix == ".db" or (path / "mlflow.db").is_file():
        return "mlflow"
    if path.suffix == ".wandb" or any(path.rglob("run-*.wandb")):
        return "wandb"
    if "tfevents" in path.name or any(path.rglob("*tfevents*")):
        return "tensorboard"
    if any(path.glob("*/meta.yaml")):
        return "mlflow"
    raise ForeignFormatError(
        f"{path} looks like none of the formats that can be imported."
        if path.exists()
        else f"{path} does not exist.",
        fix=f"Check the path, or name the format: {', '.join(sorted(EXTRAS))}.",
    )


def _made_as(path: Path) -> str:
    try:
        return known(str(json.loads(path.read_bytes())["made_as"]))
    except (OSError, ValueError, KeyError, TypeError):
        return "parquet"  # its reader says what is wrong with the manifest
