"""What is let go of is gone, and the rest says what it said."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flip_lab.runs.care_examining import examine, repair
from flip_lab.runs.care_retention import prune_runs
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


PRUNER = """
import sys
from flip_lab.runs.care_retention import prune_runs
from flip_lab.store.layout import open_lab

lab = open_lab(sys.argv[1], create=False)
print("ready", flush=True)
prune_runs(lab, keep_last=0, keep=sys.argv[2], dry_run=False)
"""


@pytest.mark.parametrize("keep", ["summary", "none"])
def test_pruning_that_is_killed_can_be_done_again(
    lab_dir: LabDir, make_run: Callable[..., Run], tmp_path: Path, keep: str
) -> None:
    """At any instant: runs with the tag are whole, and of others what stays is there."""
    program = tmp_path / "pruner.py"
    program.write_text(PRUNER)
    kept = make_run("kept").run_id
    append_audit(lab_dir, "tag", run_ids=[kept], body={"tags": ["keep"]})
    whole = {name: rows(lab_dir, name) for name in (*KEPT, "clients", "client_metrics")}
    for attempt in range(6):
        make_run(f"r{attempt}")
        if attempt % 2:
            compact(lab_dir, [f"r{attempt}"], grace_s=0.0)
        before = {name: rows(lab_dir, name) for name in KEPT}
        with subprocess.Popen(
            [sys.executable, str(program), str(lab_dir.root), keep],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            output = process.stdout
            assert output is not None
            assert output.readline() == "ready\n"
            time.sleep(0.12 * (attempt * 5 % 6))
            process.send_signal(signal.SIGKILL)
        if keep == "summary":
            assert {name: rows(lab_dir, name) for name in KEPT} == before
        for name, told in whole.items():
            mine = [row for row in rows(lab_dir, name) if row["run_id"] == kept]
            assert mine == told, name
    prune_runs(lab_dir, keep_last=0, keep=keep, dry_run=False)  # pyright: ignore[reportArgumentType]  # one of two
    assert {row["run_id"] for row in rows(lab_dir, "clients")} == {kept}
    left = {finding.kind for finding in repair(lab_dir, examine(lab_dir))}
    assert left == set()
    names = {path.name for path in lab_dir.runs.iterdir()}
    assert (names == {kept}) == (keep == "none")
