"""Checked reading of one table of a TOML file; each error says where and what to write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from flip_lab.core.errors import InvalidValueError, UnknownKeyError, nearest


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of a TOML file.

    Attributes:
        where: What to call it in errors, such as ``[limits] in /site/node.toml``.
        values: Its content, unchecked.
    """

    where: str
    values: Mapping[str, object]

    def table(self, key: str) -> Table:
        """Give a table inside; an empty one where there is none.

        Raises:
            InvalidValueError: If the key holds something else.
        """
        found = self.values.get(key, {})
        if not isinstance(found, dict):
            raise self._wrong(key, f"a [{key}] table")
        return Table(
            where=f"[{key}] in {self.where}", values=cast("dict[str, object]", found)
        )

    def only(self, *keys: str) -> None:
        """Check that it has no other keys than these.

        Raises:
            UnknownKeyError: If it has.
        """
        for key in self.values:
            if key not in keys:
                raise UnknownKeyError(f"{self.where} has {key!r}.", fix=nearest(key, keys))

    def text(self, key: str, default: str | None = None) -> str:
        """Give a text that is not empty.

        Raises:
            InvalidValueError: If it is something else, or missing without a default.
        """
        value = self.values.get(key, default)
        if isinstance(value, str) and value:
            return value
        raise self._wrong(key, "text in quotes")

    def texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Give a list of texts.

        Raises:
            InvalidValueError: If it is something else.
        """
        value = self.values.get(key, list(default))
        if isinstance(value, list):
            items = cast("list[object]", value)
            texts = tuple(item for item in items if isinstance(item, str))
            if len(texts) == len(items):
                return texts
        raise self._wrong(key, "a list of texts in quotes")

    def count(
        self, key: str, default: int, *, lowest: int = 0, highest: int = 2**31
    ) -> int:
        """Give a whole number within bounds.

        Raises:
            InvalidValueError: If it is something else.
        """
        value = self.values.get(key, default)
        if isinstance(value, int) and value is not True and lowest <= value <= highest:
            return value
        raise self._wrong(key, f"a whole number from {lowest} to {highest}")

    def seconds(self, key: str, default: float) -> float:
        """Give a positive number of seconds.

        Raises:
            InvalidValueError: If it is something else.
        """
        value = self.values.get(key, default)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            return float(value)
        raise self._wrong(key, "a number of seconds greater than 0")

    def _wrong(self, key: str, wanted: str) -> InvalidValueError:
        value = self.values.get(key)
        said = "lacks" if key not in self.values else "has"
        shown = f"{key!r}" if key not in self.values else f"{key} = {value!r}"
        return InvalidValueError(
            f"{self.where} {said} {shown}.", fix=f"Give {key} {wanted}."
        )
