"""The clients at work in one phase of one round, in bounded space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flip_lab.boards.run.snapshot import CohortStrip, counted

MOST_SQUARES = 200
_NOUNS = {"train": "Training", "evaluate": "Evaluating", "query": "Asking"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Who was asked, and who has answered.

    Up to 200 clients are told apart; of more only the numbers are kept.

    Attributes:
        server_round: The round.
        phase: ``"train"``, ``"evaluate"`` or ``"query"``.
        size: Clients that were asked.
        done: Clients that replied well.
        failed: Clients that failed.
        node_ids: The clients in order of dispatch, at most 200.
        states: One of ``r``, ``d`` and ``f`` for each of ``node_ids``.
    """

    server_round: int
    phase: str
    size: int = 0
    done: int = 0
    failed: int = 0
    node_ids: tuple[int, ...] = ()
    states: str = ""

    def ask(self, node_ids: tuple[int, ...]) -> Cohort:
        """Add clients that were asked."""
        room = node_ids[: MOST_SQUARES - len(self.node_ids)]
        return replace(
            self,
            size=self.size + len(node_ids),
            node_ids=self.node_ids + room,
            states=self.states + "r" * len(room),
        )

    def answer(self, answers: Sequence[tuple[int, bool]]) -> Cohort:
        """Note replies and failures; a client that was never asked counts as asked.

        Args:
            answers: Pairs of the node's id and whether it failed, oldest first.
        """
        places = {node_id: at for at, node_id in enumerate(self.node_ids)}
        states = list(self.states)
        for node_id, has_failed in answers:
            if node_id in places:
                states[places[node_id]] = "f" if has_failed else "d"
        failed = self.failed + sum(has_failed for _, has_failed in answers)
        done = self.done + self.failed + len(answers) - failed
        return replace(
            self,
            done=done,
            failed=failed,
            size=max(self.size, done + failed),
            states="".join(states),
        )

    @property
    def answered_ratio(self) -> float:
        """Share of the clients that have replied or failed, 0 to 1."""
        return (self.done + self.failed) / self.size if self.size else 0.0

    def strip(self) -> CohortStrip:
        """Give the cohort as a snapshot shows it."""
        squares, per_square = self._squares()
        noun = _NOUNS.get(self.phase, self.phase)
        gone = f", {self.failed:,} failed" if self.failed else ""
        clients = counted(self.size, "client", "clients")
        return CohortStrip(
            phase=self.phase,
            size=self.size,
            done=self.done,
            failed=self.failed,
            squares=squares,
            clients_per_square=per_square,
            words=f"{noun}: {self.done:,} of {clients} done{gone}",
        )

    def _squares(self) -> tuple[str, int]:
        """Give one square per client, or one per so many, failures first and never lost."""
        if self.size == len(self.states):
            return self.states, 1
        per_square = -(-self.size // MOST_SQUARES)
        total = -(-self.size // per_square)
        failed = -(-self.failed // per_square)
        done = min(self.done // per_square, total - failed)
        if self.done + self.failed == self.size:
            done = total - failed
        return "f" * failed + "d" * done + "r" * (total - failed - done), per_square
