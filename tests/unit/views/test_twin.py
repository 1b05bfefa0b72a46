"""The figures of a digital twin: what was foretold, what came, and what could be."""

# plotly ships no types
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flip_lab.analysis.fleet import Fleet
from flip_lab.analysis.fleet_facts import facts_of, workload_of
from flip_lab.analysis.twin_choice import WhatIf
from flip_lab.analysis.twin_prediction import predict
from flip_lab.analysis.twin_scores import TwinComparison, compare
from flip_lab.core.errors import ViewError
from flip_lab.testing.recorded_run import KnownNode, RecordedRun
from flip_lab.views import (
    federation_timeline,
    node_profiles,
    twin_messages,
    twin_rounds,
    what_if_figure,
)
from flip_lab.views.theme import Figure

RUN = RecordedRun(
    nodes=[
        KnownNode(compute_s=1.0),
        KnownNode(compute_s=2.0, error_rate=0.2),
        KnownNode(compute_s=6.0),
    ],
    num_rounds=12,
    cohort_size=2,
)


@pytest.fixture(scope="module")
def comparison() -> TwinComparison:
    """Give six rounds learned from, and six foretold."""
    return compare(facts_of([RUN]), workload_of(RUN.events()))


def texts(figure: Figure) -> str:
    """Give all words of a figure."""
    return str(figure.to_json())


def test_rounds_lie_on_their_interval(comparison: TwinComparison) -> None:
    """Each observed round is drawn once; learned ones on a shaded ground."""
    rounds = comparison.rounds
    figure = twin_rounds(rounds)
    drawn = [trace for trace in figure.data if trace.mode == "markers"]
    seen = sorted(x for trace in drawn for x in trace.x)
    assert seen == sorted(rounds["server_round"])
    band, line = figure.data[:2]
    assert np.allclose(line.y[::2], rounds["predicted_s"])
    assert len(band.x) == 4 * len(rounds)
    assert figure.layout.shapes[0].x1 == 6.5
    judged = rounds[~rounds["is_learned"]]
    assert f"{int(judged['is_inside'].sum())} of 6 foretold rounds" in texts(figure)


def test_a_round_outside_its_interval_is_a_cross(comparison: TwinComparison) -> None:
    """Shape tells it, not colour alone."""
    rounds = comparison.rounds.assign(observed_s=1_000.0)
    [crosses] = [trace for trace in twin_rounds(rounds).data if trace.mode == "markers"]
    assert crosses.marker.symbol == "x"
    assert "took 1e+03 s" in crosses.text[0]


def test_a_replay_without_all_observed_rounds_is_drawn(comparison: TwinComparison) -> None:
    """A round that did not end has a prediction, and no point."""
    rounds = comparison.rounds.drop(columns="is_learned")
    rounds.loc[:, "observed_s"] = np.nan
    figure = twin_rounds(rounds)
    assert [trace.mode for trace in figure.data] == ["lines", "lines"]
    assert "nothing observed" in texts(figure)
    assert "No round" in texts(twin_rounds(rounds.head(0)))


def test_messages_have_a_lane_for_each_node(comparison: TwinComparison) -> None:
    """Only foretold ones are drawn; the right end says by how much each node is off."""
    figure = twin_messages(comparison.clients)
    assert list(figure.layout.yaxis.ticktext) == [
        "partition 0",
        "partition 1",
        "partition 2",
    ]
    points = [trace for trace in figure.data if str(trace.name).startswith("observed")]
    foretold = comparison.clients.query("phase == 'train' and not is_learned")
    assert sum(len(trace.x) for trace in points) == len(foretold)
    assert all("off by" in note.text for note in figure.layout.annotations)
    assert "No such message" in texts(twin_messages(comparison.clients, phase="query"))


def test_nodes_that_differ_a_hundredfold_are_on_a_log_axis(
    comparison: TwinComparison,
) -> None:
    """Otherwise the fast ones would be a dot at zero."""
    clients = comparison.clients.copy()
    assert twin_messages(clients).layout.xaxis.type is None
    slow = clients["partition_id"] == 2
    columns = ["predicted_s", "low_s", "high_s", "observed_s"]
    clients.loc[slow, columns] *= 500
    assert twin_messages(clients).layout.xaxis.type == "log"


def test_profiles_show_both_phases_and_who_failed() -> None:
    """Parts add up to the usual time; a node that never answered keeps its lane."""
    nodes = [*RUN.nodes, KnownNode(error_rate=1.0)]
    run = RecordedRun(nodes=nodes, num_rounds=8, tells_work=True)
    summary = Fleet.from_run(run).summary()
    figure = node_profiles(summary)
    bars = [trace for trace in figure.data if trace.type == "bar"]
    train = [trace for trace in bars if trace.xaxis == "x"]
    total = np.sum([trace.x for trace in train], axis=0)
    medians = summary[summary["phase"] == "train"]["median_s"]
    assert np.allclose(total[:3], medians)
    assert np.isnan(total[3])
    notes = [note.text for note in figure.layout.annotations]
    assert "<b>train</b>" in notes
    assert "<b>evaluate</b>" in notes
    assert "always there" in notes
    assert "100% failed" in notes
    assert "No node" in texts(node_profiles(summary.assign(phase="")))


def test_profiles_explain_only_what_they_draw() -> None:
    """No key for bytes that nobody measured; phases share a scale unless one gets tiny."""
    summary = Fleet.from_run(RUN).summary()
    assert "moving bytes" not in {trace.name for trace in node_profiles(summary).data}
    known = summary.assign(transfer_share_low=0.1)
    assert "moving bytes, at least" in {t.name for t in node_profiles(known).data}
    apart = node_profiles(summary).layout
    assert apart.xaxis.range[1] > 4 * apart.xaxis2.range[1]
    evaluate = summary["phase"] == "evaluate"
    for name in ("median_s", "low_s", "high_s"):
        summary.loc[evaluate, name] *= 4
    alike = node_profiles(summary).layout
    assert alike.xaxis.range == alike.xaxis2.range


def test_what_ifs_are_held_against_the_first() -> None:
    """It is the yardstick; the others say how much longer or shorter."""
    fleet, workload = Fleet.from_run(RUN), workload_of(RUN.events())
    questions = [
        WhatIf(),
        WhatIf(name="without the slowest", without=frozenset({2})),
        WhatIf(name="again"),
        WhatIf(name="all three", cohort_size=3),
    ]
    choices = pd.concat(
        [predict(fleet, workload, what_if=each).summary() for each in questions],
        ignore_index=True,
    )
    figure = what_if_figure(choices)
    facts = [note.text for note in figure.layout.annotations]
    assert facts[0].startswith(f"{choices['round_s'][0]:.3g} s")
    assert facts[1].startswith("−")  # noqa: RUF001  # a minus
    assert facts[2].startswith("no change")
    assert "of 3 count" in facts[3]
    never_failed = what_if_figure(choices.assign(num_replies=choices["num_asked"]))
    told = [note.text for note in never_failed.layout.annotations]
    assert told[3].endswith("· 3 asked")
    assert "asked" not in told[2], "as many as before"
    assert "count" in facts[0], "a fifth of one node's messages fail"
    assert figure.layout.shapes[0].x0 == choices["round_s"][0]
    assert "Nothing has been asked" in texts(what_if_figure(choices.head(0)))


def test_the_timeline_has_lanes_for_nodes_and_server() -> None:
    """Bars begin at the dispatch; an outage is shaded in the lane of its node."""
    away = {"code": "node_lost", "message": "…", "partition_id": 1, "node_id": 1_001}
    back = {**away, "code": "node_back"}
    run = RecordedRun(
        nodes=[KnownNode(compute_s=each, fixed_s=0.3) for each in (1.0, 2.0, 6.0)],
        num_rounds=4,
        tells_work=True,
        seed=3,
        warnings=[(2.0, away), (4.0, back)],
    )
    facts = facts_of([run])
    figure = federation_timeline(facts)
    assert list(figure.layout.yaxis.categoryarray)[-1] == "server"
    names = {trace.name for trace in figure.data}
    assert {"train: asked until replied", "train: the node's work", "away"} <= names
    server = next(trace for trace in figure.data if trace.name == "server alone")
    per_round = facts.rounds["duration_s"].sum() - sum(server.x)
    spans = facts.clients.groupby(["server_round", "phase"]).agg({"duration_s": "max"})
    assert per_round == pytest.approx(float(spans["duration_s"].sum()))
    [outage] = [shape for shape in figure.layout.shapes if shape.y1 - shape.y0 < 1]
    assert outage.x1 - outage.x0 == pytest.approx(2.0)
    assert (outage.y0 + outage.y1) / 2 == 1
    ended_s = facts.rounds["ended_s"].max() - facts.clients["sent_s"].min()
    assert figure.layout.xaxis.range == pytest.approx((0, ended_s))
    nobody = facts.between(90, 99)
    assert "Nobody" in texts(federation_timeline(nobody))


def test_stock_nodes_have_no_dark_part() -> None:
    """Nobody says how long they worked."""
    names = {trace.name for trace in federation_timeline(facts_of([RUN])).data}
    assert "train: asked until replied" in names
    assert "train: the node's work" not in names


FIGURES: list[tuple[Callable[..., Any], tuple[str, ...]]] = [
    (twin_rounds, ("server_round", "predicted_s", "low_s", "high_s")),
    (twin_messages, ("phase", "partition_id", "is_learned")),
    (node_profiles, ("partition_id", "phase")),
    (what_if_figure, ("name", "round_s")),
]


@pytest.mark.parametrize(("figure", "columns"), FIGURES)
def test_a_frame_that_lacks_a_column_is_refused(
    figure: Callable[..., Any], columns: tuple[str, ...]
) -> None:
    """The message names it."""
    with pytest.raises(ViewError, match=r"needs the column"):
        figure(pd.DataFrame({name: [1.0] for name in columns}))


def test_dark_figures_stand_on_dark_paper(comparison: TwinComparison) -> None:
    """All of them take the theme, and none has a colour of the other one's paper."""
    fleet = Fleet.from_run(RUN)
    drawn = [
        twin_rounds(comparison.rounds, theme="dark"),
        twin_messages(comparison.clients, theme="dark"),
        node_profiles(fleet.summary(), theme="dark"),
        what_if_figure(predict(fleet, workload_of(RUN.events())).summary(), theme="dark"),
        federation_timeline(facts_of([RUN]), theme="dark"),
    ]
    for figure in drawn:
        assert figure.layout.template.layout.paper_bgcolor == "#16181D"
    with pytest.raises(ViewError, match="no theme"):
        twin_rounds(comparison.rounds, theme="neon")  # pyright: ignore[reportArgumentType]
