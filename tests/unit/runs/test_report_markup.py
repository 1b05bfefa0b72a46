"""Markup: nothing that is shown can end the element that it stands in."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.runs.report_markup import (
    Html,
    cell,
    code,
    duration,
    element,
    facts,
    is_missing,
    section,
    size,
    table,
)


class Reader(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember a tag and what its attributes say."""
        self.tags.append(tag)
        self.text += [value for _, value in attrs if value]

    def handle_data(self, data: str) -> None:
        """Remember text."""
        self.text.append(data)


def read(html: Html) -> Reader:
    """Read markup as a browser would."""
    reader = Reader()
    reader.feed(html.text)
    reader.close()
    return reader


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1))
def test_any_text_is_text(words: str) -> None:
    """Whatever a run is called, there is one element, and its text is the name."""
    reader = read(element("p", words, title=words))
    assert reader.tags == ["p"]
    assert "".join(reader.text) == words * 2


def test_markup_that_was_made_here_is_kept() -> None:
    """Elements go into elements as they are, text beside them is escaped."""
    inner = element("b", "<i>")
    assert element("p", inner, "&", class_="note").text == (
        '<p class="note"><b>&lt;i&gt;</b>&amp;</p>'
    )
    assert element("br").text == "<br>"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (math.nan, "–"),
        (pd.NA, "–"),
        (pd.NaT, "–"),
        (np.float64("nan"), "–"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
        (True, "yes"),
        (np.bool_(False), "no"),
        (1234567, "1,234,567"),
        (np.int64(3), "3"),
        (0.123456789, "0.12346"),
        (np.float32(0.5), "0.5"),
        ("0.10", "0.10"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02 03:04:05 UTC"),
        (pd.Timestamp("2026-01-02T03:04:05", tz="UTC"), "2026-01-02 03:04:05 UTC"),
    ],
)
def test_cells_of_any_kind_are_shown_in_brief(value: object, shown: str) -> None:
    """Frames hold numpy's, pandas' and Python's values; text is never a number."""
    assert cell(value) == shown
    assert is_missing(value) == (shown == "–")


def test_columns_of_numbers_stand_to_the_right() -> None:
    """A missing value does not make a column of text; text does."""
    made = table(("n", "word", "size"), [(1, "a", size(10)), (None, 2, None)]).text
    assert made.count('<th class="number">') == 2
    assert "<th>word</th>" in made
    assert made.count('<td class="number">') == 4


def test_a_long_table_says_how_much_is_left_out() -> None:
    """A thousand rows are counted, not printed."""
    made = table(("n",), [(at,) for at in range(12)], most=10).text
    assert made.count("<tr>") == 12
    assert "2 more rows are not shown." in made


def test_facts_leave_out_what_is_missing() -> None:
    """A list of dashes says nothing; a section says its sentence."""
    made = facts([("Seed", 3), ("Note", ""), ("Parent", None)]).text
    assert made == '<dl class="facts"><dt>Seed</dt><dd>3</dd></dl>'
    assert '<p class="note">why</p>' in section("Title", note="why").text


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0 bytes"),
        (1023, "1,023 bytes"),
        (1536, "1.5 KiB"),
        (5 * 1024**5, "5.12e+03 TiB"),
    ],
)
def test_sizes_read_as_people_say_them(number: float, shown: str) -> None:
    """Binary units, three digits."""
    assert size(number).text == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.00123, "1.23 ms"), (12.3456, "12.3 s"), (72, "1 min 12 s"), (3725, "1 h 2 min")],
)
def test_durations_read_as_people_say_them(seconds: float, shown: str) -> None:
    """From milliseconds to hours."""
    assert duration(seconds).text == shown


def test_a_missing_hash_is_a_dash() -> None:
    """Code is for what there is."""
    assert code(None) == "–"
    assert code("<a>") == Html("<code>&lt;a&gt;</code>")
