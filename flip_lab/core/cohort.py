"""Which nodes take part, in a few words: ``eu and not slow``, ``name:north-*``, ``0-3, 7``.

The grammar, loosest first; upper and lower case of the three words are one::

    choice = either {"," either}
    either = both {"or" both}
    both   = one {"and" one}
    one    = "not" one | "(" choice ")" | word
    word   = tag or name | "name:" pattern | "tag:" pattern | number ["-" number]

A pattern has ``*``, ``?`` and ``[…]`` as file names do. Numbers are partitions, 0-based.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TypeAlias

from flip_lab.core.errors import CohortError

_TOKEN = re.compile(r"\s*([(),]|[^\s(),]+)")
_NUMBERS = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
_WORDS = frozenset({"and", "or", "not"})
_MOST_CHARACTERS = 1000
_DEEPEST = 50

_EXAMPLES = "Write it as 'eu and not slow', 'name:north-*', or '0-3, 7' for partitions."


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What a choice looks at.

    Attributes:
        name: The node's name; empty in a simulation.
        tags: Its tags.
        partition_id: The partition that it holds, 0-based; -1 when unknown.
    """

    name: str = ""
    tags: frozenset[str] = frozenset()
    partition_id: int = -1


_Fits: TypeAlias = Callable[[NodeFacts], bool]


@dataclass(frozen=True, slots=True)
class NodeChoice:
    """A choice of nodes that was understood.

    Attributes:
        text: What the user wrote.
        words: The names, tags and patterns in it: they need a hub that knows nodes by name.
        has_partitions: Whether it names partitions.
    """

    text: str
    words: tuple[str, ...]
    has_partitions: bool
    _fits: _Fits = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> NodeChoice:
        """Understand a choice.

        Raises:
            CohortError: If it is none; the message shows where it goes wrong.
        """
        if not isinstance(text, str) or not text.strip() or len(text) > _MOST_CHARACTERS:  # pyright: ignore[reportUnnecessaryIsInstance]  # users err
            raise CohortError(f"{text!r:.200} is no choice of nodes.", fix=_EXAMPLES)
        reading = _Reading(text)
        fits = reading.whole()
        return cls(text, tuple(reading.words), reading.has_partitions, fits)

    def fits(self, node: NodeFacts) -> bool:
        """Say whether a node takes part."""
        return self._fits(node)


class _Reading:
    """Reads one choice, from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [*_TOKEN.finditer(text)]
        self._place = 0
        self._depth = 0
        self.words: list[str] = []
        self.has_partitions = False

    def whole(self) -> _Fits:
        fits = self._choice()
        if self._next() is not None:
            raise self._wrong("an 'and', an 'or' or a comma")
        return fits

    def _choice(self) -> _Fits:
        return self._any_of(self._either, ",")

    def _either(self) -> _Fits:
        return self._any_of(self._both, "or")

    def _any_of(self, part: Callable[[], _Fits], between: str) -> _Fits:
        parts = [part()]
        while self._next() == between:
            self._place += 1
            parts.append(part())
        return parts[0] if len(parts) == 1 else lambda node: any(p(node) for p in parts)

    def _both(self) -> _Fits:
        parts = [self._one()]
        while self._next() == "and":
            self._place += 1
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda node: all(p(node) for p in parts)

    def _one(self) -> _Fits:
        read = self._next()
        if read is None or read in {"and", "or", ",", ")"}:
            raise self._wrong("a tag, a name or a number")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong("fewer brackets")
        fits = self._inner(read)
        self._depth -= 1
        return fits

    def _inner(self, read: str) -> _Fits:
        word = self._tokens[self._place][1]
        self._place += 1
        if read == "not":
            negated = self._one()
            return lambda node: not negated(node)
        if read != "(":
            return self._word(word)
        fits = self._choice()
        if self._next() != ")":
            raise self._wrong("a closing bracket")
        self._place += 1
        return fits

    def _word(self, word: str) -> _Fits:
        numbers = _NUMBERS.fullmatch(word)
        if numbers is not None:
            self.has_partitions = True
            first = int(numbers[1])
            several = range(first, int(numbers[2] or first) + 1)
            return lambda node: node.partition_id in several
        self.words.append(word)
        kind, colon, pattern = word.partition(":")
        if colon and kind == "name":
            return lambda node: fnmatchcase(node.name, pattern)
        if colon and kind == "tag":
            return lambda node: any(fnmatchcase(tag, pattern) for tag in node.tags)
        return lambda node: word in node.tags or word == node.name

    def _next(self) -> str | None:
        if self._place == len(self._tokens):
            return None
        word = self._tokens[self._place][1]
        return word.lower() if word.lower() in _WORDS else word

    def _wrong(self, wanted: str) -> CohortError:
        at = "its end"
        if self._place < len(self._tokens):
            match = self._tokens[self._place]
            at = f"{match[1]!r} (character {match.start(1) + 1})"
        return CohortError(
            f"The choice of nodes {self._text!r} needs {wanted} at {at}.", fix=_EXAMPLES
        )
