"""Choices of nodes: the grammar, what fits, what is refused and where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.cohort import NodeChoice, NodeFacts
from flip_lab.core.errors import CohortError

BERLIN = NodeFacts(name="berlin", tags=frozenset({"eu", "slow"}), partition_id=0)
PARIS = NodeFacts(name="paris", tags=frozenset({"eu", "gpu"}), partition_id=1)
BOSTON = NodeFacts(name="boston", tags=frozenset({"us", "gpu-a100"}), partition_id=2)
NODES = (BERLIN, PARIS, BOSTON)


def chosen(text: str) -> list[str]:
    """Name those of the three that fit."""
    choice = NodeChoice.parse(text)
    return [node.name for node in NODES if choice.fits(node)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("eu", ["berlin", "paris"]),
        ("eu and not slow", ["paris"]),
        ("EU", []),
        ("eu AND NOT slow", ["paris"]),
        ("not eu", ["boston"]),
        ("not not eu", ["berlin", "paris"]),
        ("us or eu and slow", ["berlin", "boston"]),
        ("(us or eu) and slow", ["berlin"]),
        ("berlin, boston", ["berlin", "boston"]),
        ("eu and not slow, us", ["paris", "boston"]),
        ("name:b*", ["berlin", "boston"]),
        ("name:?aris", ["paris"]),
        ("tag:gpu*", ["paris", "boston"]),
        ("gpu-a100", ["boston"]),
        ("0-1", ["berlin", "paris"]),
        ("0, 2", ["berlin", "boston"]),
        ("0-2 and gpu", ["paris"]),
        ("3-9", []),
    ],
)
def test_a_choice_fits_whom_it_says(text: str, names: list[str]) -> None:
    """'and' binds closer than 'or', and both closer than a comma."""
    assert chosen(text) == names


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("", "no choice"),
        ("   ", "no choice"),
        ("eu and", "at its end"),
        ("and eu", "character 1"),
        ("eu eu", "character 4"),
        ("(eu", "closing bracket"),
        ("eu)", "character 3"),
        ("eu,,us", "character 4"),
        ("not", "at its end"),
        ("x" * 1001, "no choice"),
        ("(" * 200 + "eu" + ")" * 200, "fewer brackets"),
        ("not " * 200 + "eu", "fewer brackets"),
    ],
)
def test_what_is_no_choice_is_refused_with_its_place(text: str, at: str) -> None:
    """Deep nesting, too: no text may overflow the stack."""
    with pytest.raises(CohortError) as caught:
        NodeChoice.parse(text)
    assert at in caught.value.what


def test_a_choice_knows_whether_it_needs_names() -> None:
    """A simulation has partitions only."""
    assert NodeChoice.parse("0-3, 7").words == ()
    assert NodeChoice.parse("0-3, 7").has_partitions
    assert NodeChoice.parse("eu and name:b*").words == ("eu", "name:b*")
    assert not NodeChoice.parse("eu").has_partitions


@given(st.text(max_size=60))
def test_any_text_is_understood_or_refused(text: str) -> None:
    """Whatever a user writes, nothing but our own error comes of it."""
    try:
        choice = NodeChoice.parse(text)
    except CohortError:
        return
    for node in NODES:
        assert choice.fits(node) in {True, False}
