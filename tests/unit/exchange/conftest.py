"""Runs as trackers know them, with everything that is awkward about them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from flip_lab.exchange.records import KeptFile, RoundSpan, RunRecord, Series

NAMES = [
    "train_loss",
    "a/b//../c",
    "quo\"te and 'quote'",
    "select",
    "métrique 損失 🌸",
    "a.b",
    "_step",
    "x" * 300,
    "..",
]

Curves = dict[tuple[str, str, str], list[tuple[int, str]]]


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    """Give a failed, forked run with awkward names, NaN and the infinities."""
    model = tmp_path / "source.bin"
    model.write_bytes(b"weights")
    series = [
        Series(
            phase="train",
            scope="federated",
            name=name,
            rounds=[1, 2, 3, 4],
            times_s=[1_700_000_000.5 + at for at in range(4)],
            values=[1 / 3, math.nan, math.inf, -math.inf],
        )
        for name in NAMES
    ]
    return RunRecord(
        run_id="231114-221320-abcd",
        source="231114-221320-abcd",
        name="a run, näher",
        experiment="seeds / 1",
        state="failed",
        created_s=1_700_000_000.0,
        started_s=1_700_000_000.25,
        ended_s=1_700_000_009.0,
        sweep="lr",
        parent_run_id="231114-221319-efgh",
        forked_at_round=2,
        parameters={"strategy.name": "FedAvg", "train.learning_rate": "0.1", "on": "true"},
        lineage={"data_sha256": "ab" * 32},
        tags=("good", "for the paper"),
        note="Look *here*.",
        author="ada",
        error={"code": "FLIP-303", "what": "All failed.", "fix": "Look.", "detail": "…"},
        rounds=(RoundSpan(server_round=1, started_s=1.0, ended_s=3.0, duration_s=2.0),),
        series=(
            *series,
            Series(
                phase="evaluate",
                scope="central",
                name="train_loss",
                rounds=[0],
                times_s=[1_700_000_000.5],
                values=[0.5],
            ),
        ),
        files=(KeptFile(name="../model", path=model, media_type="x/y", server_round=4),),
        spec={"run_id": "231114-221320-abcd", "seed": 7},
    )


@pytest.fixture
def curves() -> Callable[[RunRecord], Curves]:
    """Give the way to compare curves: as text, where NaN equals NaN."""

    def of(record: RunRecord) -> Curves:
        return {
            each.identity: list(zip(each.rounds, map(repr, each.values), strict=True))
            for each in record.series
        }

    return of


@pytest.fixture
def told() -> Callable[[RunRecord], dict[str, object]]:
    """Give the way to compare all that a sidecar tells."""

    def of(record: RunRecord) -> dict[str, object]:
        return {
            name: value
            for name, value in vars(record).items()
            if name not in {"series", "files"}
        }

    return of
