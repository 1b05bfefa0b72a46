"""A run's events as a test wants them, without a run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flip_lab.core.events import ClientFact, EventKind, Json, RunEvent

Story = Callable[..., list[RunEvent]]


class Teller:
    """Writes events one after the other, as a run process would."""

    def __init__(self) -> None:
        """Begin at a fixed time."""
        self.events: list[RunEvent] = []
        self.time_s = 1_790_000_000.0

    def tell(
        self,
        kind: EventKind,
        server_round: int,
        body: dict[str, Json],
        *,
        after_s: float = 0.0,
    ) -> None:
        """Add one event, so many seconds after the one before."""
        self.time_s += after_s
        self.events.append(
            RunEvent(
                run_id="261121-194512-q7xd",
                sequence=len(self.events),
                time_s=self.time_s,
                server_round=server_round,
                kind=kind,
                body=body,
            )
        )

    def phase(
        self, server_round: int, phase: str, nodes: int, failing: frozenset[int]
    ) -> None:
        """Let all nodes work; each takes a second."""
        nodes_asked: list[Json] = list(range(nodes))
        asked: dict[str, Json] = {"node_ids": nodes_asked, "partition_ids": nodes_asked}
        self.tell(EventKind.DISPATCHED, server_round, {"phase": phase, **asked})
        for node in range(nodes):
            bad = node in failing
            fact = ClientFact(
                phase=phase,
                node_id=node,
                partition_id=node,
                num_examples=0 if bad else 10,
                started_s=self.time_s,
                duration_s=1.0,
                bytes_down=1024,
                bytes_up=2048,
                error_code=206 if bad else 0,
                error="Traceback\nValueError: <b>bad</b> data" if bad else "",
            )
            self.tell(EventKind.CLIENT, server_round, fact.body(), after_s=1.0)


@pytest.fixture
def story() -> Story:
    """Give a function that tells a run: ``story(rounds=3, nodes=4, …)``."""

    def tell(
        *,
        rounds: int = 3,
        planned: int = 10,
        nodes: int = 4,
        failing: frozenset[int] = frozenset(),
        losses: list[float] | None = None,
        end: dict[str, Json] | None = None,
    ) -> list[RunEvent]:
        teller = Teller()
        for state in ("pending", "starting", "running"):
            teller.tell(EventKind.STATE, 0, {"state": state}, after_s=0.5)
        for at in range(1, rounds + 1):
            began_s = teller.time_s
            teller.tell(EventKind.ROUND_STARTED, at, {"num_rounds": planned})
            for phase in ("train", "evaluate"):
                teller.phase(at, phase, nodes, failing)
            loss = losses[at - 1] if losses else 1 / at
            said: dict[str, Json] = {"phase": "evaluate", "scope": "federated"}
            for name, value in (("eval_loss", loss), ("eval_accuracy", 1 - loss)):
                teller.tell(EventKind.METRIC, at, {**said, "name": name, "value": value})
            lasted_s = teller.time_s - began_s
            teller.tell(EventKind.ROUND_ENDED, at, {"duration_s": lasted_s})
        if end is not None:
            teller.tell(EventKind.STATE, rounds, end)
        return teller.events

    return tell
