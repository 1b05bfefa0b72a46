"""A run on nodes of known speed, as the events that it would leave: no process, no clock.

For tests of what learns from runs, such as ``Fleet.from_run``: what comes out can be held
against what was put in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from flip_lab.core.events import ClientFact, EventKind, Json, RunEvent
from flip_lab.core.policy import LATE, RoundPolicy

_BEGAN_S = 1_000_000_000.0
_PHASES = ("train", "evaluate")


@dataclass(frozen=True, kw_only=True)
class KnownNode:
    """A node that does as it is told.

    Attributes:
        compute_s: Seconds that it usually computes in training, above 0.
        num_examples: Examples that it trains on.
        fixed_s: Seconds that any message takes besides computing and moving.
        s_per_mib: Seconds that a mebibyte takes, either way.
        warm_up_s: What its first message takes longer.
        error_rate: Share of messages that it fails, 0 to 1.
    """

    compute_s: float = 1.0
    num_examples: int = 100
    fixed_s: float = 0.0
    s_per_mib: float = 0.0
    warm_up_s: float = 0.0
    error_rate: float = 0.0


@dataclass(frozen=True, kw_only=True)
class KnownSpec:
    """How the run says that it was launched.

    Attributes:
        federation: Name of the real federation; ``None`` in simulation.
        policy: When its rounds close; only a deadline is obeyed.
    """

    federation: str | None = "known"
    policy: RoundPolicy | None = None


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """A run of known nodes; its events are made when they are asked for, each time alike.

    Attributes:
        nodes: The nodes; node ``i`` holds partition ``i``.
        num_rounds: Rounds, 1 or more.
        cohort_size: Nodes asked a round; ``None`` asks all.
        log_sigma: Spread of the logarithm of single times.
        shared_log_sigma: Spread of the factor that all nodes of a round share.
        evaluate_share: What evaluating takes of the computing of training.
        overhead_s: Seconds that the server takes a round.
        model_mib: Size of the model.
        tells_work: Whether nodes say how long they computed, as ours do.
        seed: Of all that is drawn.
        run_id: The run's id.
        spec: How it was launched.
        warnings: Notices: seconds since the start, and their bodies.
    """

    nodes: Sequence[KnownNode]
    num_rounds: int = 10
    cohort_size: int | None = None
    log_sigma: float = 0.1
    shared_log_sigma: float = 0.0
    evaluate_share: float = 0.2
    overhead_s: float = 0.2
    model_mib: float = 1.0
    tells_work: bool = False
    seed: int = 0
    run_id: str = "20261122-known"
    spec: KnownSpec = field(default_factory=KnownSpec)
    warnings: Sequence[tuple[float, Mapping[str, Json]]] = ()

    def simulated(self) -> RecordedRun:
        """Give the same run as if it had been simulated."""
        return replace(self, spec=replace(self.spec, federation=None))

    def events(self) -> list[RunEvent]:
        """Give all events, in order."""
        return _Writer(self).written()


class _Writer:
    """Writes the events of one run.

    Args:
        run: The run.
    """

    def __init__(self, run: RecordedRun) -> None:
        """Begin with nothing written."""
        self._run = run
        self._random = np.random.default_rng(run.seed)
        self._facts: list[tuple[float, int, EventKind, Mapping[str, Json]]] = []
        self._at_s = _BEGAN_S
        self._seen: set[int] = set()
        self._free_s: dict[int, float] = {}

    def written(self) -> list[RunEvent]:
        """Write everything, in order of time."""
        for server_round in range(1, self._run.num_rounds + 1):
            self._round(server_round)
        for after_s, body in self._run.warnings:
            self._facts.append((_BEGAN_S + after_s, 0, EventKind.WARNING, body))
        self._facts.sort(key=lambda fact: fact[0])
        return [
            RunEvent(
                run_id=self._run.run_id,
                sequence=sequence,
                time_s=time_s,
                server_round=server_round,
                kind=kind,
                body=body,
            )
            for sequence, (time_s, server_round, kind, body) in enumerate(self._facts)
        ]

    def _round(self, server_round: int) -> None:
        began_s = self._at_s
        self._write(server_round, EventKind.ROUND_STARTED, {"num_rounds": None})
        num_nodes = len(self._run.nodes)
        size = self._run.cohort_size or num_nodes
        cohort = sorted(self._random.choice(num_nodes, size, replace=False).tolist())
        for phase in _PHASES:
            self._phase(server_round, phase, cohort)
        self._at_s += self._run.overhead_s * self._chance(0.1)
        taken = {"duration_s": self._at_s - began_s}
        self._write(server_round, EventKind.ROUND_ENDED, taken)

    def _phase(self, server_round: int, phase: str, cohort: list[int]) -> None:
        sent_s = self._at_s
        asked: dict[str, Json] = {"phase": phase, "partition_ids": [*cohort]}
        self._write(server_round, EventKind.DISPATCHED, asked)
        shared = self._chance(self._run.shared_log_sigma)
        policy = self._run.spec.policy or RoundPolicy()
        for node in cohort:
            took_s, fact = self._reply(node, phase, sent_s, shared)
            if policy.deadline_s is not None and took_s > policy.deadline_s:
                fact = replace(fact, error_code=LATE, num_examples=0)
                self._at_s = max(self._at_s, sent_s + policy.deadline_s)
            else:
                self._at_s = max(self._at_s, sent_s + took_s)
            written = (sent_s + took_s, server_round, EventKind.CLIENT, fact.body())
            self._facts.append(written)

    def _reply(
        self, node: int, phase: str, sent_s: float, shared: float
    ) -> tuple[float, ClientFact]:
        known = self._run.nodes[node]
        size = int(self._run.model_mib * 2**20)
        failed = bool(self._random.random() < known.error_rate)
        bytes_up = 0 if failed else size if phase == "train" else 64
        share = 1.0 if phase == "train" else self._run.evaluate_share
        work_s = known.compute_s * share
        moving_s = known.s_per_mib * (size + bytes_up) / 2**20
        chance = shared * self._chance(self._run.log_sigma)
        first_s = 0.0 if node in self._seen else known.warm_up_s
        self._seen.add(node)
        own_s = (work_s + known.fixed_s + moving_s) * chance + first_s
        began_s = max(sent_s, self._free_s.get(node, sent_s))  # one after another
        self._free_s[node] = began_s + own_s
        took_s = began_s + own_s - sent_s
        tells = self._run.tells_work  # else the driver puts down how long it waited
        fact = ClientFact(
            phase=phase,
            node_id=1_000 + node,
            partition_id=node,
            num_examples=0 if failed else known.num_examples,
            started_s=began_s if tells else sent_s,
            duration_s=work_s * chance if tells else took_s,
            bytes_down=size,
            bytes_up=bytes_up,
            error_code=2 if failed else 0,
            error="RuntimeError: out of beds" if failed else "",
        )
        return took_s, fact

    def _chance(self, log_sigma: float) -> float:
        return float(np.exp(log_sigma * self._random.standard_normal()))

    def _write(self, server_round: int, kind: EventKind, body: Mapping[str, Json]) -> None:
        self._facts.append((self._at_s, server_round, kind, body))
