"""Spans: the run above its rounds above their clients, failures outlined."""

# plotly ships no types
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from flip_lab.core.errors import ViewError
from flip_lab.views import span_timeline

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def span(  # as many as a row has
    span_id: str,
    name: str,
    *,
    parent: str | None,
    start_s: float = 0.0,
    status: str = "ok",
    attributes: Any = None,  # noqa: ANN401  # JSON text, a mapping or nothing
) -> dict[str, Any]:
    """Give one row of the table ``spans``, a second long."""
    return {
        "run_id": "a",
        "span_id": span_id,
        "parent_span_id": parent,
        "name": name,
        "started_at": BEGAN + timedelta(seconds=start_s),
        "duration_s": 1.0,
        "status": status,
        "attributes": attributes,
    }


def lanes(figure: Any) -> list[str]:  # noqa: ANN401  # plotly ships no types
    """Give the lanes from above."""
    return list(figure.layout.yaxis.categoryarray)


def test_lanes_follow_the_tree_and_clients_have_their_own() -> None:
    """Rows come in any order; parents stand above their parts, nodes in natural order."""
    rows = [
        span("c", "client", parent="1", attributes='{"partition_id": 10}'),
        span("d", "client", parent="1", attributes={"partition_id": 9}),
        span("1", "round 1", parent="r", start_s=2.0),
        span("r", "run", parent=None),
    ]
    figure = span_timeline(pd.DataFrame(rows))
    assert lanes(figure) == [
        "run",
        "round",
        "client · partition 9",
        "client · partition 10",
    ]
    (bar,) = [trace for trace in figure.data if trace.name == "round"]
    assert (list(bar.base), list(bar.x)) == ([2.0], [1.0])
    assert "round 1" in bar.text[0]


def test_a_failure_is_outlined_and_counted() -> None:
    """What went wrong is seen without asking."""
    rows = [span("r", "run", parent=None), span("c", "client", parent="r", status="error")]
    figure = span_timeline(pd.DataFrame(rows), theme="dark")
    (bar,) = [trace for trace in figure.data if trace.name == "client"]
    assert list(bar.marker.line.width) == [2.5]
    assert "2 spans, 1 not well" in figure.layout.title.subtitle.text


def test_of_many_lanes_the_busiest_are_drawn() -> None:
    """A thousand nodes are no timeline; the subtitle says what is there."""
    rows = [span("r", "run", parent=None)] + [
        span(str(at), "client", parent="r", attributes={"node": f"n{at}"})
        for at in range(100)
    ]
    figure = span_timeline(pd.DataFrame(rows))
    assert len(lanes(figure)) == 60
    assert "longest in the 60 busiest lanes" in figure.layout.title.subtitle.text


def test_odd_spans_are_drawn_all_the_same() -> None:
    """A loop of parents, a lost parent, no duration, broken attributes, markup."""
    rows = [
        span("x", "<b>x", parent="y", attributes="{"),
        span("y", "y", parent="x", attributes="[1]"),
        span("z", "z", parent="gone"),
    ]
    frame = pd.DataFrame(rows)
    frame["duration_s"] = pd.array([None, 1.0, 2.0], dtype="Float64")
    figure = span_timeline(frame)
    assert {"&lt;b&gt;x", "y", "z"} == set(lanes(figure))


def test_nothing_gives_words_and_two_runs_an_error() -> None:
    """Nothing yet is no error; the times of two runs do not go together."""
    frame = pd.DataFrame([span("r", "run", parent=None)])
    assert "No span" in span_timeline(frame.head(0)).layout.annotations[0].text
    with pytest.raises(ViewError, match="holds 2"):
        span_timeline(pd.concat([frame, frame.assign(run_id="b")]))
    with pytest.raises(ViewError, match="status"):
        span_timeline(frame.drop(columns="status"))
