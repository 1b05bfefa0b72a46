"""Kept files go when nobody speaks of them, and never a moment too early."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from flip_lab.core.clock import now_s
from flip_lab.core.errors import StoreError
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.store.audit_writer import append_audit
from flip_lab.store.blobs import Blobs, collecting
from flip_lab.store.collecting import collect, kept_files
from flip_lab.store.compaction import compact, drop_runs
from flip_lab.store.journal import JournalWriter, journals
from flip_lab.store.layout import LabDir, write_json_atomic


def put(lab: LabDir, content: bytes, *, age_s: float = 7200.0) -> str:
    """Put a file so long ago."""
    sha256 = Blobs(lab).put(content).sha256
    then = now_s() - age_s
    os.utime(Blobs(lab).place(sha256), (then, then))
    return sha256


def keep(
    lab: LabDir,
    run_id: str,
    *,
    model: str,
    packages: str,
    kind: EventKind = EventKind.ARTIFACT,
) -> None:
    """Write a run that speaks of two files."""
    body = {"name": "model", "sha256": model, "size_bytes": 1, "media_type": None}
    event = RunEvent(
        run_id=run_id, sequence=0, time_s=1.0, server_round=1, kind=kind, body=body
    )
    with closing(JournalWriter(lab, run_id)) as writer:
        writer.append([event])
    spec = {"run_id": run_id, "name": "run", "lineage": {"env_sha256": packages}}
    write_json_atomic(lab.run_dir(run_id) / "run.json", spec)


def names(lab: LabDir) -> set[str]:
    """Give the hashes of the files that are kept."""
    return {path.name for path in kept_files(lab)}


@pytest.mark.parametrize("is_sealed", [False, True])
def test_what_a_run_speaks_of_stays(lab: LabDir, is_sealed: bool) -> None:  # noqa: FBT001  # pytest names it
    """In journals, in sealed facts and in run.json, in the trash until it is emptied."""
    used = put(lab, b"model"), put(lab, b"packages")
    shared = put(lab, b"of two")
    unused = put(lab, b"of nobody")
    keep(lab, "a", model=used[0], packages=used[1])
    keep(lab, "b", model=shared, packages=shared)
    if is_sealed:
        compact(lab, ["a", "b"], grace_s=0.0)
    append_audit(lab, "delete", run_ids=["a"])
    assert collect(lab, dry_run=True).num_files == 1
    assert unused in names(lab)
    done = collect(lab)
    assert (done.num_files, done.freed_bytes) == (1, len(b"of nobody"))
    assert names(lab) == {*used, shared}
    append_audit(lab, "empty_trash", body={"run_ids": ["a"]})
    drop_runs(lab, ["a"])
    for path in (*journals(lab, "a"), lab.run_dir("a") / "run.json"):
        path.unlink()
    assert collect(lab).num_files == 2
    assert names(lab) == {shared}


@pytest.mark.parametrize("is_sealed", [False, True])
def test_logged_images_stay(lab: LabDir, is_sealed: bool) -> None:  # noqa: FBT001  # pytest names it
    """An image is spoken of by what was logged, not as an artifact."""
    image = put(lab, b"an image")
    keep(lab, "a", model=image, packages=image[:9], kind=EventKind.LOGGED)
    if is_sealed:
        compact(lab, ["a"], grace_s=0.0)
    assert collect(lab).num_files == 0
    assert names(lab) == {image}


def test_what_was_put_a_moment_ago_stays(lab: LabDir) -> None:
    """Also when it was put long ago, and again just now."""
    young = put(lab, b"young", age_s=60.0)
    again = put(lab, b"again")
    Blobs(lab).put(b"again")
    before = put(lab, b"of a process that lives", age_s=5000.0)
    done = collect(lab, before_s=now_s() - 6000.0)
    assert (done.num_files, done.num_spared) == (0, 3)
    assert names(lab) == {young, again, before}


def test_runs_that_are_launched_or_imported_speak_too(lab: LabDir) -> None:
    """Before they appear they are written under a hidden name."""
    launched, imported = put(lab, b"launched"), put(lab, b"imported")
    write_json_atomic(lab.runs / ".r1" / "run.json", {"lineage": {"env": launched}})
    stage = LabDir(lab.root / ".import-1")
    keep(stage, "r2", model=imported, packages=imported)
    assert collect(lab).num_files == 0
    assert names(lab) == {launched, imported}


def test_nothing_goes_when_a_run_cannot_be_read(lab: LabDir) -> None:
    """What it speaks of is not known then."""
    sha256 = put(lab, b"perhaps")
    (lab.runs / "broken" / "run.json").mkdir(parents=True)
    with pytest.raises(StoreError, match="broken"):
        collect(lab)
    assert names(lab) == {sha256}


PUTTER = """
import sys
from flip_lab.store.blobs import Blobs
from flip_lab.store.layout import open_lab

blobs = Blobs(open_lab(sys.argv[1]))
print("ready", flush=True)
for _ in sys.stdin:
    print(blobs.put(b"model").sha256, flush=True)
"""


def test_a_file_put_while_unused_ones_are_collected_is_there(
    lab: LabDir, tmp_path: Path
) -> None:
    """Whoever puts an old file again finds it kept, at whatever instant it is collected."""
    program = tmp_path / "putter.py"
    program.write_text(PUTTER)
    with subprocess.Popen(
        [sys.executable, str(program), str(lab.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None
        assert stdout.readline() == "ready\n"
        for _ in range(60):
            put(lab, b"model")
            print("put", file=stdin, flush=True)
            collect(lab)
            sha256 = stdout.readline().strip()
            collect(lab)
            assert Blobs(lab).get(sha256) == b"model"
        stdin.close()


def test_a_forked_child_does_not_keep_files_from_being_collected(lab: LabDir) -> None:
    """A data loader's worker, forked while a file is put, copies the open lock."""
    unused = put(lab, b"unused")
    with collecting(lab, alone=False):
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
    try:
        code = "import sys; from flip_lab.store.collecting import collect; "
        code += "from flip_lab.store.layout import open_lab; collect(open_lab(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", code, str(lab.root)], timeout=50, check=True)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert unused not in names(lab)
