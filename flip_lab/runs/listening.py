"""Puts on record what an app's code logs, in the run process and in its clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isnan

from flip_lab.core.errors import LogError, StoreError
from flip_lab.core.events import ClientFact, EventKind, Json
from flip_lab.core.logged import TYPES, Image, Logged, numbers_in
from flip_lab.core.ports import ArtifactStore
from flip_lab.engines.base import Reply
from flip_lab.runs.recorder import Recorder


class RunListener:
    """Hears the server's code, and is handed what clients logged beside their replies.

    Args:
        recorder: The run's only writer.
        blobs: Where images are kept.
        note: Is told the server's numbers of the round under way.
        is_known: Whether what is logged before the first round is on record already: the
            run was taken up from a checkpoint, and its ServerApp runs again.
    """

    def __init__(
        self,
        recorder: Recorder,
        blobs: ArtifactStore,
        *,
        note: Callable[[Mapping[str, float]], None],
        is_known: bool = False,
    ) -> None:
        """Hear nothing yet."""
        self._recorder = recorder
        self._blobs = blobs
        self._note = note
        self._is_known = is_known
        self._phase = "train"
        self._clashes: set[str] = set()

    def follow(
        self, kind: EventKind, body: Mapping[str, Json], *, server_round: int
    ) -> None:
        """Keep up with the phase under way."""
        del server_round
        if kind is EventKind.ROUND_STARTED:
            self._phase, self._is_known = "train", False
        elif kind is EventKind.DISPATCHED:
            self._phase = str(body["phase"])

    def hear(self, facts: Mapping[str, Logged]) -> None:
        """Record what the server's code logs."""
        if self._is_known:
            return
        server_round, numbers = self._recorder.server_round, numbers_in(facts)
        if server_round:
            self._note(numbers)
        for name, value in numbers.items():
            body = {"phase": self._phase, "scope": "server", "name": name, "value": value}
            self._recorder.emit(EventKind.METRIC, body, server_round=server_round)
        where = {"phase": self._phase, "node_id": None, "partition_id": None}
        self._keep(facts, where, server_round)

    def replied(self, fact: ClientFact, reply: Reply, server_round: int) -> None:
        """Record what a client logged; its numbers are in the fact already."""
        if not reply.logged:
            return
        for name, value in numbers_in(reply.logged).items():
            self._check(name, value, fact, server_round)
        where = {name: getattr(fact, name) for name in ("phase", "node_id", "partition_id")}
        self._keep(reply.logged, where, server_round)

    def _check(self, name: str, value: float, fact: ClientFact, server_round: int) -> None:
        """Warn of a number that the reply reports otherwise; once for each name."""
        kept = fact.metrics.get(name, fact.num_examples)  # else it names the weight
        if name in self._clashes or kept == value or (isnan(kept) and isnan(value)):
            return
        self._clashes.add(name)
        self._warn(
            LogError.code,
            f"The client of partition {fact.partition_id} logged {name!r} as {value:g}; "
            f"its reply says {kept:g}, which counts. Log it under another name.",
            server_round,
        )

    def _keep(
        self, facts: Mapping[str, Logged], where: Mapping[str, Json], server_round: int
    ) -> None:
        for name, value in facts.items():
            if isinstance(value, int | float):
                continue
            body: dict[str, Json] = {
                **where,
                "name": name,
                "type": TYPES[type(value)],
                "value": value.to_json(),
            }
            if isinstance(value, Image):
                try:
                    body["sha256"] = self._blobs.put(value.png).sha256
                except StoreError as error:  # what is only looked at must not end a run
                    what = f"The image {name!r} cannot be kept: {error.what}"
                    self._warn(error.code, what, server_round)
                    continue
            self._recorder.emit(EventKind.LOGGED, body, server_round=server_round)

    def _warn(self, code: str, message: str, server_round: int) -> None:
        body = {"code": code, "message": message}
        self._recorder.emit(EventKind.WARNING, body, server_round=server_round)
