"""Runs and their forks in the comparer: what they share is drawn once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flip_lab.boards.comparer.payload import Line
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.store.layout import LabDir
from flip_lab.widgets.comparer import Comparer

MakeRun = Callable[..., Run]


@pytest.fixture
def lab(lab_dir: LabDir, make_run: MakeRun) -> Lab:
    """Give a run of six rounds, two forks of it, and a fork of one of these."""

    def fork(run_id: str, parent: str, at: int, **changes: Any) -> None:  # noqa: ANN401  # any
        named = {f"train.{name}": value for name, value in changes.items()}
        make_run(run_id, parent_run_id=parent, forked_at_round=at, changes=named, rounds=6)

    make_run("x-root", rounds=6)
    fork("x-late", "x-root", 4, learning_rate=0.5)
    fork("x-early", "x-root", 2, num_rounds=9)
    fork("x-grand", "x-late", 5, learning_rate=0.7)
    make_run("x-other", rounds=6)
    return Lab(lab_dir.root)


def lines_of(comparer: Comparer) -> dict[str, Line]:
    """Give the lines of the only panel, what is shared under ``trunk``."""
    [panel] = comparer.picture["panels"]
    return {
        "trunk" if each.get("trunk") else each.get("run", ""): each
        for each in panel["lines"]
    }


def test_the_trunk_ends_where_the_first_fork_leaves(lab: Lab) -> None:
    """Each branch begins on the last point that it shares, and is marked there."""
    lines = lines_of(Comparer(lab, ["x-root", "x-late", "x-early", "x-grand"]))
    assert {name: line["x"] for name, line in lines.items()} == {
        "trunk": [1, 2],
        "x-root": [2, 3, 4, 5, 6],
        "x-early": [2, 3, 4, 5, 6],
        "x-late": [4, 5, 6],
        "x-grand": [5, 6],
    }
    forks = {name: line["fork"] for name, line in lines.items() if "fork" in line}
    assert forks == {"x-early": 2, "x-late": 4, "x-grand": 5}


def test_what_a_fork_changed_is_told_against_its_parent(lab: Lab) -> None:
    """Once, and without what only says who forked whom."""
    comparer = Comparer(lab, ["x-root", "x-early", "x-grand"])
    forks = {fork["run"]: fork for fork in comparer.picture["forks"]}
    assert forks["x-early"]["changed"] == ["train.num_rounds 20 → 9"]
    assert (forks["x-grand"]["parent"], forks["x-grand"]["round"]) == ("x-root", 4)
    assert forks["x-grand"]["changed"] == ["train.learning_rate 0.1 → 0.7"]
    assert comparer.picture["differing"] == ["train.learning_rate", "train.num_rounds"]
    words = "grand leaves root after round 4: train.learning_rate 0.1 → 0.7"
    assert f"\nFork {words}\n" in repr(comparer)
    assert f"<p>Fork {words}</p>" in comparer.card()
    assert "shared with forks" in repr(comparer)


def test_runs_of_no_common_round_are_drawn_as_before(lab: Lab) -> None:
    """Two forks whose parent is not ticked, too: their shared rounds are not there."""
    for runs in (["x-root", "x-other"], ["x-early", "x-late"]):
        comparer = Comparer(lab, runs, draw="lines")
        assert comparer.picture["forks"] == []
        assert "trunk" not in lines_of(comparer)
        assert all("fork" not in line for line in lines_of(comparer).values())
    assert Comparer(lab, ["x-root", "x-other"]).choice.draw == "mean"


def test_means_say_that_forks_are_among_them(lab: Lab) -> None:
    """A mean of a run and its fork is no mean of two seeds."""
    comparer = Comparer(lab, ["x-root", "x-late"], draw="mean")
    [note] = [each for each in comparer.picture["notes"] if "fork" in each]
    assert note.startswith("1 run of these came of others as a fork: draw single runs")
    assert Comparer(lab, ["x-root", "x-late"]).choice.draw == "lines"
    assert Comparer(lab, ["x-root", "x-late"], by="seed").choice.draw == "mean"


@pytest.mark.parametrize("x", ["seconds", "bytes"])
def test_what_a_fork_spends_counts_on_from_its_parent(lab: Lab, x: Any) -> None:  # noqa: ANN401  # an axis
    """Its first own round lies behind the last shared one."""
    comparer = Comparer(lab, ["x-root", "x-late"], x=x)
    lines = lines_of(comparer)
    root = lines["x-root"]
    assert lines["x-late"]["x"][0] == root["x"][root.get("round", []).index(4)]
    assert lines["x-late"]["x"] == sorted(set(lines["x-late"]["x"]))
    assert any("counts on" in note for note in comparer.picture["notes"])


def test_curves_are_smoothed_before_they_are_cut(lab: Lab) -> None:
    """A branch goes on smoothly from the trunk."""
    whole = lines_of(Comparer(lab, ["x-root"], draw="lines", smoothing=5))["x-root"]
    parted = lines_of(Comparer(lab, ["x-root", "x-late"], smoothing=5))
    assert parted["trunk"]["y"] + parted["x-root"]["y"][1:] == whole["y"]
