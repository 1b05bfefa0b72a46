"""What a run was asked to do, and what was in force, as tables."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from flip_lab.core.events import EventKind, RunEvent
from flip_lab.store.compaction import compact, reopen
from flip_lab.store.journal import RESUMER, JournalWriter
from flip_lab.store.layout import LabDir, write_json_atomic
from flip_lab.store.query import table

REFUSAL = {"code": "FLIP-310", "what": "It cannot.", "fix": "Do not."}
SET = {"id": "c2", "command": "set", "author": "ana", "from_round": 3, "values": {"a": 1}}
STORY: list[tuple[int, EventKind, dict[str, Any]]] = [
    (0, EventKind.STATE, {"state": "running"}),
    (
        1,
        EventKind.SETTINGS,
        {
            "train": {"learning_rate": 0.1, "a.b": 3, "is_fast": True, "name": "x"},
            "evaluate": {},
            "strategy": {"fraction_train": 1.0},
            "run": {"num-server-rounds": 5},
            "excluded": [],
        },
    ),
    (2, EventKind.CONTROL, {"id": "c1", "command": "pause", "author": "ana"}),
    (2, EventKind.CONTROL, SET),
    (2, EventKind.CONTROL, {**SET, "id": "c3", "author": "bo", "refused": REFUSAL}),
    (3, EventKind.SETTINGS, {"train": {"learning_rate": 0.5}, "excluded": [4, 7]}),
    (3, EventKind.SETTINGS, {"train": {"learning_rate": 0.25}, "excluded": [4]}),
]


def keep(
    lab: LabDir, first: int, story: list[tuple[int, EventKind, dict[str, Any]]]
) -> None:
    """Write what a run told, one second for each event."""
    with closing(JournalWriter(lab, "a", role=RESUMER if first else "run")) as writer:
        writer.append(
            [
                RunEvent(
                    run_id="a",
                    sequence=sequence,
                    time_s=1_700_000_000.0 + sequence,
                    server_round=server_round,
                    kind=kind,
                    body=body,
                )
                for sequence, (server_round, kind, body) in enumerate(story, first)
            ]
        )


@pytest.fixture(params=["journal", "sealed"])
def told(lab: LabDir, request: pytest.FixtureRequest) -> LabDir:
    """Give a lab with one run that was steered."""
    keep(lab, 0, STORY)
    write_json_atomic(lab.run_dir("a") / "run.json", {"run_id": "a", "name": "n"})
    if request.param == "sealed":
        assert compact(lab, ["a"]).num_sealed == 1
    return lab


def test_commands_say_who_asked_for_what(told: LabDir) -> None:
    """One row each, with the round that it takes effect in and whether it was refused."""
    found = table(told, "commands", as_="rows")
    names = ("sequence", "server_round", "from_round", "command", "author", "is_refused")
    assert [tuple(row[name] for name in names) for row in found] == [
        (2, 2, None, "pause", "ana", False),
        (3, 2, 3, "set", "ana", False),
        (4, 2, 3, "set", "bo", True),
    ]
    assert '"values"' in found[1]["body"]


def test_settings_are_values_by_scope_and_round(told: LabDir) -> None:
    """Each value has its number; of two facts of one round the later one counts."""
    found = table(told, "settings", as_="rows")
    names = ("from_round", "scope", "name", "value", "number")
    assert [tuple(row[name] for name in names) for row in found] == [
        (1, "run", "excluded", "[]", None),
        (1, "run", "num-server-rounds", "5", 5.0),
        (1, "strategy", "fraction_train", "1.0", 1.0),
        (1, "train", "a.b", "3", 3.0),
        (1, "train", "is_fast", "true", 1.0),
        (1, "train", "learning_rate", "0.1", 0.1),
        (1, "train", "name", "x", None),
        (3, "run", "excluded", "[4]", None),
        (3, "train", "learning_rate", "0.25", 0.25),
    ]


def test_a_resumed_run_keeps_what_it_was_asked_for(told: LabDir) -> None:
    """Settings of rounds that are done again are superseded, commands are not."""
    reopen(told, "a")
    keep(
        told,
        len(STORY),
        [(0, EventKind.STATE, {"state": "pending", "resumed_after": 1})],
    )
    assert [row["sequence"] for row in table(told, "commands", as_="rows")] == [2, 3, 4]
    assert {row["from_round"] for row in table(told, "settings", as_="rows")} == {1}


def test_a_command_that_is_written_again_is_one_command(lab: LabDir) -> None:
    """Its id says that it is the same; those of older versions have none."""
    plain = {"command": "stop", "author": "ana"}
    again = [(3, EventKind.CONTROL, SET), (3, EventKind.CONTROL, plain)]
    keep(lab, 0, [*STORY, *again, (3, EventKind.CONTROL, plain)])
    write_json_atomic(lab.run_dir("a") / "run.json", {"run_id": "a", "name": "n"})
    sequences = [row["sequence"] for row in table(lab, "commands", as_="rows")]
    assert sequences == [2, 3, 4, len(STORY) + 1, len(STORY) + 2]
