"""W&B's offline runs: the log's own format, and the records in it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.errors import (
    DamagedSourceError,
    ForeignFormatError,
    NewerSourceError,
)
from flip_lab.exchange import wandb_files
from flip_lab.exchange.records import RunRecord, Series
from flip_lab.exchange.wandb_log import LogWriter, read_log

BLOCK = 32 * 1024

OFFLINE = """
import sys, wandb
run = wandb.init(mode="offline", project="p", name="n", id="abc", dir=sys.argv[1],
    config={"lr": 0.1, "net": {"depth": 2}}, tags=["t"], notes="hello",
    settings=wandb.Settings(disable_git=True, console="off", x_disable_stats=True))
run.log({"loss": 1.5, "n": float("nan"), "i": float("inf"), "text": "no number"}, step=1)
run.log({"loss": 0.5}, step=2)
run.finish()
"""


@given(sizes=st.lists(st.integers(0, 3 * BLOCK), max_size=6))
def test_records_come_back_from_the_log(
    sizes: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of any length, over any number of blocks."""
    records = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    path = tmp_path_factory.mktemp("log") / "run-a.wandb"
    path.write_bytes(_log(records))
    assert list(read_log(path)) == records


def _log(records: list[bytes]) -> bytes:
    file = io.BytesIO()
    log = LogWriter(file)
    for record in records:
        log.write(record)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (_log([b"a" * 100])[:-1], DamagedSourceError),
        (_log([b"a" * 100])[:10], DamagedSourceError),
        (_log([b"a" * 2 * BLOCK])[: BLOCK + 7], DamagedSourceError),
        (_log([b"a" * 100]).replace(b"aa", b"ab", 1), DamagedSourceError),
        (b"", ForeignFormatError),
        (b"PK\x03\x04 a zip file", ForeignFormatError),
        (_log([])[:6] + b"\x07", NewerSourceError),
    ],
)
def test_a_damaged_log_is_refused(
    content: bytes, error: type[Exception], tmp_path: Path
) -> None:
    """Cut, changed, foreign or newer: each has its code."""
    path = tmp_path / "run-a.wandb"
    path.write_bytes(content)
    with pytest.raises(error):
        list(read_log(path))


def test_a_run_comes_back(
    record: RunRecord,
    tmp_path: Path,
    curves: Callable[[RunRecord], Any],
    told: Callable[[RunRecord], dict[str, object]],
) -> None:
    """Values and rounds are what they were, and so are the rest and the files."""
    pytest.importorskip("wandb", reason="needs pip install 'flip-lab[wandb]'")
    wandb_files.write([record], tmp_path)
    (again,) = wandb_files.read(tmp_path)
    assert curves(again) == curves(record)
    assert told(again) == told(record)
    assert [(each.name, each.path.read_bytes()) for each in again.files] == [
        ("../model", b"weights")
    ]


def test_two_points_of_a_round_are_both_kept(record: RunRecord, tmp_path: Path) -> None:
    """A key comes once in a row, so the second gets a row of its own."""
    pytest.importorskip("wandb", reason="needs pip install 'flip-lab[wandb]'")
    series = Series(phase="train", scope="federated", name="x")
    for value in (1.0, 2.0):
        series.add(1, 1e9 + value, value)
    wandb_files.write([RunRecord(**{**vars(record), "series": (series,)})], tmp_path)
    (again,) = wandb_files.read(tmp_path)
    assert again.series == (series,)


@pytest.mark.slow
def test_what_wandb_wrote_offline_is_read(tmp_path: Path) -> None:
    """W&B's own offline mode, in a process of its own."""
    pytest.importorskip("wandb", reason="needs pip install 'flip-lab[wandb]'")
    subprocess.run(
        [sys.executable, "-c", OFFLINE, str(tmp_path)],
        env={**os.environ, "WANDB_ERROR_REPORTING": "false"},
        check=True,
        capture_output=True,
        timeout=240,
    )
    (run,) = wandb_files.read(tmp_path / "wandb")
    found = {each.name: list(map(repr, each.values)) for each in run.series}
    assert found == {"loss": ["1.5", "0.5"], "n": ["nan"], "i": ["inf"]}
    assert (run.source, run.name, run.experiment, run.state) == (
        "abc",
        "n",
        "p",
        "completed",
    )
    assert (run.tags, run.note) == (("t",), "hello")
    assert run.parameters == {
        "lr": "0.1",
        "net": json.dumps({"depth": 2}, separators=(",", ":")),
    }


def test_a_directory_without_runs_is_refused(tmp_path: Path) -> None:
    """The message says what to look for."""
    with pytest.raises(ForeignFormatError, match=r"run-<id>\.wandb"):
        wandb_files.read(tmp_path)
