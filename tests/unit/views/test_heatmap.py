"""The heat map of clients: every client is somewhere, at any number of them."""

# plotly ships no types
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from flip_lab.core.errors import ViewError
from flip_lab.views import client_heatmap
from flip_lab.views.heatmap_cells import Order


def reported(grid: Any, *, phase: str = "evaluate") -> pd.DataFrame:  # noqa: ANN401  # like an array
    """Give rows of ``client_metrics`` from clients by rounds; a ``None`` did not report."""
    return pd.DataFrame(
        [
            {
                "run_id": "a",
                "server_round": server_round,
                "phase": phase,
                "node_id": 2**63 + client,
                "partition_id": client,
                "name": "eval_accuracy",
                "value": value,
            }
            for client, row in enumerate(grid)
            for server_round, value in enumerate(row, 1)
            if value is not None
        ]
    )


def drawn(figure: Any, name: str = "eval_accuracy") -> Any:  # noqa: ANN401  # plotly ships no types
    """Give the one trace of this name."""
    (found,) = [trace for trace in figure.data if trace.name == name]
    return found


def test_rows_rise_by_mean_value_and_a_hole_stays_a_hole() -> None:
    """Worked by hand: the best client on top, what nobody reported is NaN."""
    figure = client_heatmap(
        reported([[0.9, 0.9], [0.1, None], [0.5, 0.6]]), "eval_accuracy"
    )
    cells = drawn(figure)
    assert list(cells.y) == ["partition 1", "partition 2", "partition 0"]
    np.testing.assert_allclose(
        cells.z, [[0.1, math.nan], [0.5, 0.6], [0.9, 0.9]], rtol=1e-6
    )
    assert cells.hoverongaps is False
    assert "no report" in {trace.name for trace in figure.data}
    assert "3 clients" in figure.layout.title.subtitle.text


def test_partitions_are_read_from_the_top() -> None:
    """Order by partition puts number 0 where reading begins."""
    grid = [[0.2], [0.9], [0.1]]
    cells = drawn(client_heatmap(reported(grid), "eval_accuracy", order="partition"))
    assert list(cells.y) == ["partition 2", "partition 1", "partition 0"]


def test_like_courses_lie_together() -> None:
    """Two kinds of course, mixed by number, are apart after ordering by course."""
    rising, falling = [0.1, 0.5, 0.9], [0.9, 0.5, 0.1]
    grid = [rising, falling, rising, falling, rising, falling]
    cells = drawn(client_heatmap(reported(grid), "eval_accuracy", order="cluster"))
    parity = [int(str(row).split()[1]) % 2 for row in cells.y]
    assert parity in ([0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0])


def test_a_diverged_report_has_a_colour_of_its_own_and_lies_on_top() -> None:
    """NaN that was reported is not the same as no report."""
    figure = client_heatmap(
        reported([[0.1, math.nan], [0.9, 0.9], [0.5, math.inf]]), "eval_accuracy"
    )
    lost = drawn(figure, "diverged")
    assert list(lost.y) == ["partition 1", "partition 0", "partition 2"]
    np.testing.assert_array_equal(np.isfinite(lost.z), [[0, 0], [0, 1], [0, 1]])
    assert "diverged (NaN or ∞)" in {trace.name for trace in figure.data}
    assert "no report" not in {trace.name for trace in figure.data}


def test_one_outlier_does_not_bleach_the_others() -> None:
    """Colours span the middle of the values, and the scale's end says so."""
    grid = np.linspace(0.1, 0.9, 400).reshape(20, 20)
    grid[3, 3] = 1e6
    cells = drawn(client_heatmap(reported(grid), "eval_accuracy"))
    assert 0.1 < cells.zmin < cells.zmax < 0.95
    assert cells.colorbar.ticktext[-1].startswith("≥ ")
    assert np.nanmax(np.asarray(cells.z)) == pytest.approx(1e6)


def test_equal_values_still_have_a_scale() -> None:
    """A span of nothing would be no scale."""
    cells = drawn(client_heatmap(reported([[0.5], [0.5]]), "eval_accuracy"))
    assert cells.zmin < 0.5 < cells.zmax


def test_many_clients_share_rows_and_the_figure_stays_light() -> None:
    """Ten thousand clients are 200 rows of 50, said so; the hover knows all."""
    rng = np.random.default_rng(0)
    values = rng.random((10_000, 4))
    clients, rounds = np.indices(values.shape)
    frame = pd.DataFrame(
        {
            "run_id": "a",
            "server_round": rounds.ravel() + 1,
            "phase": "evaluate",
            "node_id": clients.ravel(),
            "partition_id": clients.ravel(),
            "name": "eval_accuracy",
            "value": values.ravel(),
        }
    )
    figure = client_heatmap(frame, "eval_accuracy")
    cells = drawn(figure)
    assert np.asarray(cells.z).shape == (200, 4)
    assert "10,000 clients · evaluate · 200 rows of 50 clients (median)" in (
        figure.layout.title.subtitle.text
    )
    facts = np.asarray(cells.customdata)
    assert facts[..., 2].sum() == values.size
    assert facts[..., 0].min() == pytest.approx(values.min())
    assert len(str(figure.to_json())) < 200_000


def test_the_median_of_a_shared_row_is_right() -> None:
    """400 clients in pairs: each row shows the middle of its two."""
    frame = reported([[client / 1000] for client in range(400)])
    cells = drawn(client_heatmap(frame, "eval_accuracy", order="partition"))
    middles = np.asarray(cells.z)[:, 0]
    np.testing.assert_allclose(middles, (np.arange(398, -1, -2) + 0.5) / 1000, rtol=1e-5)


def test_many_rounds_share_columns() -> None:
    """A thousand rounds are not a thousand columns, and the subtitle says so."""
    frame = reported(np.linspace(0, 1, 2000).reshape(2, 1000))
    figure = client_heatmap(frame, "eval_accuracy")
    assert np.asarray(drawn(figure).z).shape == (2, 334)
    assert "columns of 3 rounds (median)" in figure.layout.title.subtitle.text


def test_nodes_of_one_name_are_told_apart() -> None:
    """Two rows of one name would be drawn as one."""
    frame = reported([[0.1], [0.9]]).assign(node="clinic")
    rows = list(drawn(client_heatmap(frame, "eval_accuracy")).y)
    assert rows[0].startswith("clinic (partition 0, node ")
    assert len(set(rows)) == 2


def test_evaluate_is_preferred_and_train_can_be_chosen() -> None:
    """A name reported in both phases is never mixed."""
    both = pd.concat([reported([[0.1]], phase="train"), reported([[0.9]])])
    assert np.asarray(drawn(client_heatmap(both, "eval_accuracy")).z).item() == (
        pytest.approx(0.9)
    )
    train = client_heatmap(both, "eval_accuracy", phase="train")
    assert np.asarray(drawn(train).z).item() == pytest.approx(0.1)


def test_rows_of_any_index_and_dtype_are_understood() -> None:
    """A filtered frame has gaps in its index, Arrow gives columns that can miss values."""
    frame = reported([[0.1, 0.2], [0.3, 0.4]])
    frame.index = pd.Index([7, 7, 9, 1])
    frame["value"] = pd.array([None, 0.2, 0.3, 0.4], dtype="Float64")
    figure = client_heatmap(frame, "eval_accuracy", theme="dark")
    assert np.isfinite(np.asarray(drawn(figure).z)).sum() == 3


def test_what_cannot_be_drawn_is_said() -> None:
    """Nothing yet is words; several runs, another order and missing columns are errors."""
    frame = reported([[0.1]])
    empty = client_heatmap(frame, "eval_loss")
    assert empty.layout.annotations[0].text == "No client has reported eval_loss yet."
    two = pd.concat([frame, frame.assign(run_id="b")])
    with pytest.raises(ViewError, match="holds 2: a, b"):
        client_heatmap(two, "eval_accuracy")
    with pytest.raises(ViewError, match=r"no order 'valeu'.*'value'"):
        client_heatmap(frame, "eval_accuracy", order=cast("Order", "valeu"))
    with pytest.raises(ViewError, match="partition_id"):
        client_heatmap(frame.drop(columns="partition_id"), "eval_accuracy")
