"""The life of a run: every step there is, and none besides."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.errors import IllegalTransitionError
from flip_lab.core.state import RunLife, RunState

LEGAL = {
    ("pending", "starting"),
    ("pending", "failed"),
    ("pending", "stopped"),
    ("starting", "running"),
    ("starting", "failed"),
    ("starting", "stopped"),
    ("running", "paused"),
    ("running", "completed"),
    ("running", "failed"),
    ("running", "stopped"),
    ("paused", "running"),
    ("paused", "failed"),
    ("paused", "stopped"),
    ("failed", "pending"),
    ("stopped", "pending"),
}
"""Written out by hand: the table in the code must not be its own witness."""


@pytest.mark.parametrize(("here", "there"), list(product(RunState, RunState)))
def test_every_pair_of_states_is_either_a_legal_step_or_refused(
    here: RunState, there: RunState
) -> None:
    """All 49 pairs behave as the table says."""
    life = RunLife((here,))
    if (here.value, there.value) in LEGAL:
        assert life.step(there).story == (here, there)
    else:
        with pytest.raises(IllegalTransitionError):
            life.step(there)


def test_three_states_are_final() -> None:
    """A run ends in exactly one of three ways."""
    assert {state for state in RunState if state.is_final} == {
        RunState.COMPLETED,
        RunState.FAILED,
        RunState.STOPPED,
    }


@given(wishes=st.lists(st.sampled_from(list(RunState)), max_size=30))
def test_no_list_of_wishes_leads_out_of_a_final_state(wishes: list[RunState]) -> None:
    """Whatever is asked, a life is a chain of legal steps; only resuming follows an end."""
    life = RunLife()
    for wish in wishes:
        before = life
        try:
            life = life.step(wish)
        except IllegalTransitionError:
            assert life is before
    steps = [(a.value, b.value) for a, b in zip(life.story, life.story[1:], strict=False)]
    assert life.story[0] is RunState.PENDING
    assert set(steps) <= LEGAL
    assert RunState.COMPLETED not in life.story[:-1]
    assert {b for a, b in steps if RunState(a).is_final} <= {"pending"}


def test_a_refused_step_tells_the_story_and_the_way_out() -> None:
    """The message says where the run has been and where it may go."""
    life = RunLife().step(RunState.STARTING)
    with pytest.raises(IllegalTransitionError) as caught:
        life.step(RunState.COMPLETED)
    assert "pending → starting" in caught.value.what
    assert caught.value.fix == "From starting it can go to failed, running, stopped."


def test_a_step_after_the_end_says_that_the_run_has_ended() -> None:
    """A final state has no way out to offer."""
    life = RunLife((RunState.RUNNING, RunState.COMPLETED))
    with pytest.raises(IllegalTransitionError, match="the run has ended"):
        life.step(RunState.RUNNING)
