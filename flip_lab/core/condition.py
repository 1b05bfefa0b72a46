"""Conditions to stop or to break on: one comparison as text, met by a round's numbers.

``"train_loss is nan"``, ``"eval_accuracy >= 0.9"``, ``"client drift > 2"``,
``"failures >= 2"``, ``"always"``: a subject, an operator, a number. Several conditions each
count on their own; what no comparison can say, a Python function can.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import eq, ge, gt, le, lt, ne

from flip_lab.core.errors import ConditionError, nearest
from flip_lab.core.round_numbers import (
    UPDATE_NUMBERS,
    ClientNumbers,
    RoundNumbers,
    named_clients,
)

_ALWAYS, _FAILURES, _ANY_LOSS = "always", "failures", "loss"
_IS_NAN, _IS_NOT_FINITE = "is nan", "is not finite"
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
    "==": eq,
    "!=": ne,
}
_SPELLINGS = {"≤": "<=", "≥": ">=", "≠": "!="}
_CONDITION = re.compile(
    r"\s*(?P<client>client\s+)?(?P<subject>[^\s<>=!≤≥≠]+)"
    r"(?:\s*(?P<operator>[<>=!≤≥≠]+|\bis(?:\s+[a-z]+)+)\s*(?P<number>\S*))?\s*",
    re.IGNORECASE,
)
_EXAMPLES = "Write it like 'train_loss > 3', 'loss is nan' or 'client drift > 2'."


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """That a condition was met, and by what.

    Attributes:
        because: In words, such as ``client update_norm 41.2 > 3: partition 7, round 4``.
        clients: The clients that meet it, the farthest off first; empty when no client
            does, or the condition is about none.
        id: The command that set the condition; empty where nobody named one.
    """

    because: str
    clients: Sequence[ClientNumbers] = ()
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One comparison; ``str`` gives the text that ``parse`` reads.

    Attributes:
        subject: The name of a metric; ``loss`` stands for every metric that ends in it;
            ``failures``; or ``always``.
        of_clients: Whether it is the number of each client, not of the federation.
        operator: ``<``, ``<=``, ``>``, ``>=``, ``==``, ``!=``, ``is nan``, ``is not
            finite``; empty for ``always``.
        number: What is compared with; ``None`` where the operator needs none.
    """

    subject: str
    of_clients: bool = False
    operator: str = ""
    number: float | None = None

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition.

        Raises:
            ConditionError: If it is no comparison; says how to write one.
        """
        found = _CONDITION.fullmatch(text)
        if found is None:
            raise ConditionError(f"The condition {text!r} is no comparison.", fix=_EXAMPLES)
        subject, written = found["subject"], found["operator"]
        if written is None and subject == _ALWAYS and not found["client"]:
            return cls(subject=_ALWAYS)
        if written is None:
            raise ConditionError(
                f"The condition {text!r} compares {subject!r} with nothing.", fix=_EXAMPLES
            )
        if subject.lower() == "client":
            raise ConditionError(
                f"The condition {text!r} does not say which number of a client.",
                fix="Name it: 'client update_norm > 3', 'client train_loss is nan'.",
            )
        operator = _operator(written, text)
        number = _number(found["number"], operator, text)
        client = found["client"] is not None
        return cls(subject=subject, of_clients=client, operator=operator, number=number)

    def __str__(self) -> str:
        """Write the condition as it can be read again."""
        client = "client " if self.of_clients else ""
        return " ".join(filter(None, (client + self.subject, self._asked)))

    @property
    def _asked(self) -> str:
        number = "" if self.number is None else _written(self.number)
        return f"{self.operator} {number}".rstrip()

    @property
    def needs_updates(self) -> bool:
        """Whether the arrays of the replies must be looked at to tell."""
        return self.of_clients and self.subject in UPDATE_NUMBERS

    def meets(self, facts: RoundNumbers) -> Met | None:
        """Say whether a round meets the condition, and what of it does.

        A number that is not there meets nothing. NaN is neither smaller nor larger than
        any number nor equal to it, as everywhere: only ``is nan``, ``is not finite`` and
        ``!=`` are met by it.
        """
        if self.subject == _ALWAYS and not self.operator:
            return Met(because=f"always: round {facts.server_round}")
        if self.of_clients:
            return self._met_by_clients(facts)
        known = {_FAILURES: float(facts.failures)} if self.subject == _FAILURES else {}
        for name, value in self._about({**facts.metrics, **known}).items():
            if self._holds(value):
                who = [each for each, _ in self._clients_that_meet(facts, name)]
                return Met(because=self._told(name, value, who, facts), clients=who)
        return None

    def _met_by_clients(self, facts: RoundNumbers) -> Met | None:
        names = dict.fromkeys(
            name for each in facts.clients for name in self._about(each.numbers)
        )
        for name in names:
            if found := self._clients_that_meet(facts, name):
                who = [each for each, _ in found]
                told = self._told(f"client {name}", found[0][1], who, facts)
                return Met(because=told, clients=who)
        return None

    def _clients_that_meet(
        self, facts: RoundNumbers, name: str
    ) -> list[tuple[ClientNumbers, float]]:
        """Find the clients whose own number meets the condition, the farthest off first."""
        found = [
            (each, value)
            for each in facts.clients
            if (value := each.numbers.get(name)) is not None and self._holds(value)
        ]
        if self.operator in {">", ">="}:
            found.sort(key=lambda pair: -pair[1])
        elif self.operator in {"<", "<="}:
            found.sort(key=lambda pair: pair[1])
        return found

    def _about(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Pick the numbers that the subject means."""
        if self.subject == _ANY_LOSS:
            return {name: each for name, each in numbers.items() if name.endswith("loss")}
        return {self.subject: numbers[self.subject]} if self.subject in numbers else {}

    def _holds(self, value: float) -> bool:
        if self.number is None:
            return (
                math.isnan(value) if self.operator == _IS_NAN else not math.isfinite(value)
            )
        return _COMPARISONS[self.operator](value, self.number)

    def _told(
        self, name: str, value: float, who: Sequence[ClientNumbers], facts: RoundNumbers
    ) -> str:
        is_infinite = self.operator == _IS_NOT_FINITE
        shown = "" if self.number is None and not is_infinite else f" {value:.4g}"
        where = [*named_clients(who), f"round {facts.server_round}"]
        return f"{name}{shown} {self._asked}: {', '.join(where)}"


def _operator(written: str, text: str) -> str:
    words = " ".join(written.lower().split())
    operator = _SPELLINGS.get(words, words)
    known = (*_COMPARISONS, _IS_NAN, _IS_NOT_FINITE)
    if operator not in known:
        raise ConditionError(
            f"The condition {text!r} has no operator that is known: {words!r}.",
            fix=nearest(operator, known),
        )
    return operator


def _number(written: str, operator: str, text: str) -> float | None:
    if operator not in _COMPARISONS:
        if not written:
            return None
        raise ConditionError(
            f"The condition {text!r} goes on after {operator!r}: {written!r}.",
            fix=_EXAMPLES,
        )
    try:
        number = float(written)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise ConditionError(
            f"The condition {text!r} compares with {written!r}, which is no number.",
            fix="Write a number after the operator, such as 3, 0.5 or 1e-3; "
            "for NaN write 'is nan' or 'is not finite'.",
        )
    return number


def _written(number: float) -> str:
    """Write a number so that the same one is read: ``3``, not ``3.0``."""
    return repr(number).removesuffix(".0")
