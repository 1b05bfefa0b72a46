"""Edits: what users change in a running run, replayed to the round."""

from __future__ import annotations

from typing import Any

import pytest

from flip_lab.core.edits import (
    Edit,
    dropped_in,
    edits_in,
    in_force_from,
    inherited,
    policy_told,
    unattended,
)
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.core.policy import RoundPolicy


def edit(key: str, command: str, from_round: int, **more: Any) -> Edit:  # noqa: ANN401  # JSON
    """Make an edit; ``at_break`` is one of its own fields."""
    at_break = bool(more.pop("at_break", False))
    return Edit(
        id=key,
        command=command,
        author="a",
        from_round=from_round,
        at_break=at_break,
        arguments=more,
    )


STORY = [
    edit("a", "set", 2, values={"learning_rate": 0.1, "train.epochs": 2}),
    edit("b", "exclude", 3, node_ids=[7, 8], partition_ids=[0, 1]),
    edit("c", "set", 4, values={"learning_rate": 0.01}),
    edit("d", "exclude", 4, node_ids=[9], partition_ids=[2], at_break=True),
    edit("e", "include", 5, node_ids=[7], partition_ids=[0]),
    edit("f", "break_when", 5, condition="loss is nan"),
    edit("g", "stop_when", 5, rule={"budget_s": 3}),
    edit("h", "clear", 6, ids=["g"]),
]


@pytest.mark.parametrize("each", STORY, ids=lambda each: each.command)
def test_an_edit_travels_as_the_body_of_its_event(each: Edit) -> None:
    """And is read back whole."""
    assert Edit.from_body(each.body()) == each


@pytest.mark.parametrize(
    ("server_round", "values", "excluded", "armed"),
    [
        (1, {}, set(), []),
        (2, {"learning_rate": 0.1, "train.epochs": 2}, set(), []),
        (3, {"learning_rate": 0.1, "train.epochs": 2}, {7, 8}, []),
        (4, {"learning_rate": 0.01, "train.epochs": 2}, {7, 8}, []),
        (5, {"learning_rate": 0.01, "train.epochs": 2}, {8, 9}, ["f", "g"]),
        (6, {"learning_rate": 0.01, "train.epochs": 2}, {8, 9}, ["f"]),
    ],
)
def test_each_edit_counts_from_its_round(
    server_round: int, values: dict[str, float], excluded: set[int], armed: list[str]
) -> None:
    """One that was made at a break changes the cohorts of later rounds only."""
    found = in_force_from(STORY, server_round)
    assert (found.values, set(found.excluded)) == (values, excluded)
    assert list(found.armed) == armed


def test_a_policy_counts_from_its_round_on() -> None:
    """Before it that of the launch does."""
    policy = RoundPolicy(deadline_s=9.0, quorum=3)
    story = [*STORY, edit("p", "set_policy", 4, policy=policy.to_json())]
    assert [in_force_from(story, number).policy for number in (3, 4)] == [None, policy]


def test_a_run_s_newest_word_on_its_policy_is_found() -> None:
    """What was set, or what held as a round began; refusals are none."""
    long, short = RoundPolicy(deadline_s=9.0), RoundPolicy(deadline_s=1.0)
    told: list[tuple[EventKind, dict[str, Any]]] = [
        (EventKind.SETTINGS, {"train": {}, "policy": long.to_json()}),
        (EventKind.CONTROL, edit("p", "set_policy", 2, policy=short.to_json()).body()),
        (EventKind.CONTROL, {"refused": {}, "policy": RoundPolicy().to_json()}),
        (EventKind.SETTINGS, {"train": {}}),
    ]
    events = [
        RunEvent(
            run_id="r", sequence=place, time_s=0.0, server_round=0, kind=kind, body=body
        )
        for place, (kind, body) in enumerate(told)
    ]
    found = [policy_told(events[:number]) for number in range(5)]
    assert found == [None, long, short, short, short]


def test_a_client_that_was_left_out_at_a_break_is_dropped_from_that_round() -> None:
    """And from no other's replies; it may be taken in again before going on."""
    assert [dropped_in(STORY, number) for number in (3, 4, 5)] == [{}, {9: 2}, {}]
    back = edit("i", "include", 4, node_ids=[9], partition_ids=[2], at_break=True)
    assert dropped_in([*STORY, back], 4) == {}


def test_edits_are_found_among_events_each_once_and_without_refusals() -> None:
    """A resumed run tells them again."""
    refused = {**STORY[0].body(), "id": "x", "refused": {"code": "FLIP-310"}}
    pause = {"id": "p", "command": "pause", "author": "a"}
    bodies = [STORY[0].body(), pause, refused, STORY[1].body(), STORY[0].body()]
    events = [
        RunEvent(
            run_id="r",
            sequence=number,
            time_s=0.0,
            server_round=0,
            kind=EventKind.CONTROL,
            body=body,
        )
        for number, body in enumerate(bodies)
    ]
    assert edits_in(events) == STORY[:2]


def test_a_fork_inherits_what_was_in_force_but_not_what_it_changes() -> None:
    """However the name is written: with a scope, with hyphens."""
    kept = inherited(STORY, at_round=4, changed=frozenset({"learning_rate"}))
    assert [each.id for each in kept] == ["a", "b", "d"]
    assert kept[0].values == {"train.epochs": 2}
    hyphens = [edit("z", "set", 1, values={"learning-rate": 1.0})]
    assert inherited(hyphens, at_round=1, changed=frozenset({"learning_rate"})) == []


def test_a_repeated_run_breaks_nowhere() -> None:
    """Nobody may be there to go on."""
    assert [each.id for each in unattended(STORY)] == ["a", "b", "c", "d", "e", "g", "h"]
