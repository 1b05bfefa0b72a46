"""The control room's model: the client map, what was done, the log, the byte budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.boards.run.board import packed
from flip_lab.boards.run.log import readable
from flip_lab.boards.run.nodes import Cell, Fleet
from flip_lab.boards.run.outbox import ENVELOPE_BYTES, Outbox, size_bytes
from flip_lab.boards.run.story import Story, deed_words
from flip_lab.boards.run.usage import Usage
from flip_lab.core.events import ClientFact, EventKind, Json, RunEvent
from flip_lab.core.policy import RoundPolicy

ToldStory = Callable[..., list[RunEvent]]


def event(kind: EventKind, server_round: int = 1, /, **body: Json) -> RunEvent:
    """Give one event."""
    return RunEvent(
        run_id="r",
        sequence=0,
        time_s=1.79e9,
        server_round=server_round,
        kind=kind,
        body=body,
    )


def asked(nodes: list[int], partitions: list[int], server_round: int = 1) -> RunEvent:
    """Let a cohort train."""
    ids: list[Json] = [*nodes]
    slices: list[Json] = [*partitions]
    body = {"phase": "train", "node_ids": ids, "partition_ids": slices}
    return event(EventKind.DISPATCHED, server_round, **body)


def answered(
    node: int, partition: int, *, took_s: float = 1.0, bad: bool = False
) -> RunEvent:
    """Let one client answer in round 1."""
    fact = ClientFact(
        phase="train",
        node_id=node,
        partition_id=partition,
        num_examples=10,
        started_s=0.0,
        duration_s=took_s,
        bytes_down=1,
        bytes_up=1,
        metrics={"train_loss": 0.25},
        error_code=1 if bad else 0,
        error="Traceback\nValueError: bad data" if bad else "",
    )
    return event(EventKind.CLIENT, 1, **fact.body())


# --- the client map ---------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [60, 1_000, 10_000])
def test_every_node_has_a_cell_in_the_order_of_partitions(nodes: int) -> None:
    """Also those never asked; the map of ten thousand is five thousand bytes."""
    fleet = Fleet(nodes)
    cohort = list(range(0, nodes, 2))
    fleet.apply([asked([at + 10**15 for at in reversed(cohort)], cohort[::-1])])
    fleet.apply(
        [answered(at + 10**15, at, took_s=9 if at == 0 else 1) for at in cohort[:20]]
    )
    fleet.apply([answered(cohort[20] + 10**15, cohort[20], bad=True)])
    states = fleet.states({1})
    assert len(states) == nodes
    assert states[0] == Cell.SLOW
    assert states[1] == Cell.LEFT_OUT
    assert states[2] == Cell.DONE
    assert states[3] == Cell.IDLE
    assert states[40] == Cell.FAILED
    assert states[42] == Cell.RUNNING
    assert fleet.labels() == {"count": nodes, "names": []}
    assert size_bytes(packed(states)) == nodes // 2


def test_a_new_phase_clears_the_map_and_late_answers_do_not_touch_it() -> None:
    """The map shows who is at work now; what a late client said is kept all the same."""
    fleet = Fleet(2)
    fleet.apply([asked([7, 8], [0, 1]), asked([7], [0], server_round=2)])
    fleet.apply([answered(8, 1)])
    assert list(fleet.states(())) == [Cell.RUNNING, Cell.IDLE]
    assert fleet.node(1, left_out={})["metrics"] == {"train_loss": "0.25"}


def test_slow_is_more_than_twice_the_median_of_three_or_more() -> None:
    """Two clients have no usual duration; exactly twice is not slow."""
    fleet = Fleet(4)
    fleet.apply(
        [asked([0, 1, 2, 3], [0, 1, 2, 3]), answered(0, 0), answered(1, 1, took_s=9)]
    )
    assert Cell.SLOW not in fleet.states(())
    fleet.apply([answered(2, 2), answered(3, 3, took_s=2.0)])
    assert fleet.usual_s == pytest.approx(1.5)
    assert list(fleet.states(())) == [Cell.DONE, Cell.SLOW, Cell.DONE, Cell.DONE]


def test_a_few_milliseconds_make_nobody_slow() -> None:
    """Three times the median of a millisecond is the machine's noise."""
    fleet = Fleet(4)
    fleet.apply([asked([0, 1, 2, 3], [0, 1, 2, 3])])
    fleet.apply([answered(at, at, took_s=0.001) for at in range(3)])
    fleet.apply([answered(3, 3, took_s=0.003)])
    assert list(fleet.states(())) == [Cell.DONE] * 4


def test_nodes_without_partitions_are_named_by_their_ids() -> None:
    """A real node has a long id, which travels as text."""
    big = 2**63 + 5
    fleet = Fleet(0)
    fleet.apply([asked([big, 3], [-1, -1])])
    assert fleet.labels() == {"count": 2, "names": [str(big), "3"]}
    assert fleet.key(0) == big
    assert fleet.node(0, left_out={big: 4}) == {
        "at": 0,
        "title": f"node {big}",
        "name": str(big),
        "words": "at work; left out from round 4 on",
        "metrics": {},
        "error": "",
        "error_round": 0,
    }
    assert list(fleet.states({big})) == [Cell.LEFT_OUT, Cell.RUNNING]


def test_a_node_tells_its_last_duration_metrics_and_error() -> None:
    """What one wants to know of a cell, in words."""
    fleet = Fleet(3)
    fleet.apply([asked([5], [2]), answered(5, 2, bad=True), answered(5, 2, took_s=75)])
    node = fleet.node(2, left_out={})
    assert node["words"] == "trained in round 1, 1:15 min"
    assert (node["title"], node["error_round"]) == ("partition 2", 1)
    assert node["error"].endswith("ValueError: bad data")
    assert fleet.node(0, left_out={})["words"] == "never asked so far"
    with pytest.raises(IndexError):
        fleet.node(3, left_out={})


@given(st.lists(st.integers(0, 5), max_size=30))
def test_packed_cells_can_be_read_again(states: list[int]) -> None:
    """Two to a byte, the first above."""
    told = packed(np.array(states, np.uint8))
    halves = [half for byte in told for half in (byte >> 4, byte & 15)]
    assert halves[: len(states)] == states
    assert len(told) == -(-len(states) // 2)


# --- what was done ----------------------------------------------------------------------


def control(command: str, server_round: int = 3, **more: Json) -> RunEvent:
    """Give one command on record."""
    body = {"id": f"c-{command}", "command": command, "author": "ada", **more}
    return event(EventKind.CONTROL, server_round, **body)


def test_a_pause_tells_who_and_why_until_it_is_over() -> None:
    """The state's own event decides, not the wish."""
    said = {"state": "paused", "author": "ada", "because": "step done", "server_round": 4}
    paused = event(EventKind.STATE, 0, **said)  # as a run process writes it
    story = Story().apply([control("pause"), paused])
    assert story.words == "by ada: step done"
    assert story.marks[-1] == {
        "round": 4,
        "kind": "pause",
        "words": "paused by ada: step done",
    }
    broke = event(
        EventKind.STATE, 5, state="paused", author="", because="loss is nan", broke=True
    )
    story = story.apply([broke])
    assert (story.words, story.broke) == ("at a break: loss is nan", True)
    assert story.marks[-1]["kind"] == "break"
    assert not story.apply([event(EventKind.STATE, 5, state="running")]).words


def test_settings_become_a_form_and_edits_marks() -> None:
    """Each name once, unless scopes disagree; a mark stands where an edit takes effect."""
    story = Story().apply(
        [
            event(
                EventKind.SETTINGS,
                1,
                train={"learning_rate": 0.1, "batch_size": 32, "shuffle": True},
                evaluate={"batch_size": 64},
                strategy={"fraction_train": 1.0},
                run={"learning_rate": 0.1},
                policy=RoundPolicy(quorum=0.5).to_json(),
                excluded=[],
            ),
            control("set", values={"learning_rate": 0.01}, from_round=4),
            control("set_policy", changes={"quorum": -1}, refused={}),
        ]
    )
    fields = [tuple(cast("dict[str, object]", field).values()) for field in story.fields()]
    assert fields == [
        ("learning_rate", "float", "0.1", ["train", "run"]),
        ("train.batch_size", "int", "32", ["train"]),
        ("evaluate.batch_size", "int", "64", ["evaluate"]),
        ("shuffle", "bool", "true", ["train"]),
        ("fraction_train", "float", "1.0", ["strategy"]),
        ("policy.deadline_s", "optional", "", ["policy"]),
        ("policy.quorum", "optional", "0.5", ["policy"]),
        ("policy.over_selection", "optional", "0.0", ["policy"]),
    ]
    assert story.deeds[-1]["words"] == "set policy: quorum=-1"
    assert story.marks == ({"round": 4, "kind": "edit", "words": "set learning_rate=0.01"},)
    assert story.deeds[-2]["from_round"] == 4


def test_left_out_follows_the_commands_and_the_settings() -> None:
    """Asked for from round 4 on, confirmed by the settings, taken in again."""
    out = control("exclude", node_ids=[70, 80], partition_ids=[7, -1], from_round=4)
    story = Story().apply([out])
    assert story.left_out == {7: 4, 80: 4}
    story = story.apply([event(EventKind.SETTINGS, 3, excluded=[2])])
    assert story.left_out == {7: 4, 80: 4, 2: 3}
    story = story.apply([event(EventKind.SETTINGS, 4, excluded=[7])])
    assert story.left_out == {7: 4}
    back = control("include", 5, node_ids=[70], partition_ids=[7], from_round=6)
    assert story.apply([back]).left_out == {}


def test_a_refused_command_changes_nothing_and_is_told() -> None:
    """It is among the deeds with its reason, and neither a mark nor in force."""
    refused: Json = {"code": "FLIP-310", "what": "No.", "fix": "Look."}
    story = Story().apply([control("exclude", nodes=[7], refused=refused)])
    assert story.deeds[-1]["words"] == "left out 7"
    assert story.deeds[-1]["refused"] == refused
    assert (story.left_out, story.marks) == ({}, ())


def test_conditions_are_armed_until_they_are_cleared() -> None:
    """By id, or all at once."""
    rule = control("break_when", condition="loss is nan", from_round=4)
    wish: Json = {"patience": 3, "condition": "eval_accuracy >= 0.9"}
    goal = control("stop_when", rule=wish, from_round=4)
    story = Story().apply([rule, goal])
    assert story.armed == {
        "c-break_when": "break when loss is nan",
        "c-stop_when": "stop when patience=3, eval_accuracy >= 0.9",
    }
    cleared = story.apply([control("clear", ids=["c-break_when"])])
    assert set(cleared.armed) == {"c-stop_when"}


def test_the_story_stays_small() -> None:
    """A thousand edits and pauses leave the newest, and the number of all."""
    edits = [control("set", at, values={"x": at}, from_round=at) for at in range(1_000)]
    rounds = [event(EventKind.CHECKPOINT, at) for at in range(1_000)]
    story = Story().apply([*edits, *rounds])
    assert (len(story.deeds), story.num_deeds) == (40, 1_000)
    assert len(story.marks) == 60
    assert (len(story.checkpoints), story.checkpoints[-1]) == (50, 999)
    assert len(deed_words("set", {"values": {"x": "y" * 500}})) == 160


# --- resources and the log --------------------------------------------------------------


def test_usage_is_drawn_over_seconds() -> None:
    """Samples a few seconds apart become three small curves."""
    samples = [
        RunEvent(
            run_id="r",
            sequence=at,
            time_s=100.0 + 5 * at,
            server_round=1,
            kind=EventKind.RESOURCE,
            body={"cpu_percent": 50.0 * at, "rss_mib": 200, "num_processes": 3},
        )
        for at in range(3)
    ]
    part = Usage().apply(samples).part()
    assert part["num_processes"] == 3
    assert part["curves"] == [
        {
            "label": "processor",
            "unit": "% of one core",
            "value": "100 %",
            "points": [[0, 0.0], [5, 50.0], [10, 100.0]],
        },
        {
            "label": "memory",
            "unit": "MiB",
            "value": "200 MiB",
            "points": [[0, 200.0], [5, 200.0], [10, 200.0]],
        },
    ]


def test_the_log_is_readable() -> None:
    """No colours, no control characters, the last state of a progress bar, short lines."""
    text = "\x1b[31mred\x1b[0m\n10 %\r90 %\r\na\x00b\n" + "x" * 999 + "\n\n"
    lines = readable(text)
    assert lines[:3] == ["red", "90 %", "ab"]
    assert [len(line) for line in lines[3:]] == [240]
    many = readable("\n".join(f"line {at} " + "y" * 200 for at in range(5_000)))
    assert many[-1].startswith("line 4999 ")
    assert sum(map(len, many)) <= 24_000
    assert len(readable("\n".join(map(str, range(5_000))))) == 200


# --- the budget -------------------------------------------------------------------------


def test_only_what_changed_travels() -> None:
    """A part that went goes again when it is another; one that changed back does not."""
    outbox = Outbox()
    outbox.begin({"head": {"round": 1}, "log": {"lines": []}})
    outbox.put({"head": {"round": 1}, "log": {"lines": ["a"]}})
    assert outbox.take(0.0) == {"log": {"lines": ["a"]}}
    outbox.put({"head": {"round": 2}})
    outbox.put({"head": {"round": 1}})
    assert outbox.is_empty
    assert outbox.take(1.0) == {}
    assert outbox.sent_bytes == len('{"lines":["a"]}') + ENVELOPE_BYTES


@given(
    heavy=st.integers(1_000, 300_000),
    light=st.integers(1, 2_000),
    hz=st.floats(1, 20),
)
def test_the_heaviest_waits_and_the_budget_holds(heavy: int, light: int, hz: float) -> None:
    """Over ten seconds what changes at each look costs no more than the budget a second."""
    outbox = Outbox(urgent=frozenset({"head"}), budget_bytes_s=80_000)
    seconds, heavies, lights = 10, 0, 0
    looks = int(seconds * hz)
    for at in range(looks):
        big = bytes([at % 256]) * heavy
        outbox.put({"head": at, "cells": big, "log": bytes([at % 256]) * light})
        sent = outbox.take(at / hz)
        assert "head" in sent
        heavies, lights = heavies + ("cells" in sent), lights + ("log" in sent)
    allowed = 80_000 * (seconds + 1) + max(heavy, 80_000)
    assert outbox.sent_bytes <= allowed
    assert heavies >= 1
    assert lights >= min(heavies, looks)


def test_the_newest_state_of_a_part_that_waited_goes() -> None:
    """What was overtaken is never sent; when there is room again, nothing is left over."""
    outbox = Outbox(budget_bytes_s=10_000)
    outbox.put({"cells": b"a" * 9_000})
    assert set(outbox.take(0.0)) == {"cells"}
    outbox.put({"cells": b"b" * 9_000})
    assert outbox.take(0.1) == {}
    outbox.put({"cells": b"c" * 9_000})
    assert outbox.take(2.0) == {"cells": b"c" * 9_000}
    assert outbox.is_empty
