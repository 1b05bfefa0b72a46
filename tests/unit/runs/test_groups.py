"""Names, tags and notes as people type them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.errors import InvalidValueError
from flip_lab.runs.groups import LONGEST_NAME, Group, group_of, name_of, note_of, tags_of

PRINTABLE = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20
)


@given(name=PRINTABLE, before=st.sampled_from(["", " ", "\t\n"]))
def test_a_name_is_what_was_typed(name: str, before: str) -> None:
    """But for the space around it, and in one form; checked again it stays."""
    found = name_of("A tag", f"{before}{name} ")
    assert found == unicodedata.normalize("NFC", name)
    assert name_of("A tag", found) == found


@given(name=st.text(max_size=10))
def test_a_name_is_checked_or_refused(name: str) -> None:
    """Never changed into something that cannot be typed again."""
    try:
        found = name_of("A sweep", name)
    except InvalidValueError:
        return
    assert found.isprintable()
    assert found == found.strip()
    found.encode()


def test_a_name_has_its_length() -> None:
    """One character more is too long."""
    assert name_of("A tag", "x" * LONGEST_NAME)
    with pytest.raises(InvalidValueError):
        name_of("A tag", "x" * (LONGEST_NAME + 1))


def test_the_same_tag_twice_is_once() -> None:
    """In the order given."""
    assert tags_of(["b", "a", " b"]) == ("b", "a")


@given(text=st.text(st.characters(codec="utf-8"), max_size=50))
def test_a_note_is_any_text(text: str) -> None:
    """As it is, with line breaks and spaces."""
    assert note_of(text) == text


def test_a_launch_may_say_nothing() -> None:
    """One tag need not stand in a list."""
    assert group_of(None, None, (), "") == Group()
    assert group_of("x", "s", "paper", "n").tags == ("paper",)
