"""The label by node map: right counts, visible holes, natural order."""

# plotly ships no types
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from flip_lab.core.errors import ViewError
from flip_lab.views import partition_map


def split(rows: list[tuple[int, object, int]]) -> pd.DataFrame:
    """Give a frame of ``(partition_id, label, num_examples)``."""
    return pd.DataFrame(rows, columns=["partition_id", "label", "num_examples"])


def test_counts_stand_in_their_cells_and_holes_stay_empty() -> None:
    """A pair that does not occur, or occurs zero times, is no coloured cell."""
    figure = partition_map(split([(0, "healthy", 3), (1, "disease", 5), (1, "healthy", 0)]))
    cells, totals, distances = figure.data
    assert list(cells.x) == ["partition 0", "partition 1"]
    assert list(cells.y) == ["disease", "healthy"]
    np.testing.assert_array_equal(cells.z, [[np.nan, 5], [3, np.nan]])
    assert cells.hoverongaps is False
    assert list(totals.y) == [3, 5]
    np.testing.assert_allclose(distances.y, [5 / 8, 3 / 8])
    assert "distance 0.50 on average, Gini 0.12" in figure.layout.title.subtitle.text
    assert "2 nodes, 2 labels, 8 examples" in figure.layout.title.subtitle.text


def test_rows_of_one_pair_are_added_up() -> None:
    """A train and a test row of the same pair make one count."""
    cells = partition_map(split([(0, 1, 2), (0, 1, 3)])).data[0]
    np.testing.assert_array_equal(cells.z, [[5]])


def test_labels_and_nodes_come_in_natural_order() -> None:
    """Ten comes after nine, for labels and for partitions."""
    cells = partition_map(split([(10, 10, 1), (9, 9, 1), (2, 2, 1)])).data[0]
    assert list(cells.x) == ["partition 2", "partition 9", "partition 10"]
    assert list(cells.y) == ["2", "9", "10"]


def test_names_of_nodes_and_labels_are_shown_and_escaped() -> None:
    """The optional column ``node`` names the columns."""
    cells = partition_map(split([(0, "<i>", 1)]).assign(node="Hungary")).data[0]
    assert (list(cells.x), list(cells.y)) == (["Hungary"], ["&lt;i&gt;"])


def test_few_nodes_show_counts_many_show_every_tenth_name() -> None:
    """Numbers are printed where they fit; a hundred nodes stay readable."""
    few = partition_map(split([(node, 0, 1) for node in range(4)]))
    assert few.data[0].texttemplate
    assert list(few.layout.xaxis.ticktext) == ["0", "1", "2", "3"]
    assert few.layout.xaxis.title.text == "partition"
    many = partition_map(split([(node, 0, 1) for node in range(100)]))
    assert not many.data[0].texttemplate
    assert list(many.layout.xaxis.ticktext) == [str(node) for node in range(0, 100, 10)]


def test_shares_are_of_the_node() -> None:
    """The hover text tells how skewed a node is, also for a node without examples."""
    cells = partition_map(split([(0, 0, 1), (0, 1, 3), (1, 0, 0)])).data[0]
    np.testing.assert_allclose(cells.customdata, [[0.25, 0], [0.75, 0]])


def test_no_partition_gives_words_and_a_missing_column_an_error() -> None:
    """Nothing yet is no mistake; a wrong frame is one."""
    empty = split([])
    assert "not been split" in partition_map(empty).layout.annotations[0].text
    with pytest.raises(ViewError, match="label"):
        partition_map(empty.drop(columns="label"))


def test_distances_can_be_others_or_left_out() -> None:
    """The map has its full height then."""
    frame = split([(0, 0, 4), (1, 1, 4)])
    kinds = [trace.type for trace in partition_map(frame, distance=None).data]
    assert kinds == ["heatmap", "bar"]
    shannon = partition_map(frame, distance="jensen_shannon").data[2]
    assert "Jensen-Shannon" in shannon.hovertemplate
    assert shannon.y[0] == shannon.y[1] < 1


def test_ten_thousand_nodes_have_readable_ticks() -> None:
    """About ten names, whatever the number of nodes."""
    many = partition_map(split([(node, 0, 1) for node in range(10_000)]))
    assert list(many.layout.xaxis.ticktext)[:3] == ["0", "1000", "2000"]
