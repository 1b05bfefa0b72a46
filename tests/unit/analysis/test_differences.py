"""What runs do not have in common: configuration and code."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.analysis import code_diff, configuration_diff
from flip_lab.analysis.differences import DiffRow
from flip_lab.core.errors import AnalysisError


def parameters(runs: dict[str, dict[str, str | None]]) -> pd.DataFrame:
    """Give rows of ``parameters``."""
    return pd.DataFrame(
        [
            {"run_id": run_id, "name": name, "value": value, "number": None}
            for run_id, held in runs.items()
            for name, value in held.items()
        ],
        columns=["run_id", "name", "value", "number"],
    )


RUNS: dict[str, dict[str, str | None]] = {
    "one": {"seed": "0", "rate": "0.1", "engine": "ray"},
    "two": {"seed": "1", "engine": "ray", "mu": "0.01"},
    "six": {"seed": "0", "rate": "0.1", "engine": "ray"},
}


def test_only_keys_that_differ_are_shown_and_what_is_missing_is_none() -> None:
    """The engine is the same, so it is not there."""
    found = configuration_diff(parameters(RUNS), ["two", "one"])
    assert list(found.columns) == ["two", "one"]
    assert found.index.tolist() == ["mu", "rate", "seed"]
    assert found.T["mu"].tolist() == ["0.01", None]
    assert found.T["rate"].tolist() == [None, "0.1"]
    assert found.T["seed"].tolist() == ["1", "0"]


def test_runs_that_agree_differ_in_nothing() -> None:
    """An empty table with a column a run; by default of all runs."""
    assert configuration_diff(parameters(RUNS), ["one", "six"]).empty
    assert list(configuration_diff(parameters(RUNS)).columns) == ["one", "two", "six"]


def test_an_unknown_run_is_answered_with_the_nearest() -> None:
    """A typing mistake must not look like a run without parameters."""
    with pytest.raises(AnalysisError, match=r"a run 'onee'\. Fix: Did you mean 'one'"):
        configuration_diff(parameters(RUNS), ["onee"])


def test_changed_added_and_removed_files_by_hand() -> None:
    """A unified diff, and the same as rows with line numbers."""
    found = code_diff(
        {"app.py": "a\nb\nc\n", "old.py": "x\n", "same.py": "1\n"},
        {"app.py": "a\nB\nc\nd\n", "new.py": "y", "same.py": "1\n"},
        context=1,
    )
    assert found.text.splitlines() == [
        *("--- a/app.py", "+++ b/app.py", "@@ -1,3 +1,4 @@", " a", "-b", "+B", " c", "+d"),
        *("--- /dev/null", "+++ b/new.py", "@@ -0,0 +1 @@", "+y"),
        *("--- a/old.py", "+++ /dev/null", "@@ -1 +0,0 @@", "-x"),
    ]
    assert (found.changed, found.added, found.removed) == (
        ("app.py",),
        ("new.py",),
        ("old.py",),
    )
    assert found.rows[:3] == (
        DiffRow(path="app.py", kind="same", old_line=1, new_line=1, text="a"),
        DiffRow(path="app.py", kind="removed", old_line=2, new_line=None, text="b"),
        DiffRow(path="app.py", kind="added", old_line=None, new_line=2, text="B"),
    )


def test_an_empty_file_that_comes_is_said() -> None:
    """It has no line to show, so its name is all there is."""
    found = code_diff({}, {"__init__.py": ""})
    assert found.text == "--- /dev/null\n+++ b/__init__.py\n"
    assert found.added == ("__init__.py",)


LINES = st.lists(st.sampled_from(["a", "b", "", "\x0cc"]), max_size=8)
FILES = st.dictionaries(st.sampled_from(["p", "q", "r"]), LINES, max_size=3)


@given(old=FILES, new=FILES)
def test_rows_give_back_both_sides(
    old: dict[str, list[str]], new: dict[str, list[str]]
) -> None:
    """With context enough, the rows of a changed file hold all of it, old and new."""
    before = {path: "".join(f"{line}\n" for line in lines) for path, lines in old.items()}
    after = {path: "".join(f"{line}\n" for line in lines) for path, lines in new.items()}
    found = code_diff(before, after, context=99)
    for path in found.changed:
        rows = [row for row in found.rows if row.path == path]
        assert [row.text for row in rows if row.old_line is not None] == old[path]
        assert [row.text for row in rows if row.new_line is not None] == new[path]
    assert not code_diff(before, before).text
