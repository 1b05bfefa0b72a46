"""A metric's course is thinned fairly, and its sparkline tells the truth."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.boards.run.cohort import MOST_SQUARES, Cohort
from flip_lab.boards.run.series import MOST_POINTS, Series
from flip_lab.boards.run.snapshot import bytes_text, counted, duration_text, shortened, tail
from flip_lab.boards.run.spark import sparkline

EMPTY = Series(name="eval_loss", phase="evaluate", scope="federated")


@given(
    some=st.lists(st.floats(allow_nan=True, width=32), min_size=1, max_size=30),
    times=st.integers(1, 25),
)
def test_thinning_keeps_first_last_and_even_steps(some: list[float], times: int) -> None:
    """Bounded, evenly spaced, and the ends are the ends."""
    values = some * times
    series = EMPTY
    for at, value in enumerate(values):
        series = series.add(at, value)
    shown = series.shown()
    rounds = [at for at, _ in shown]
    assert len(shown) <= MOST_POINTS + 1
    assert (rounds[0], rounds[-1]) == (0, len(values) - 1)
    assert rounds[:-1] == list(range(0, len(values), series.stride))[: len(rounds) - 1]
    finite = [value for value in values if math.isfinite(value)]
    assert (series.best[1] if series.best else None) == (min(finite) if finite else None)


def test_best_of_an_accuracy_is_the_largest_and_the_first_of_equals() -> None:
    """The name decides what is better, as in the results table."""
    series = Series(name="eval_accuracy", phase="evaluate", scope="central")
    for at, value in enumerate([0.1, 0.9, 0.9, 0.3]):
        series = series.add(at, value)
    assert series.tile()["best"] == "best 0.9, round 1"


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([0.0, 0.5, 1.0], "▁▅█"),
        ([2.0, 2.0], "▄▄"),
        ([None, None], "××"),
        ([1.0, None, 0.0], "█×▁"),
        ([-1.7e308, 1.7e308], "▁█"),
        ([], ""),
    ],
)
def test_sparklines(values: list[float | None], drawn: str) -> None:
    """Lowest to highest; flat, diverged, huge and no values have their look."""
    assert sparkline(values) == drawn


@given(
    size=st.integers(1, 20_000), done=st.integers(0, 20_000), failed=st.integers(0, 20_000)
)
def test_squares_stay_few_and_never_hide_a_failure(
    size: int, done: int, failed: int
) -> None:
    """At most 200 squares; one failure among thousands still has its square."""
    done = min(done, size)
    failed = min(failed, size - done)
    cohort = Cohort(server_round=1, phase="train").ask(tuple(range(size)))
    for node in range(done + failed) if size <= MOST_SQUARES else ():
        cohort = cohort.answer([(node, node < failed)])
    if size > MOST_SQUARES:
        cohort = Cohort(server_round=1, phase="train", size=size, done=done, failed=failed)
    strip = cohort.strip()
    assert 1 <= len(strip["squares"]) <= MOST_SQUARES
    assert ("f" in strip["squares"]) == (failed > 0)
    assert ("r" in strip["squares"]) == (done + failed < size) or size > MOST_SQUARES
    assert (strip["size"], strip["done"], strip["failed"]) == (size, done, failed)


def test_a_reply_nobody_waited_for_is_counted() -> None:
    """A client that was never asked makes the cohort one larger, and breaks nothing."""
    cohort = Cohort(server_round=1, phase="train").answer([(5, False)])
    assert (cohort.size, cohort.done, cohort.answered_ratio) == (1, 1, 1.0)
    assert cohort.strip()["squares"] == "d"


def test_words_for_numbers() -> None:
    """Durations, sizes, counts and cut texts as people read them."""
    assert [duration_text(s) for s in (-1, 59.9, 187, 7509)] == [
        "0 s",
        "59 s",
        "3:07 min",
        "2:05:09 h",
    ]
    assert [bytes_text(b) for b in (0, 999, 1000, 1023 * 1024, 5e15)] == [
        "0 B",
        "999 B",
        "0.977 KiB",
        "0.999 MiB",
        "4.55e+03 TiB",
    ]
    assert (counted(1, "reply", "replies"), counted(1204, "a", "b")) == (
        "1 reply",
        "1,204 b",
    )
    assert (shortened("abcdef", 4), tail("abcdef", 4)) == ("abc…", "…def")
    assert (shortened("abcd", 4), tail("abcd", 4)) == ("abcd", "abcd")
