"""The timeline: bars where the work was, crosses where it failed."""

# plotly ships no types
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest

from flip_lab.core.errors import ViewError
from flip_lab.views import cohort_timeline

START = pd.Timestamp("2026-11-21T19:45:00Z")


def work(**changes: object) -> dict[str, object]:
    """Give one row of the table ``clients``, with changes."""
    return {
        "run_id": "a",
        "server_round": 1,
        "phase": "train",
        "node_id": 7,
        "partition_id": 0,
        "num_examples": 100.0,
        "started_at": START,
        "duration_s": 2.0,
        "error_code": 0,
        "error": "",
        **changes,
    }


def test_bars_begin_and_end_with_the_work() -> None:
    """Seconds count from the first client; train and evaluate are apart."""
    rows = [
        work(),
        work(partition_id=1, started_at=START + pd.Timedelta(seconds=1.5), duration_s=0.25),
        work(phase="evaluate", started_at=START + pd.Timedelta(seconds=3), duration_s=0.5),
    ]
    train, evaluate = cohort_timeline(pd.DataFrame(rows)).data
    assert (train.name, evaluate.name) == ("train", "evaluate")
    assert list(train.base) == [0.0, 1.5]
    assert list(train.x) == [2.0, 0.25]
    assert list(train.y) == ["partition 0", "partition 1"]
    assert list(evaluate.base) == [3.0]
    assert (
        train.text[0]
        == "<b>partition 0</b><br>round 1, train<br>2 s, from 0 s<br>100 examples"
    )


def test_the_runs_own_start_can_be_the_origin() -> None:
    """Start-up before the first client then shows."""
    began = datetime(2026, 11, 21, 19, 44, 50, tzinfo=UTC)
    (train,) = cohort_timeline(pd.DataFrame([work()]), run_started_at=began).data
    assert list(train.base) == [10.0]


def test_a_failure_is_crossed_out_with_its_error_escaped() -> None:
    """The hover text carries the end of the traceback, as text."""
    error = 'Traceback\n  File "a"\n  line\n  line\nValueError: <script>x</script>'
    row = work(error_code=206, error=error, num_examples=0.0, duration_s=0.0)
    bars, crosses = cohort_timeline(pd.DataFrame([work(partition_id=1), row])).data
    assert crosses.name == "failed"
    assert list(crosses.y) == ["partition 0"]
    assert list(crosses.x) == [0.0]
    assert "ValueError: &lt;script&gt;" in crosses.text[0]
    assert "Traceback" not in crosses.text[0]
    assert "(error 206)" in crosses.text[0]
    assert bars.marker.color[0] != bars.marker.color[1]


def test_rounds_are_marked_from_first_start_to_last_end() -> None:
    """Odd rounds have a stripe, every round its number."""
    later = START + pd.Timedelta(seconds=5)
    rows = [
        work(),
        work(partition_id=1, duration_s=4.0),
        work(server_round=2, started_at=later),
    ]
    layout = cohort_timeline(pd.DataFrame(rows)).layout
    (stripe,) = layout.shapes
    assert (stripe.x0, stripe.x1) == (0.0, 4.0)
    assert [note.text for note in layout.annotations] == ["round 1", "round 2"]


def test_four_lanes_are_named_and_a_hundred_stay_readable() -> None:
    """Every lane has room; only every tenth name is printed when there are many."""
    few = cohort_timeline(pd.DataFrame([work(partition_id=at) for at in range(4)])).layout
    assert len(few.yaxis.tickvals) == 4
    many = cohort_timeline(
        pd.DataFrame([work(partition_id=at) for at in range(100)])
    ).layout
    assert list(many.yaxis.tickvals) == [f"partition {at}" for at in range(0, 100, 10)]
    assert many.height > few.height + 500
    assert tuple(many.yaxis.range) == (99.5, -0.5)


def test_nobody_yet_gives_words() -> None:
    """The first replies may be minutes away."""
    empty = pd.DataFrame([work()]).iloc[:0]
    assert (
        cohort_timeline(empty).layout.annotations[0].text == "No client has answered yet."
    )


def test_wrong_frames_are_refused() -> None:
    """A missing column is named; two runs do not share a time axis."""
    frame = pd.DataFrame([work(), work(run_id="b")])
    with pytest.raises(ViewError, match="holds 2: a, b"):
        cohort_timeline(frame)
    with pytest.raises(ViewError, match="started_at"):
        cohort_timeline(frame.drop(columns="started_at"))
