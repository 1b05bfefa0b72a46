"""What is let go of is gone, and the rest says what it said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flip_lab.runs.run import Run
from flip_lab.store.audit_writer import append_audit
from flip_lab.store.compaction import compact
from flip_lab.store.layout import LabDir
from flip_lab.store.manifest import read_manifest
from flip_lab.store.query import table
from flip_lab.store.retention import DETAILS, EVERYTHING, leave_out, room_taken

KEPT = ("runs", "parameters", "rounds", "metrics", "run_metrics", "artifacts")


def rows(lab: LabDir, name: str) -> list[dict[str, Any]]:
    """Give one table."""
    return table(lab, name, as_="rows")


def test_a_summary_keeps_what_was_asked_and_what_came_out(
    lab_dir: LabDir, make_run: Callable[..., Run]
) -> None:
    """Of one run of three the clients' facts go; the others stay whole."""
    ids = [make_run(f"r{number}").run_id for number in range(3)]
    compact(lab_dir, ids, grace_s=0.0)
    before = {name: rows(lab_dir, name) for name in (*KEPT, "clients", "client_metrics")}
    room = room_taken(lab_dir, ids, DETAILS)
    assert room.keys() == {*ids}
    leave_out(lab_dir, [ids[1]], DETAILS)
    for name in KEPT:
        assert rows(lab_dir, name) == before[name]
    for name in ("clients", "client_metrics"):
        assert rows(lab_dir, name) == [
            row for row in before[name] if row["run_id"] != ids[1]
        ]
    assert ids[1] not in room_taken(lab_dir, ids, DETAILS)
    run = Run(lab_dir, ids[1])
    assert run.state.is_final
    [segment] = read_manifest(lab_dir).segments
    assert segment.run_ids == tuple(sorted(ids))
    assert leave_out(lab_dir, [], DETAILS) == 0


def test_removed_runs_leave_their_segments(
    lab_dir: LabDir, make_run: Callable[..., Run]
) -> None:
    """Nothing of them is left in the new segment, and an empty one is dropped."""
    ids = [make_run(f"r{number}").run_id for number in range(2)]
    compact(lab_dir, ids, grace_s=0.0)
    append_audit(lab_dir, "empty_trash", body={"run_ids": [ids[0]]})
    assert leave_out(lab_dir, [ids[0]], EVERYTHING) != 0
    [segment] = read_manifest(lab_dir).segments
    assert segment.run_ids == (ids[1],)
    assert {row["run_id"] for row in rows(lab_dir, "runs")} == {ids[1]}
    append_audit(lab_dir, "empty_trash", body={"run_ids": [ids[1]]})
    assert leave_out(lab_dir, [ids[1]], EVERYTHING) == segment.size_bytes
    assert read_manifest(lab_dir).segments == ()


def test_room_is_told_of_runs_that_are_not_sealed(
    lab_dir: LabDir, make_run: Callable[..., Run]
) -> None:
    """Their journals count."""
    run_id = make_run("r").run_id
    live = sum(path.stat().st_size for path in lab_dir.live_dir(run_id).glob("*.jsonl"))
    assert room_taken(lab_dir, [run_id], EVERYTHING) == {run_id: live}
    assert leave_out(lab_dir, [run_id], DETAILS) == 0
