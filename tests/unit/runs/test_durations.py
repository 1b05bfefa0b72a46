"""What partitions took to train is remembered for the next run of the same thing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flip_lab.runs.durations import keep_durations, load_durations
from flip_lab.runs.spec import RunSpec

SPEC = RunSpec(
    run_id="r",
    name="digits",
    kind="scenario",
    created_s=0.0,
    seed=1,
    num_rounds=3,
    num_nodes=4,
    engine="auto",
    federation=None,
    workers=2,
    run_config={},
    overrides={},
    scenario={"data": {"dataset": "digits"}, "model": {"name": "mlp"}},
)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Give the directory of a run in an empty lab."""
    folder = tmp_path / "runs" / "r"
    folder.mkdir(parents=True)
    return folder


def test_the_next_run_knows_what_the_last_one_measured(run_dir: Path) -> None:
    """Also with another seed; newer figures replace older ones."""
    keep_durations(run_dir, SPEC, {0: 1.5, 3: 0.25})
    keep_durations(run_dir, SPEC, {3: 0.5})
    other = run_dir.with_name("s")
    assert load_durations(other, replace(SPEC, run_id="s", seed=9)) == {0: 1.5, 3: 0.5}


@pytest.mark.parametrize(
    "change",
    [{"num_nodes": 5}, {"name": "other"}, {"scenario": {"data": {"dataset": "mnist"}}}],
)
def test_another_experiment_has_its_own(run_dir: Path, change: dict[str, object]) -> None:
    """Partitions of another data set, model or number of nodes are other partitions."""
    keep_durations(run_dir, SPEC, {0: 1.5})
    assert load_durations(run_dir, replace(SPEC, **change)) == {}


def test_a_damaged_file_is_only_a_lost_hint(run_dir: Path) -> None:
    """A run must not fail for want of it; its end writes a good one."""
    keep_durations(run_dir, SPEC, {0: 1.5})
    [file] = (run_dir.parents[1] / "durations").iterdir()
    for damage in ("", "[1, 2]", '{"a": 1}', '{"0": null}'):
        file.write_text(damage, encoding="utf-8")
        assert load_durations(run_dir, SPEC) == {}
    keep_durations(run_dir, SPEC, {1: 2.0})
    assert load_durations(run_dir, SPEC) == {1: 2.0}


def test_the_oldest_of_very_many_are_forgotten(run_dir: Path) -> None:
    """A million nodes must not leave a file that takes longer to read than it saves."""
    keep_durations(run_dir, SPEC, dict.fromkeys(range(30_000), 1.0))
    keep_durations(run_dir, SPEC, {5: 2.0})
    known = load_durations(run_dir, SPEC)
    assert len(known) == 20_000
    assert known[5] == 2.0
    assert 29_999 in known
