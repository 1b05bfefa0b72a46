"""What a checkpoint is, and which ones a run keeps: plain data and pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from flip_lab.core.clock import at_utc
from flip_lab.core.errors import InvalidValueError
from flip_lab.runs.arguments import whole_number
from flip_lab.store.packs import Packed

Better: TypeAlias = Literal["highest", "lowest"]


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """When a run writes checkpoints, and which it keeps.

    Attributes:
        every: Rounds from one checkpoint to the next; 0 writes none.
        keep_last: How many of the newest are kept, at least 1; with 2, one that the disk
            lost costs a round.
        keep_best_by: ``"highest NAME"`` or ``"lowest NAME"`` of an aggregated metric
            (``"highest eval_accuracy"``); numbers of an evaluation on the server are called
            ``NAME_central``. The best one is kept as well.
        keep_every: Of which rounds checkpoints are kept for forks: 10 keeps those of the
            rounds 10, 20, 30 and so on; ``None`` keeps none for that.
    """

    every: int = 1
    keep_last: int = 2
    keep_best_by: str | None = None
    keep_every: int | None = None

    def checked(self) -> Checkpoints:
        """Give the same settings with plain numbers, if they can be followed.

        Raises:
            InvalidValueError: If one has the wrong type or lies outside its range.
        """
        every = self.keep_every
        if self.keep_best_by is not None:
            _read_best_by(self.keep_best_by)
        return Checkpoints(
            every=whole_number("checkpoints.every", self.every, at_least=0),
            keep_last=whole_number("checkpoints.keep_last", self.keep_last, at_least=1),
            keep_best_by=self.keep_best_by,
            keep_every=None
            if every is None
            else whole_number("checkpoints.keep_every", every, at_least=1),
        )

    def is_due(self, server_round: int, num_rounds: int) -> bool:
        """Say whether a round's end is to be written; the last round's always is."""
        if not self.every:
            return False
        return server_round % self.every == 0 or server_round == num_rounds

    def kept(self, metrics: Mapping[int, Mapping[str, float]]) -> set[int]:
        """Say which checkpoints stay.

        Args:
            metrics: The aggregated metrics of each round that has a checkpoint.

        Returns:
            The rounds whose checkpoints are kept.
        """
        rounds = sorted(metrics)
        kept = set(rounds[-self.keep_last :])
        if self.keep_every is not None:
            kept |= {each for each in rounds if each % self.keep_every == 0}
        if self.keep_best_by is not None:
            kept |= self._best(metrics)
        return kept

    def _best(self, metrics: Mapping[int, Mapping[str, float]]) -> set[int]:
        better, name = _read_best_by(str(self.keep_best_by))
        sign = 1 if better == "highest" else -1
        values = {
            each: sign * found[name] for each, found in metrics.items() if name in found
        }
        return {max(values, key=lambda each: values[each])} if values else set()


def _read_best_by(text: str) -> tuple[Better, str]:
    better, _, name = str(text).partition(" ")
    if better == "highest" and name:
        return "highest", name
    if better == "lowest" and name:
        return "lowest", name
    raise InvalidValueError(
        f"checkpoints.keep_best_by is {text!r}.",
        fix='Write "highest NAME" or "lowest NAME", such as "highest eval_accuracy".',
    )


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A round's end that a run can be taken up from.

    Attributes:
        server_round: The round that had just ended.
        size_bytes: Bytes on the disk.
        time: When it was written, UTC.
        model_digest: 128-bit hash of the model's arrays; equal models have equal ones.
        metrics: The round's aggregated metrics, as far as they are finite; those of an
            evaluation on the server are called ``NAME_central``.
    """

    server_round: int
    size_bytes: int
    time: datetime
    model_digest: str
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a checkpoint says of itself: the content of its ``checkpoint.json``.

    Attributes:
        run_id: The run that wrote it; another one in a fork's first checkpoint.
        server_round: The round that had just ended.
        time_s: When it was written, seconds since the Unix epoch.
        sequence: The run's newest event then: what follows is made anew on a resume.
        model_round: The round in which the model was aggregated last.
        model_digest: 128-bit hash of the model's arrays.
        model: The file with the model, as safetensors; ``None`` where it holds arrays that
            safetensors cannot keep, which are in ``state`` then.
        state: The file with what the server loop remembers.
        journal: Files with what each round added: its metrics, the clients' states that
            it changed. Later ones overrule earlier ones.
        metrics: The round's aggregated metrics, as far as they are finite.
    """

    run_id: str
    server_round: int
    time_s: float
    sequence: int
    model_round: int
    model_digest: str
    model: Packed | None
    state: Packed
    journal: list[Packed]
    metrics: dict[str, float]

    @property
    def own(self) -> list[Packed]:
        """The files that no other checkpoint shares."""
        return [self.state] if self.model is None else [self.model, self.state]

    def checkpoint(self) -> Checkpoint:
        """Give what users see of it."""
        return Checkpoint(
            server_round=self.server_round,
            size_bytes=sum(piece.size_bytes for piece in (*self.own, *self.journal)),
            time=at_utc(self.time_s),
            model_digest=self.model_digest,
            metrics=self.metrics,
        )

    def to_json(self) -> dict[str, Any]:
        """Give it as plain data, fit for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Manifest:
        """Read it again.

        Raises:
            KeyError: If something is missing.
            TypeError: If something is of another shape.
        """
        model = data["model"]
        values: dict[str, Any] = {
            **data,
            "model": None if model is None else Packed(**model),
            "state": Packed(**data["state"]),
            "journal": [Packed(**piece) for piece in data["journal"]],
        }
        return cls(**values)


def metrics_by_round(manifests: Sequence[Manifest]) -> dict[int, Mapping[str, float]]:
    """Give the metrics of each round that has a checkpoint."""
    return {each.server_round: each.metrics for each in manifests}
