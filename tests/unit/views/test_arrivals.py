"""Targets: the share that arrived, with those that never did in it."""

# plotly ships no types
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

from typing import cast

import pandas as pd
import pytest

from flip_lab import analysis
from flip_lab.analysis.targets import Unit
from flip_lab.core.errors import AnalysisError
from flip_lab.views import target_curves


def curves(**runs: list[float]) -> pd.DataFrame:
    """Give curves; runs are called ``<group>_<seed>``."""
    return pd.DataFrame(
        [
            {
                "group": run.split("_")[0],
                "run_id": run,
                "seed": run.split("_")[1],
                "server_round": at,
                "value": value,
            }
            for run, row in runs.items()
            for at, value in enumerate(row, 1)
        ]
    )


def test_shares_rise_when_runs_arrive_and_a_cross_marks_one_that_did_not() -> None:
    """Worked by hand: one of two arrives in round 2, the other ends in round 3 without."""
    found = analysis.rounds_to_target(
        curves(a_1=[0.1, 0.9, 0.9], a_2=[0.1, 0.2, 0.3]), target=0.8, goal="max"
    )
    figure = target_curves(found, "eval_accuracy")
    line, cross = figure.data
    assert line.name == "a (1 of 2 runs)"
    assert line.line.shape == "hv"
    assert dict(zip(line.x, line.y, strict=True))[2.0] == pytest.approx(0.5)
    assert (list(cross.x), list(cross.y)) == ([3.0], [pytest.approx(0.5)])
    assert figure.layout.title.text == "Time to eval_accuracy ≥ 0.8"
    assert "1 of 2 runs reached it" in figure.layout.title.subtitle.text


def test_groups_are_told_apart_and_compared() -> None:
    """Two groups have two looks, and the log-rank test is in the subtitle."""
    found = analysis.rounds_to_target(
        curves(a_1=[0.9], a_2=[0.1, 0.9], b_1=[0.1, 0.1, 0.9], b_2=[0.1] * 4),
        target=0.8,
        goal="max",
        hold=1,
    )
    figure = target_curves(found, "eval_accuracy", theme="dark")
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert [line.legendgroup for line in lines] == ["a", "b"]
    assert lines[0].line.dash != lines[1].line.dash
    assert "log-rank p = " in figure.layout.title.subtitle.text


def test_a_loss_is_reached_from_above_and_held() -> None:
    """The title turns the sign; the subtitle says how long it had to hold."""
    found = analysis.rounds_to_target(
        curves(a_1=[0.9, 0.2, 0.1]), target=0.5, goal="min", hold=2
    )
    figure = target_curves(found, "eval_loss")
    assert figure.layout.title.text == "Time to eval_loss ≤ 0.5"
    assert "held for 2 evaluations" in figure.layout.title.subtitle.text


def test_unknown_costs_give_words_and_an_unknown_unit_an_error() -> None:
    """Without the table ``rounds`` nobody knows the seconds."""
    found = analysis.rounds_to_target(curves(a_1=[0.9]), target=0.5, goal="max")
    figure = target_curves(found, "eval_accuracy", unit="seconds")
    assert "took in seconds" in figure.layout.annotations[0].text
    with pytest.raises(AnalysisError):
        target_curves(found, "eval_accuracy", unit=cast("Unit", "hours"))
