"""How long a round waits, for how many, and whom it asks besides: the policy of a run.

Sources:
    Deadline, goal count, minimum and over-selection: K. Bonawitz et al., "Towards Federated
    Learning at Scale: System Design", MLSys 2019, section 2.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from flip_lab.core.errors import InvalidValueError, UnknownKeyError, nearest

LATE = 100
"""Error code of a client whose reply came after its round had closed, or never."""

NEVER_CAME = "Late: no reply ever came"
"""What the error of such a client begins with, if none came as long as the run went on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundPolicy:
    """When a round closes, and what becomes of those who are not back by then.

    A round of training or evaluation closes when everybody asked has replied, when as many
    replied well as the strategy asked for (with over-selection), or at the deadline. A
    policy that never bites changes no bit of the results.

    Attributes:
        deadline_s: Seconds, above 0, that a round waits for replies; time in a pause does
            not count. ``None``: as long as the strategy does.
        quorum: How many good replies a round needs when it closes, else the run fails: a
            share of the cohort (a float above 0, up to 1.0), or a number of nodes (an int,
            1 or more). ``None``: one.
        over_selection: How many more nodes are asked to train than the strategy asks for,
            as a share of its cohort, 0 to 10; the first replies count.
        late: What becomes of replies that come after the close. ``"drop"``: they are on
            record as late, and are aggregated nowhere.

    Raises:
        InvalidValueError: If a value is out of its range.
    """

    deadline_s: float | None = None
    quorum: float | None = None
    over_selection: float = 0.0
    late: Literal["drop"] = "drop"

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.deadline_s is not None:
            _require(
                _is_number(self.deadline_s) and 0 < self.deadline_s < math.inf,
                f"The deadline of a round is {self.deadline_s!r}.",
                "Give seconds above 0, or None to wait as long as the strategy does.",
            )
        if self.quorum is not None:
            is_share = isinstance(self.quorum, float) and 0 < self.quorum <= 1
            _require(
                is_share or (_is_count(self.quorum) and self.quorum >= 1),
                f"The quorum of a round is {self.quorum!r}.",
                "Give a share as a float above 0 and up to 1.0, or a number of nodes as "
                "an int.",
            )
        _require(
            _is_number(self.over_selection) and 0 <= self.over_selection <= _MOST_MORE,
            f"The over-selection is {self.over_selection!r}.",
            "Give a share from 0 to 10: 0.3 asks 30 % more nodes than are needed.",
        )
        _require(
            self.late == "drop",
            f"Late replies cannot be {self.late!r}.",
            "Only 'drop' is known: late replies are on record, and do not count.",
        )

    def num_needed(self, num_asked: int) -> int:
        """Say how many good replies make a round count.

        Args:
            num_asked: Nodes that the strategy asked for, 1 or more.

        Returns:
            At least 1; never more than were asked for, if it is a share.
        """
        if self.quorum is None:
            return 1
        if isinstance(self.quorum, int):
            return self.quorum
        # 0.7 of 10 nodes are 7: floats say 7.000000000000001 of some such products.
        return max(1, math.ceil(self.quorum * num_asked - _ROUNDING))

    def num_more(self, num_asked: int) -> int:
        """Say how many nodes are asked besides those that the strategy asks for."""
        return math.ceil(self.over_selection * num_asked - _ROUNDING)

    def changed(self, changes: Mapping[str, Any]) -> RoundPolicy:
        """Give this policy with other values of some names.

        Raises:
            UnknownKeyError: If a name is none of a policy's.
            InvalidValueError: If a value is out of its range.
        """
        return RoundPolicy.from_json({**self.to_json(), **changes})

    def words(self) -> str:
        """Say what it asks for, such as ``deadline_s=20.0, quorum=0.8``."""
        usual = RoundPolicy().to_json()
        told = {name: v for name, v in self.to_json().items() if v != usual[name]}
        return ", ".join(f"{name}={value!r}" for name, value in told.items()) or (
            "wait for every reply"
        )

    def to_json(self) -> dict[str, Any]:
        """Give the policy as plain data, fit for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RoundPolicy:
        """Read a policy.

        Raises:
            UnknownKeyError: If it says something that no policy has.
            InvalidValueError: If a value is out of its range.
        """
        known = [field.name for field in fields(cls)]
        for name in data:
            if name not in known:
                raise UnknownKeyError(
                    f"A round's policy has no {name!r}.", fix=nearest(name, known)
                )
        return cls(**data)


def policy_changes(
    policy: RoundPolicy | None, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Give what a new policy changes: all of it, with more changes over it.

    Args:
        policy: The policy, whole; ``None`` keeps what is not named.
        changes: Values by name.

    Raises:
        UnknownKeyError: If a name is none of a policy's.
        InvalidValueError: If a value is out of its range.
    """
    RoundPolicy().changed(changes)
    return {**({} if policy is None else policy.to_json()), **changes}


def policy_value(name: str, text: str) -> float | str | None:
    """Read a value of a policy as a person writes it.

    Args:
        name: Which, such as ``quorum``.
        text: A number; one without a decimal point is a number of nodes where that makes a
            difference. Nothing, or ``none``: no limit.

    Raises:
        InvalidValueError: If it is none of these.
    """
    plain = text.strip()
    if plain.lower() in {"", "none"}:
        return RoundPolicy().to_json().get(name)
    if name == "late":
        return plain
    try:
        return int(plain) if plain.isdecimal() else float(plain)
    except ValueError:
        raise InvalidValueError(
            f"{text!r} is no {name} of a round's policy.",
            fix="Give a number, such as 0.8, or none.",
        ) from None


_MOST_MORE = 10
_ROUNDING = 1e-9


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _require(is_so: bool, what: str, fix: str) -> None:  # noqa: FBT001  # a check's outcome
    """Refuse a value.

    Raises:
        InvalidValueError: If it is not so.
    """
    if not is_so:
        raise InvalidValueError(what, fix=fix)
