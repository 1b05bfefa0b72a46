"""The page on statistics: the figures of its table are what scipy and statsmodels give."""

from __future__ import annotations

import re
from math import comb
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

_PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "statistics.md"
_ROW = re.compile(
    r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", re.MULTILINE
)
_ROWS = _ROW.findall(_PAGE.read_text(encoding="utf-8"))


def test_the_table_is_found() -> None:
    """Otherwise the test below would hold nothing."""
    assert [row[0] for row in _ROWS] == ["3", "4", "5", "6", "8", "10"]


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: f"{row[0]} seeds")
def test_what_few_seeds_can_show(row: tuple[str, ...]) -> None:
    """Half width of the interval, effect of power 0.8, smallest p of both rank tests."""
    number = int(row[0])
    width, effect, signed, split = (float(cell) for cell in row[1:])
    assert width == pytest.approx(stats.t.ppf(0.975, number - 1) / number**0.5, abs=0.006)
    power: Any = TTestPower().power(effect, number, 0.05)
    assert power == pytest.approx(0.8, abs=0.01)
    assert signed == pytest.approx(2 ** (1 - number), rel=0.03)
    assert split == pytest.approx(2 / comb(2 * number, number), rel=0.04)
