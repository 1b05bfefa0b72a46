"""Where a site's own data is, as Flower's node configuration carries it.

A node of FLIP Lab writes these from its ``node.toml``; to a stock ``flower-supernode`` the
same keys are given with ``--node-config``. Nothing of them leaves the site.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

NodeScalar: TypeAlias = bool | int | float | str
"""What Flower's node configuration may hold."""

_KIND = "data-kind"
_DIRECTORY = "data-directory"
_OPTION = "data-"


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Where a site's data is: a kind of reader, and what that reader needs to know.

    Attributes:
        kind: ``csv``, ``npz``, ``sql``, ``dicom``, or what an installed package adds under
            the entry point group ``flip_lab.site_data``.
        options: The reader's own settings; see ``flip_lab.fl.data.site``.
    """

    kind: str
    options: Mapping[str, object] = field(default_factory=dict[str, object])


def site_config(source: DataSource | None, directory: Path) -> dict[str, NodeScalar]:
    """Write a source as node configuration.

    Args:
        source: The data; ``None`` gives nothing.
        directory: What relative paths begin at.
    """
    if source is None:
        return {}
    written: dict[str, NodeScalar] = {_KIND: source.kind, _DIRECTORY: str(directory)}
    for key, value in source.options.items():
        is_single = isinstance(value, (bool, int, float, str))
        written[_OPTION + key] = value if is_single else json.dumps(value)
    return written


def source_in(node_config: Mapping[str, NodeScalar]) -> tuple[DataSource, Path] | None:
    """Read a source from node configuration.

    Returns:
        The source and what relative paths begin at; ``None`` when there is none.
    """
    if _KIND not in node_config:
        return None
    options = {
        key.removeprefix(_OPTION): value
        for key, value in node_config.items()
        if key.startswith(_OPTION) and key not in {_KIND, _DIRECTORY}
    }
    directory = Path(str(node_config.get(_DIRECTORY, ".")))
    return DataSource(kind=str(node_config[_KIND]), options=options), directory
