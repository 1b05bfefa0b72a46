"""What a site says of its data, checked; each error names the key or the path."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from flip_lab.core.errors import FlipLabError, NodeDataError


@dataclass(frozen=True, kw_only=True)
class SiteOptions:
    """The options of a reader.

    Attributes:
        kind: The reader's name.
        values: What the site wrote under ``[data]``.
        directory: What relative paths begin at.
    """

    kind: str
    values: Mapping[str, object]
    directory: Path

    def text(self, key: str, default: str | None = None) -> str:
        """Give a text.

        Raises:
            NodeDataError: If it is missing and has no default.
        """
        value = self.values.get(key, default)
        if value is None:
            raise NodeDataError(
                f"Site data of the kind {self.kind!r} needs {key!r}.",
                fix=f'Write {key} = "…" under [data] in the node\'s node.toml.',
            )
        return str(value)

    def texts(self, key: str) -> list[str]:
        """Give a list of texts; empty when there is none."""
        value = self.values.get(key)
        if isinstance(value, str) and value.startswith("["):  # from a node configuration
            value = json.loads(value)
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return [str(part) for part in cast("list[object]", value or [])]

    def count(self, key: str, default: int) -> int:
        """Give a whole number of at least 0.

        Raises:
            NodeDataError: If it is something else.
        """
        value = self.values.get(key, default)
        if isinstance(value, int) and value >= 0:
            return value
        raise NodeDataError(
            f"Site data has {key} = {value!r}.", fix=f"Give {key} as a whole number."
        )

    def path(self, key: str) -> Path:
        """Give a path that must be there.

        Raises:
            NodeDataError: If nothing is.
        """
        path = self.directory / Path(self.text(key)).expanduser()
        if not path.exists():
            raise NodeDataError(
                f"The site's data is not there: {path}.",
                fix=f"Put it there, or correct {key} = … under [data] in node.toml.",
            )
        return path

    @contextmanager
    def readable(self, where: Path | str) -> Generator[None]:
        """Say where reading failed, and nothing of what was read.

        Raises:
            NodeDataError: If anything in the block raises.
            FlipLabError: If that is one of ours, which says it already.
        """
        try:
            yield
        except FlipLabError:
            raise
        except Exception as error:
            raise NodeDataError(
                f"The site's data in {where} cannot be read ({type(error).__name__}).",
                fix="Check that the node's user may read it and that it is of the kind "
                f"{self.kind!r}; the traceback is in the node's own log.",
            ) from error
