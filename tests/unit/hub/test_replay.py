"""Signatures that count once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flip_lab.hub.replay import Once

NOW = 1_000_000.0
marks = st.tuples(st.integers(-300, 300), st.integers(0, 3))


@given(st.lists(marks, max_size=60), st.integers(1, 20))
def test_nothing_is_taken_twice_however_little_is_remembered(
    given: list[tuple[int, int]], most: int
) -> None:
    """Whatever is forgotten for lack of room is refused, never taken again."""
    once, taken = Once(300.0, most=most), list[tuple[int, int]]()
    for offset, number in given:
        if once.is_new(NOW + offset, number, now_s=NOW):
            taken.append((offset, number))
        assert len(once) <= most
    assert len(taken) == len(set(taken))


@given(st.lists(marks, max_size=60, unique=True))
def test_what_is_new_is_taken_while_there_is_room(given: list[tuple[int, int]]) -> None:
    """Order does not matter, nor that two were signed at the same time."""
    once = Once(300.0)
    assert all(once.is_new(NOW + offset, number, now_s=NOW) for offset, number in given)


def test_what_its_time_refuses_is_forgotten() -> None:
    """Memory empties as times leave the window."""
    once = Once(300.0)
    for second in range(1000):
        assert once.is_new(NOW + second, 1, now_s=NOW + second)
    assert len(once) == 301
