"""Policies of rounds: how many are needed, how many are asked besides, what is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.errors import InvalidValueError, UnknownKeyError
from flip_lab.core.policy import RoundPolicy, policy_changes, policy_value

_QUORUMS = st.one_of(
    st.none(),
    st.integers(1, 1000),
    st.floats(0, 1, exclude_min=True, allow_subnormal=False),
)


@given(_QUORUMS, st.integers(1, 10_000))
def test_a_share_needs_at_least_one_and_at_most_all(
    quorum: float | None, num_asked: int
) -> None:
    """A number of nodes stands as it is; a share never asks for more than there are."""
    needed = RoundPolicy(quorum=quorum).num_needed(num_asked)
    if isinstance(quorum, int):
        assert needed == quorum
    else:
        assert 1 <= needed <= num_asked


@pytest.mark.parametrize(
    ("quorum", "num_asked", "needed"),
    [(None, 10, 1), (0.7, 10, 7), (0.71, 10, 8), (1.0, 3, 3), (1, 3, 1), (0.001, 3, 1)],
)
def test_a_share_is_rounded_up_but_not_for_a_float_s_sake(
    quorum: float | None, num_asked: int, needed: int
) -> None:
    """Seven tenths of ten are seven, whatever 0.7 * 10 is in binary."""
    assert RoundPolicy(quorum=quorum).num_needed(num_asked) == needed


def test_more_nodes_are_a_share_of_the_cohort() -> None:
    """Three tenths more than ten are three; of one, still one."""
    assert RoundPolicy(over_selection=0.3).num_more(10) == 3
    assert RoundPolicy(over_selection=0.3).num_more(1) == 1
    assert RoundPolicy().num_more(10) == 0


@pytest.mark.parametrize(
    "given",
    [
        {"deadline_s": 0},
        {"deadline_s": -1},
        {"deadline_s": math.inf},
        {"deadline_s": math.nan},
        {"deadline_s": "soon"},
        {"deadline_s": True},
        {"quorum": 0},
        {"quorum": 0.0},
        {"quorum": 1.5},
        {"quorum": -2},
        {"quorum": True},
        {"quorum": math.nan},
        {"over_selection": -0.1},
        {"over_selection": 11},
        {"over_selection": math.nan},
        {"over_selection": None},
        {"late": "keep"},
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, Any]) -> None:
    """The message names the value and what to give in its place."""
    with pytest.raises(InvalidValueError) as caught:
        RoundPolicy(**given)
    assert repr(next(iter(given.values()))) in caught.value.what


@given(_QUORUMS, st.floats(0, 10))
def test_a_policy_comes_back_from_json_as_it_was(
    quorum: float | None, over_selection: float
) -> None:
    """A share of 1.0 and one node stay two different things."""
    policy = RoundPolicy(deadline_s=2.5, quorum=quorum, over_selection=over_selection)
    again = RoundPolicy.from_json(json.loads(json.dumps(policy.to_json())))
    assert again == policy
    assert type(again.quorum) is type(policy.quorum)


def test_an_unknown_part_is_named() -> None:
    """A typing error in a file must not be ignored."""
    with pytest.raises(UnknownKeyError, match="deadline_s"):
        RoundPolicy.from_json({"deadlin_s": 3})


@pytest.mark.parametrize(
    ("text", "value"),
    [("20", 20), (" 1.0 ", 1.0), ("3", 3), ("1e1", 10.0), ("", None), ("None", None)],
)
def test_a_value_is_read_as_a_person_writes_it(text: str, value: float | None) -> None:
    """A point makes a share of a number of nodes."""
    found = policy_value("quorum", text)
    assert (found, type(found)) == (value, type(value))
    with pytest.raises(InvalidValueError, match="quorum"):
        policy_value("quorum", "a few")
    assert policy_value("over_selection", "") == 0.0


def test_a_change_leaves_the_rest_as_it_was() -> None:
    """A whole policy changes everything; what cannot be meant is refused."""
    policy = RoundPolicy(deadline_s=9.0, quorum=3)
    assert policy.changed({"quorum": None}) == RoundPolicy(deadline_s=9.0)
    assert policy_changes(None, {"quorum": 0.5}) == {"quorum": 0.5}
    assert RoundPolicy(over_selection=2.0).changed(policy_changes(policy, {})) == policy
    assert policy.words() == "deadline_s=9.0, quorum=3"
    assert RoundPolicy().words() == "wait for every reply"
    with pytest.raises(UnknownKeyError, match="dead_line"):
        policy_changes(policy, {"dead_line": 1})
