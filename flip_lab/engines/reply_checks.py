"""What a reply of a real node must be, before a strategy sees it.

In a simulation clients are our own; on devices a reply may come from anybody who holds a
node's key. One array of another shape ends a run in Flower's averaging, one NaN spoils the
model for everybody, and a weight below zero turns training round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from flwr.app import Array, ArrayRecord, Message
from numpy.typing import NDArray

from flip_lab.core.errors import ReplyRefusedError
from flip_lab.engines.flower.arrays import backing
from flip_lab.engines.flower.incoming import FORGED, is_numpy
from flip_lab.engines.flower.messages import WEIGHT_KEYS, payload_bytes, phase_of

MOST_EXAMPLES = 10**12
_BLOCK = 2**20  # elements looked at in one go
_LEAST_LIMIT_BYTES = 256 * 2**20
_SHARE = 4  # times the bytes that were sent: strategies have clients send variates, too
_FLOATS = "fc"

_Kinds: TypeAlias = Mapping[str, tuple[str, tuple[int, ...], str]]


@dataclass(frozen=True, kw_only=True)
class ReplyRules:
    """What replies of a run must be.

    Attributes:
        same_arrays: Whether a training reply holds the very arrays that were sent, as
            those of scenarios do. Else only arrays with the same set of names are held
            against those that were sent.
        accept_non_finite: Whether NaN and infinite values may come.
    """

    same_arrays: bool = False
    accept_non_finite: bool = False


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What the reply to one message must be.

    Attributes:
        rules: Those of the run.
        phase: ``"train"``, ``"evaluate"`` or ``"query"``.
        sent: Dtype, shape and form of each array that went out, for each record.
        limit_bytes: The largest reply to take.
    """

    rules: ReplyRules
    phase: str
    sent: tuple[_Kinds, ...] = field(default=())
    limit_bytes: int = _LEAST_LIMIT_BYTES

    @classmethod
    def of(cls, message: Message, rules: ReplyRules) -> Expectation:
        """Look at a message that is about to be sent."""
        return cls(
            rules=rules,
            phase=phase_of(message),
            sent=tuple(_kinds(record) for record in message.content.array_records.values()),
            limit_bytes=_LEAST_LIMIT_BYTES + _SHARE * payload_bytes(message),
        )

    def check(self, reply: Message) -> None:
        """Look at a reply that can be read.

        Raises:
            ReplyRefusedError: If no honest client sends such a one.
        """
        if reply.has_error():
            return
        records = reply.content.array_records
        if self.phase == "train":
            self._check_kinds([_kinds(record) for record in records.values()])
        if not self.rules.accept_non_finite:
            for record in records.values():
                for name, array in record.items():
                    _check_finite(name, array)
        for metrics in reply.content.metric_records.values():
            for name in WEIGHT_KEYS:
                _check_weight(name, metrics.get(name, 0))

    def _check_kinds(self, replied: list[_Kinds]) -> None:
        """Hold arrays against those that were sent.

        Raises:
            ReplyRefusedError: If names are missing, or a shape or dtype is another one.
        """
        if self.rules.same_arrays and len(replied) != len(self.sent):
            what = f"it has {len(replied)} records of arrays, not {len(self.sent)}"
            raise ReplyRefusedError(what, fix=FORGED)
        for kinds in replied:
            alike = [sent for sent in self.sent if sent.keys() == kinds.keys()]
            if self.rules.same_arrays and not alike:
                raise ReplyRefusedError(_other_names(kinds, self.sent), fix=FORGED)
            if alike and kinds not in alike:
                raise ReplyRefusedError(_other_kind(kinds, alike[0]), fix=FORGED)


def _kinds(record: ArrayRecord) -> _Kinds:
    return {
        name: (array.dtype, tuple(array.shape), array.stype)
        for name, array in record.items()
    }


def _other_names(kinds: _Kinds, sent: tuple[_Kinds, ...]) -> str:
    wanted = {name for each in sent for name in each}
    missing, more = sorted(wanted - kinds.keys()), sorted(kinds.keys() - wanted)
    told = [f"lacks {missing[0]!r}"] if missing else []
    told += [f"has an array {more[0]!r} that nobody sent"] if more else []
    return "it " + " and ".join(told or ["has arrays of several records in one"])


def _other_kind(kinds: _Kinds, sent: _Kinds) -> str:
    name = next(name for name in sent if kinds[name] != sent[name])
    (dtype, shape, stype), (other, other_shape, other_stype) = sent[name], kinds[name]
    how = "" if stype == other_stype else f" written as {other_stype!r}"
    return f"{name!r} is {other}{list(other_shape)}{how}, and {dtype}{list(shape)} was sent"


def _check_finite(name: str, array: Array) -> None:
    """See that there is no NaN and no infinite value in an array of floats.

    Raises:
        ReplyRefusedError: If there is one.
    """
    if not is_numpy(array):
        return
    values: NDArray[Any] = backing(array)
    if values.dtype.kind not in _FLOATS:
        return
    flat = values.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        if not np.isfinite(flat[start : start + _BLOCK]).all():
            raise ReplyRefusedError(
                f"{name!r} has NaN or infinite values",
                fix="Let clients train with a smaller learning rate, or clip gradients; "
                "accept-non-finite = true in flip-lab.toml lets such replies through.",
            )


def _check_weight(name: str, value: object) -> None:
    """See that a weight can be a number of examples.

    Raises:
        ReplyRefusedError: If not.
    """
    # NaN is in no range.
    if not isinstance(value, int | float) or not 0 <= value <= MOST_EXAMPLES:
        raise ReplyRefusedError(f"{name} is {value!r}, and counts examples", fix=FORGED)
