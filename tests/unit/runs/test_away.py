"""Runs that go on elsewhere: remembered, found by a part of their id, forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from flip_lab.core.errors import (
    DamagedSourceError,
    InvalidValueError,
    RunNotFoundError,
    UnknownFederationError,
)
from flip_lab.runs.away import Away, away_of, forget, launch_away, remember, remembered
from flip_lab.runs.checkpoints import Checkpoints
from flip_lab.store.layout import LabDir, open_lab


@pytest.fixture
def lab(tmp_path: Path) -> LabDir:
    """Give an empty lab."""
    return open_lab(tmp_path / "lab")


def away(run_id: str, launched_s: float = 1.0) -> Away:
    """Describe a run of a hub."""
    return Away(
        run_id=run_id, federation="clinics", found_from="/there", launched_s=launched_s
    )


def test_runs_are_remembered_until_they_are_at_home(lab: LabDir) -> None:
    """Oldest first; a damaged note hides no other."""
    assert remembered(lab) == []
    remember(lab, away("b", 2.0))
    remember(lab, away("a", 3.0))
    (lab.root / "away" / "c.json").write_text("{", encoding="utf-8")
    assert [each.run_id for each in remembered(lab)] == ["b", "a"]
    forget(lab, "b")
    forget(lab, "b")
    assert remembered(lab) == [away("a", 3.0)]


def test_a_run_is_found_by_a_part_of_its_id(lab: LabDir) -> None:
    """If only one has it; and by its federation if it was not launched from here."""
    remember(lab, away("261122-aaaa"))
    remember(lab, away("261122-bbbb"))
    assert away_of(lab, "bbbb", None) == away("261122-bbbb")
    with pytest.raises(RunNotFoundError, match="2 runs"):
        away_of(lab, "261122", None)
    with pytest.raises(UnknownFederationError):
        away_of(lab, "cccc", "moon")
    toml = '[federations.moon]\naddress = "moon:1"\ntoken = "t"\n'
    (lab.root / "flip-lab.toml").write_text(toml, encoding="utf-8")
    assert away_of(lab, "cccc", "moon").found_from == str(lab.root)


def test_no_id_is_a_path(lab: LabDir) -> None:
    """A hub that means harm writes no note elsewhere."""
    with pytest.raises(DamagedSourceError):
        remember(lab, away("../../evil"))


def test_settings_that_do_not_travel_are_named(lab: LabDir) -> None:
    """How many checkpoints are kept is the hub's business."""
    with pytest.raises(InvalidValueError, match="callbacks, checkpoints"):
        launch_away(
            lab,
            "hospitals",
            "hub",
            "clinics",
            refused=["callbacks"],
            checkpoints=Checkpoints(every=2, keep_last=9),
            asked={},
        )
