"""Families: who came of whom, and which rounds two runs share."""

from __future__ import annotations

import pandas as pd
import pytest

from flip_lab.core.kinship import Link, Trunk, ancestors, common_trunk, kin_of
from flip_lab.runs.edits import edit_text
from flip_lab.runs.family import changed_text
from flip_lab.runs.settings import settings_frame

LINKS: dict[str, Link | None] = {
    "root": None,
    "a": ("root", 8),
    "b": ("root", 3),
    "aa": ("a", 12),
    "ab": ("a", 5),
    "other": None,
}


def test_ancestors_tell_how_far_each_counts() -> None:
    """A fork before its parent's own first round shares only what came before."""
    assert ancestors(LINKS, "aa") == [("aa", -1), ("a", 12), ("root", 8)]
    assert ancestors(LINKS, "ab") == [("ab", -1), ("a", 5), ("root", 5)]
    assert ancestors({"x": ("y", 1), "y": ("x", 1)}, "x") == [("x", -1), ("y", 1)]


@pytest.mark.parametrize(
    ("first", "second", "trunk"),
    [
        ("root", "a", Trunk(run_id="root", last_round=8)),
        ("a", "root", Trunk(run_id="root", last_round=8)),
        ("root", "aa", Trunk(run_id="root", last_round=8)),
        ("a", "aa", Trunk(run_id="a", last_round=12)),
        ("a", "b", Trunk(run_id="root", last_round=3)),
        ("aa", "ab", Trunk(run_id="a", last_round=5)),
        ("aa", "b", Trunk(run_id="root", last_round=3)),
        ("a", "other", None),
        ("a", "a", None),
    ],
)
def test_two_runs_share_the_rounds_before_they_part(
    first: str, second: str, trunk: Trunk | None
) -> None:
    """Parent and fork, forks of one run, and cousins."""
    assert common_trunk(LINKS, first, second) == trunk


@pytest.mark.parametrize("run_id", ["root", "aa", "b"])
def test_a_family_is_the_same_from_wherever_it_is_asked(run_id: str) -> None:
    """Each parent stands before its forks, the oldest fork first."""
    assert kin_of(LINKS, run_id) == [("root", 0), ("a", 1), ("aa", 2), ("ab", 2), ("b", 1)]
    assert kin_of(LINKS, "other") == [("other", 0)]


def test_only_what_differs_is_told_and_only_once() -> None:
    """The number of rounds stands in a scenario and beside it."""
    old = {
        "num_rounds": "5",
        "train.num_rounds": "5",
        "seed": "0",
        "strategy.options.x": "1",
    }
    new = {"num_rounds": "9", "train.num_rounds": "9", "seed": "0"}
    before, after = (
        [{"name": name, "value": value} for name, value in each.items()]
        for each in (old, new)
    )
    assert changed_text(before, after) == (
        "strategy.options.x 1 → not set; train.num_rounds 5 → 9"
    )
    assert not changed_text(before, before)


@pytest.mark.parametrize(
    ("command", "body", "text"),
    [
        (
            "set",
            {"values": {"learning_rate": 0.01, "x": True}},
            "set learning_rate = 0.01, x = True",
        ),
        ("exclude", {"node_ids": [9], "partition_ids": [3]}, "exclude 3"),
        ("include", {"node_ids": [9]}, "include 9"),
        ("break_when", {"condition": "loss is nan"}, "break when loss is nan"),
        ("stop_when", {"rule": {"budget_s": 60}}, "stop when budget_s=60"),
        ("clear", {"ids": ["c"]}, "clear"),
    ],
)
def test_an_edit_is_told_in_a_few_words(
    command: str, body: dict[str, object], text: str
) -> None:
    """As a tooltip and a table show it."""
    assert edit_text(command, body) == text


def test_settings_lie_side_by_side() -> None:
    """A column of numbers holds numbers; what is not named in a round is missing."""
    rows = pd.DataFrame(
        [
            (1, "train", "lr", "0.1", 0.1),
            (1, "run", "excluded", "[]", None),
            (3, "train", "lr", "0.5", 0.5),
            (3, "strategy", "mu", "1", 1.0),
        ],
        columns=["from_round", "scope", "name", "value", "number"],
    )
    frame = settings_frame(rows)
    assert frame.index.tolist() == [1, 3]
    assert frame["train.lr"].tolist() == [0.1, 0.5]
    assert frame["run.excluded"].tolist()[0] == "[]"
    assert frame["strategy.mu"].isna().tolist() == [True, False]
    assert settings_frame(rows.head(0)).empty
