"""The table of differences: what differs and no more, odd values marked, text as text."""

# plotly ships no types
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

import pandas as pd

from flip_lab import analysis
from flip_lab.views import configuration_table


def parameters(**runs: dict[str, str]) -> pd.DataFrame:
    """Give rows of the table ``parameters``."""
    return pd.DataFrame(
        [
            {"run_id": run_id, "name": name, "value": value}
            for run_id, settings in runs.items()
            for name, value in settings.items()
        ]
    )


def test_only_differences_are_shown_and_the_odd_one_is_bold() -> None:
    """Three runs of one rate and one of another; what all share is not there."""
    frame = parameters(
        a={"lr": "0.1", "nodes": "10"},
        b={"lr": "0.1", "nodes": "10"},
        c={"lr": "0.3", "nodes": "10"},
    )
    figure = configuration_table(analysis.configuration_diff(frame), labels={"c": "fast"})
    (table,) = figure.data
    assert list(table.header.values) == ["run", "<b>lr</b>"]
    assert [list(column) for column in table.cells["values"]] == [
        ["a", "b", "fast"],
        ["0.1", "0.1", "<b>0.3</b>"],
    ]
    assert "1 setting of 3 runs" in figure.layout.title.subtitle.text


def test_many_settings_of_two_runs_run_down_the_page() -> None:
    """The longer side is the vertical one; a missing value is a dash."""
    frame = parameters(a={"x": "1", "y": "2", "z": "3"}, b={"x": "9", "y": "8"})
    (table,) = configuration_table(analysis.configuration_diff(frame)).data
    assert list(table.header.values) == ["setting", "<b>a</b>", "<b>b</b>"]
    assert list(table.cells["values"][0]) == ["x", "y", "z"]
    assert table.cells["values"][2][2] in {"–", "<b>–</b>"}


def test_equal_runs_give_words_and_markup_is_text() -> None:
    """No difference is worth a sentence; a value may hold anything."""
    same = parameters(a={"x": "1"}, b={"x": "1"})
    figure = configuration_table(analysis.configuration_diff(same), theme="dark")
    assert figure.layout.annotations[0].text == "All runs have the same configuration."
    odd = parameters(a={"x": "<script>"}, b={"x": "1"})
    (table,) = configuration_table(analysis.configuration_diff(odd)).data
    assert "&lt;script&gt;" in str(table.cells["values"])


def test_hundreds_of_lines_are_cut_and_said() -> None:
    """A page of settings is no use without an end."""
    runs = {f"r{at}": {"x": str(at)} for at in range(250)}
    figure = configuration_table(analysis.configuration_diff(parameters(**runs)))
    assert len(figure.data[0].cells["values"][0]) == 200
    assert "the first 200 of 250 lines" in figure.layout.title.subtitle.text
