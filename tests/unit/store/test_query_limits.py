"""A question may cost so much, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from flip_lab.core.errors import QueryError
from flip_lab.store.layout import LabDir, open_lab
from flip_lab.store.query import sql
from flip_lab.store.query_limits import Limits

ENDLESS = "SELECT count(*) FROM range(100000000000) t(a) WHERE a % 7 = 3"


@pytest.fixture
def lab(tmp_path: Path) -> LabDir:
    """Give an empty lab."""
    return open_lab(tmp_path / "lab")


def test_rows_beyond_the_limit_are_left_out(lab: LabDir) -> None:
    """The first ones are given, in order, whatever kind of question it is."""
    few = Limits(time_s=60, rows=3)
    rows = sql(lab, "FROM range(10) t(a) ORDER BY a DESC", as_="rows", limits=few)
    assert [row["a"] for row in rows] == [9, 8, 7]
    assert len(sql(lab, "FROM range(2)", as_="rows", limits=few)) == 2
    assert len(sql(lab, "DESCRIBE runs", as_="rows", limits=few)) == 3
    assert len(sql(lab, "EXPLAIN SELECT 1", as_="rows", limits=few)) == 1
    assert len(sql(lab, "FROM range(10)", as_="rows")) == 10


def test_a_question_that_takes_too_long_is_stopped(lab: LabDir) -> None:
    """It says so; others are answered before and after."""
    with pytest.raises(QueryError, match=r"took longer than 0\.1 s"):
        sql(lab, ENDLESS, as_="rows", limits=Limits(time_s=0.1, rows=1))
    assert sql(lab, "SELECT 1 AS a", as_="rows") == [{"a": 1}]
