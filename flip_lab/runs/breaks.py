"""The conditions that a run breaks on: comparisons, and functions of the user's own."""

from __future__ import annotations

import base64
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, TypeAlias

from flwr.app import ArrayRecord, Message

from flip_lab.core.condition import Condition, Met
from flip_lab.core.errors import ConditionError
from flip_lab.core.events import EventKind, Json
from flip_lab.core.ports import Emit
from flip_lab.runs.live_replies import LiveReplies
from flip_lab.runs.round_replies import RoundReplies

Asked: TypeAlias = Callable[[RoundReplies], object]
"""A user's function; what it returns says whether to break, and as text also why."""

_LONGEST_TEXT = 200


class Breaks:
    """Looks at each round's replies before they are aggregated.

    A function that raises is cleared with a WARNING on record: a mistake in a condition
    must not cost a run.

    Args:
        emit: Where warnings go.
    """

    def __init__(self, emit: Emit) -> None:
        """Break on nothing yet."""
        self._emit = emit
        self._conditions: dict[str, Condition | Asked] = {}
        self._broken: dict[str, str] = {}

    def add(self, key: str, condition: Condition | Asked) -> None:
        """Break on a condition from now on.

        Args:
            key: Names it, to be cleared; one of the same key is replaced.
            condition: A comparison, or a function.
        """
        self._conditions[key] = condition

    def add_pickled(self, key: str, function: str) -> None:
        """Break on a function that has travelled: cloudpickle's bytes as base64.

        One that cannot be read is on record as a WARNING when the next round is looked at.
        """
        cloudpickle: Any = import_module("cloudpickle")
        try:
            self._conditions[key] = cloudpickle.loads(base64.b64decode(function))
        except Exception as error:  # noqa: BLE001  # a pickle may raise anything
            self._broken[key] = f"cannot be read: {error!r}"

    def clear(self, key: str) -> None:
        """Break on a condition no more; one that is not there is no error."""
        self._conditions.pop(key, None)
        self._broken.pop(key, None)

    def look(  # noqa: PLR0913, PLR0917  # what a round consists of
        self,
        server_round: int,
        replies: Sequence[Message],
        sent: ArrayRecord | None,
        metrics: Mapping[str, float],
        partition_of: Callable[[int], int],
        durations_s: Mapping[int, float] | None = None,
        num_silent: int = 0,
    ) -> Met | None:
        """Say which condition a round's replies meet, the oldest first.

        Arrays are looked at only if a condition asks for them.

        Args:
            server_round: The round.
            replies: The replies, also those with an error.
            sent: The arrays that all clients were sent; ``None`` when there were none.
            metrics: Metrics of the federation that are known already. To them come the
                means of what the replies report, as FedAvg would make them.
            partition_of: Gives the partition of a node; -1 when unknown.
            durations_s: Seconds that clients took, by partition.
            num_silent: Clients of the cohort that never replied.
        """
        self._report_broken(server_round)
        if not self._conditions:
            return None
        live = LiveReplies(
            server_round,
            replies,
            sent,
            partition_of=partition_of,
            metrics=metrics,
            durations_s=durations_s,
            num_silent=num_silent,
        )
        for key, condition in list(self._conditions.items()):
            if isinstance(condition, Condition):
                met = condition.meets(
                    live.numbers_for(with_updates=condition.needs_updates)
                )
            else:
                met = self._ask(key, condition, live)
            if met is not None:
                return replace(met, id=key)
        return None

    def _ask(self, key: str, function: Asked, live: LiveReplies) -> Met | None:
        name = getattr(function, "__name__", type(function).__name__)
        name = "the function" if name == "<lambda>" else str(name)
        try:
            answer = function(live)
            is_met = bool(answer)
        except Exception:  # noqa: BLE001  # the user's own code
            self._broken[key] = f"({name}) raised\n{traceback.format_exc(limit=-3)}"
            del self._conditions[key]
            self._report_broken(live.server_round)
            return None
        if not is_met:
            return None
        said = answer[:_LONGEST_TEXT] if isinstance(answer, str) else f"{name} says so"
        return Met(because=f"{said}: round {live.server_round}")

    def _report_broken(self, server_round: int) -> None:
        for key, what in self._broken.items():
            body: dict[str, Json] = {
                "code": ConditionError.code,
                "message": f"A function to break on is cleared: it {what}",
                "id": key,
            }
            self._emit(EventKind.WARNING, body, server_round=server_round)
        self._broken.clear()
