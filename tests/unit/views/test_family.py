"""The family tree and the curves of forks: what is shared is drawn once."""

# plotly ships no types
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

import pandas as pd
import pytest

from flip_lab.core.errors import ViewError
from flip_lab.views import family_tree, fork_curves


def run(
    run_id: str, parent: str | None = None, at: int | None = None, **more: object
) -> dict[str, object]:
    """Give one row of ``lab.family``, with changes."""
    return {
        "run_id": run_id,
        "name": "hospitals",
        "parent_run_id": parent,
        "forked_at_round": at,
        "depth": 0,
        "changed": "" if parent is None else "train.learning_rate 0.1 → 0.2; seed 0 → 7",
        "state": "completed",
        "rounds_done": 10,
        "num_rounds": 10,
        "metric": "eval_accuracy",
        "best": 0.5,
        "last": 0.5,
        "num_edits": 0,
        "marks": [],
        **more,
    }


def numbers(run_id: str, first: int, last: int) -> list[dict[str, object]]:
    """Give a metric of some rounds: the round itself."""
    about = {"phase": "evaluate", "scope": "federated", "name": "eval_accuracy"}
    return [
        {"run_id": run_id, "server_round": each, "value": float(each), **about}
        for each in range(first, last + 1)
    ]


FAMILY = pd.DataFrame([run("x-a"), run("x-b", "x-a", 3), run("x-c", "x-a", 8)])


def test_the_last_fork_lies_nearest_so_that_no_branch_crosses_another() -> None:
    """Lanes are named by what they changed, at least the first of it."""
    layout = family_tree(FAMILY).layout
    assert [text.split("<b>")[-1] for text in layout.yaxis.ticktext] == [
        "hospitals a",
        "c</b>",
        "b</b>",
    ]
    assert layout.yaxis.ticktext[1].startswith("learning_rate 0.1 → 0.2 +1")
    assert layout.title.subtitle.text == "3 runs, 2 forks"


def test_a_lane_begins_where_it_left_its_parent() -> None:
    """The way down is drawn apart from the lanes, which have the colours of states."""
    rows = pd.DataFrame([run("x-a"), run("x-b", "x-a", 3, state="failed", rounds_done=6)])
    left, completed, failed, ends = family_tree(rows, theme="dark").data
    assert list(left.x[:2]) == [3.0, 3.0]
    assert (left.y[0], left.y[2]) == (0.0, 1.0)
    assert (completed.name, failed.name) == ("completed", "failed")
    assert list(completed.x[:2]) == [0.0, 10.0]
    assert 3 < failed.x[0] < 4
    assert failed.x[1] == 6
    assert list(ends.marker.symbol) == ["circle", "x"]
    assert (
        "forked at round 3<br>train.learning_rate 0.1 → 0.2<br>seed 0 → 7" in ends.text[1]
    )


def test_marks_say_what_was_done_in_a_round() -> None:
    """Edits, pauses and breaks are told apart by shape."""
    marks = [
        {"kind": "edit", "server_round": 4, "text": "set <lr> = 1"},
        {"kind": "break", "server_round": 6, "text": ""},
    ]
    traces = family_tree(pd.DataFrame([run("x-a", marks=marks)])).data
    edit, brk = traces[-2:]
    assert (edit.name, list(edit.x), edit.text[0]) == (
        "edit",
        [4],
        "round 4: set &lt;lr&gt; = 1",
    )
    assert (brk.name, brk.text[0]) == ("break", "round 6: break")


def test_the_metric_colours_the_ends() -> None:
    """A run without it has none; a family without it shows its states."""
    rows = pd.DataFrame([run("x-a"), run("x-b", "x-a", 3, best=float("nan"))])
    ends = family_tree(rows, colour_by="metric").data[-1]
    assert ends.marker.color[0] == 0.5
    assert pd.isna(ends.marker.color[1])
    none = family_tree(rows.assign(best=float("nan")), colour_by="metric").data[-1]
    assert none.marker.colorscale is None


def test_two_hundred_runs_fit_a_page() -> None:
    """Names go, the height stays within bounds."""
    rows = [run("x-0"), *(run(f"x-{at}", f"x-{at - 1}", 1) for at in range(1, 200))]
    layout = family_tree(pd.DataFrame(rows)).layout
    assert layout.height <= 2400
    assert not layout.yaxis.ticktext


def test_wrong_arguments_are_refused() -> None:
    """An empty family says so in words."""
    assert family_tree(FAMILY.head(0)).layout.annotations[0].text == "There is no run here."
    with pytest.raises(ViewError, match="colour_by"):
        family_tree(FAMILY, colour_by="size")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ViewError, match="marks"):
        family_tree(FAMILY.drop(columns="marks"))


def test_the_trunk_is_drawn_once_and_each_branch_from_its_round() -> None:
    """A fork's own numbers begin after its round; its line begins on its parent's."""
    metrics = pd.DataFrame(
        [*numbers("x-a", 1, 10), *numbers("x-b", 4, 12), *numbers("x-c", 9, 11)]
    )
    trunk, parent, first, second = fork_curves(metrics, FAMILY).data
    assert list(trunk.x) == [1, 2, 3]
    assert list(parent.x) == [*range(3, 11)]
    assert list(first.x) == [*range(3, 13)]
    assert list(second.x) == [*range(8, 12)]
    assert [line.name for line in (parent, first, second)] == ["x-a", "x-b", "x-c"]


def test_what_was_changed_stands_under_the_title() -> None:
    """Of one fork just that; runs of no common round say so."""
    metrics = pd.DataFrame([*numbers("x-a", 1, 10), *numbers("x-b", 4, 12)])
    figure = fork_curves(metrics, FAMILY, labels={"x-b": "faster"})
    told = figure.layout.title.subtitle.text
    assert told == "train.learning_rate 0.1 → 0.2; seed 0 → 7"
    assert [shape.x0 for shape in figure.layout.shapes] == [3]
    assert figure.data[-1].name == "faster"
    alone = fork_curves(metrics[metrics["run_id"] == "x-a"], FAMILY)
    assert alone.layout.title.subtitle.text == "These runs share no round."
    assert len(list(alone.data)) == 1


def test_a_grandchild_leaves_the_nearest_run_that_is_drawn() -> None:
    """Where its parent is not among them, the round is that of the common trunk."""
    family = pd.DataFrame([run("x-a"), run("x-b", "x-a", 3), run("x-c", "x-b", 6)])
    metrics = pd.DataFrame([*numbers("x-a", 1, 10), *numbers("x-c", 7, 9)])
    trunk, _, grandchild = fork_curves(metrics, family).data
    assert list(trunk.x) == [1, 2, 3]
    assert list(grandchild.x) == [3, 7, 8, 9]


def test_nothing_and_too_much_are_said() -> None:
    """A metric that nobody recorded; more runs than colours."""
    metrics = pd.DataFrame(numbers("x-a", 1, 2))
    empty = fork_curves(metrics, FAMILY, metric="loss")
    assert "No run recorded loss" in empty.layout.annotations[0].text
    many = pd.DataFrame([row for at in range(9) for row in numbers(f"r{at}", 1, 1)])
    with pytest.raises(ViewError, match="up to 8"):
        fork_curves(many, FAMILY)
