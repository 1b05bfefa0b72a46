"""The benchmark runs, and all of its sides do the same work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_SCRIPT = Path(__file__).parents[2] / "benchmarks" / "engine.py"
_SIDES = ("one_process_loop", "in_process")


def _measure(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(_SCRIPT), *arguments, "--json", "-"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    """One tiny measurement for all tests of this module."""
    return _measure(
        *("--workload", "B", "--rounds", "1", "--turns", "1"),
        *("--sides", ",".join(_SIDES), "--no-launches"),
    )


def test_both_sides_are_measured(summary: dict[str, Any]) -> None:
    """Every figure is there for each side that has it."""
    assert summary["skipped"] == {}
    assert summary["workload"] == "B"
    for key in ("round_ms", "first_round_s", "peak_rss_mib", "accuracy"):
        assert set(summary[key]) == {*_SIDES}, key
        assert all(value > 0 for value in summary[key].values()), key
    assert set(summary["recorded_over_not"]) == {"in_process"}


def test_both_sides_train_the_same_model(summary: dict[str, Any]) -> None:
    """The loop by hand and the engine take the same cohorts, data and steps."""
    assert summary["accuracy_after_rounds"] == 2
    by_hand, engine = (summary["accuracy"][side] for side in _SIDES)
    assert by_hand == pytest.approx(engine, abs=0.002)
    assert by_hand > 3 / 62  # it has learnt: chance is one in 62 classes


def test_ratios_need_the_limit(summary: dict[str, Any]) -> None:
    """A ratio is given to the limit, never to whichever side happens to be there."""
    assert summary["ratio_to_limit"] == {}
