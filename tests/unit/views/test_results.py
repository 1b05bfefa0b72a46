"""The results table: last and best, also when values are odd."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.errors import ViewError
from flip_lab.views import results_table
from flip_lab.views.results import COLUMNS


def metrics(
    values: list[float], name: str = "eval_accuracy", **changes: str
) -> pd.DataFrame:
    """Give rows of the table ``metrics`` for rounds 0, 1 and so on."""
    row = {
        "run_id": "a",
        "phase": "evaluate",
        "scope": "federated",
        "name": name,
        **changes,
    }
    return pd.DataFrame(
        [{**row, "server_round": at, "value": value} for at, value in enumerate(values)],
        columns=[*row, "server_round", "value"],
    )


def test_best_is_the_largest_but_the_smallest_for_losses() -> None:
    """The name decides, and the round is told."""
    table = results_table(
        pd.concat([metrics([0.1, 0.9, 0.5]), metrics([3.0, 1.0, 2.0], "loss")])
    )
    accuracy, loss = table.to_dict("records")
    assert (accuracy["last"], accuracy["best"], accuracy["best_round"]) == (0.5, 0.9, 1)
    assert (loss["last"], loss["best"], loss["best_round"]) == (2.0, 1.0, 1)


def test_runs_scopes_and_phases_are_kept_apart() -> None:
    """A central and a federated metric of one name are two rows."""
    frame = pd.concat(
        [metrics([1.0]), metrics([2.0], scope="central"), metrics([3.0], run_id="b")]
    )
    table = results_table(frame)
    assert tuple(table.columns) == COLUMNS
    assert list(zip(table["run_id"], table["scope"], table["last"], strict=True)) == [
        ("a", "central", 2.0),
        ("a", "federated", 1.0),
        ("b", "federated", 3.0),
    ]


def test_a_run_that_diverged_throughout_has_no_best() -> None:
    """NaN and infinity are no records; the last value is told as it is."""
    (row,) = results_table(metrics([math.nan, math.inf])).to_dict("records")
    assert row["last"] == math.inf
    assert math.isnan(row["best"])
    assert pd.isna(row["best_round"])


@given(st.lists(st.floats(allow_nan=True, width=32), min_size=1, max_size=20))
def test_the_best_is_a_value_at_its_round_and_none_is_better(values: list[float]) -> None:
    """Whatever the values and their order in the frame."""
    frame = metrics(values).sample(frac=1, random_state=0)
    (row,) = results_table(frame).to_dict("records")
    finite = [value for value in values if math.isfinite(value)]
    assert row["last"] == values[-1] or math.isnan(values[-1])
    if finite:
        assert row["best"] == max(finite)
        assert row["best_round"] == values.index(max(finite))


def test_an_empty_frame_gives_an_empty_table_with_its_columns() -> None:
    """Code that reads columns works before the first round, too."""
    table = results_table(metrics([]))
    assert tuple(table.columns) == COLUMNS
    assert table.empty


def test_a_missing_column_is_named() -> None:
    """The error is coded."""
    with pytest.raises(ViewError, match="scope"):
        results_table(metrics([1.0]).drop(columns="scope"))
