"""How a run ended and what it left, read from its events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from flip_lab.core.errors import FlipLabError, RunError
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.core.state import RunState


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended, in a few words.

    Attributes:
        run_id: The run.
        state: Its final state.
        num_rounds: Rounds that were finished.
        model_sha256: Hash of the kept model file; empty without one.
        metrics: Last value of each aggregated metric; those of an evaluation on the
            server are called ``<name>_central``.
    """

    run_id: str
    state: RunState
    num_rounds: int
    model_sha256: str
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class RunResult(Outcome):
    """What a run left.

    Attributes:
        arrays: The final model's arrays by name; empty when the app never aggregated any.
        history: One row for each aggregated metric and round (pandas).
    """

    arrays: Mapping[str, np.ndarray]
    history: Any


def outcome_of(run_id: str, state: RunState, events: list[RunEvent]) -> Outcome:
    """Read a run's outcome from its events.

    Args:
        run_id: The run.
        state: Its final state.
        events: All that are in force.
    """
    return Outcome(
        run_id=run_id,
        state=state,
        num_rounds=sum(event.kind is EventKind.ROUND_ENDED for event in events),
        model_sha256=_model_sha256(events),
        metrics=_last_metrics(events),
    )


def error_in(body: Mapping[str, Any]) -> FlipLabError:
    """Build a failed run's error, of the class with its code, so that it can be caught.

    A code of a plug-in that is not loaded here becomes a ``RunError``.
    """
    what, fix, detail = (str(body.get(key, "")) for key in ("what", "fix", "detail"))
    kinds: list[type[FlipLabError]] = [FlipLabError]
    for kind in kinds:  # grows while it is walked: the whole family
        if kind.code == body.get("code"):
            return kind(what, fix=fix, detail=detail)
        kinds.extend(kind.__subclasses__())
    return RunError(what, fix=fix, detail=detail)


def _model_sha256(events: list[RunEvent]) -> str:
    kept = [e for e in events if e.kind is EventKind.ARTIFACT and e.body["name"] == "model"]
    return str(kept[-1].body["sha256"]) if kept else ""


def _last_metrics(events: list[RunEvent]) -> dict[str, float]:
    last: dict[str, float] = {}
    for scope in ("server", "central", "federated"):  # the last counts
        for event in events:
            body = event.body
            if event.kind is not EventKind.METRIC or body["scope"] != scope:
                continue
            name = str(body["name"])
            key = f"{name}_central" if scope == "central" else name
            last[key] = cast("float", body["value"])  # a typed column of the journal
    return last
