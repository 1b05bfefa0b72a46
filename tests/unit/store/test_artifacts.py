"""What runs keep by name: files of any size and arrays, checked and without pickles."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from flip_lab.core.errors import (
    CorruptArtifactError,
    InvalidValueError,
    NoResultError,
    StoreBusyError,
)
from flip_lab.runs import life_sign
from flip_lab.runs.artifacts import (
    add_artifact,
    artifact_arrays,
    artifact_bytes,
    artifact_path,
    list_artifacts,
)
from flip_lab.runs.run import Run
from flip_lab.store.blobs import Blobs
from flip_lab.store.compaction import compact
from flip_lab.store.events import read_events
from flip_lab.store.journal import JournalWriter
from flip_lab.store.layout import LabDir
from flip_lab.store.manifest import read_manifest

Make = Callable[..., Run]


@pytest.mark.parametrize("is_sealed", [False, True])
def test_files_are_kept_by_name(
    lab_dir: LabDir,
    make_run: Make,
    tmp_path: Path,
    is_sealed: bool,  # noqa: FBT001  # pytest names it
) -> None:
    """Bytes, a file and arrays come back; of one name the newest; the run stays ended."""
    run_id = make_run("r").run_id
    if is_sealed:
        compact(lab_dir, [run_id], grace_s=0.0)
    figure = tmp_path / "figure.png"
    figure.write_bytes(b"png")
    arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(3)}
    add_artifact(lab_dir, run_id, "notes", b"old")
    add_artifact(lab_dir, run_id, "notes", b"new", media_type="text/plain")
    kept = add_artifact(lab_dir, run_id, "figure", figure, media_type="image/png")
    add_artifact(lab_dir, run_id, "weights", arrays)
    assert artifact_bytes(lab_dir, run_id, "notes") == b"new"
    path = artifact_path(lab_dir, run_id, "figure")
    assert path.read_bytes() == b"png"
    assert path.name == kept.sha256
    found = artifact_arrays(lab_dir, run_id, "weights")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    rows = list_artifacts(lab_dir, run_id, as_="rows")
    assert [row["name"] for row in rows] == ["notes", "notes", "figure", "weights"]
    sequences = [event.sequence for event in read_events(lab_dir, run_id)]
    assert sequences == list(range(len(sequences)))
    assert Run(lab_dir, run_id).state.value == "completed"
    compact(lab_dir, [run_id], grace_s=0.0)
    assert read_manifest(lab_dir).home(run_id) is not None
    assert artifact_bytes(lab_dir, run_id, "notes") == b"new"


def test_a_name_that_nobody_kept_is_answered_with_those_that_are(
    lab_dir: LabDir, make_run: Make
) -> None:
    """A typing mistake costs no search."""
    run_id = make_run("r").run_id
    add_artifact(lab_dir, run_id, "notes", b"text")
    with pytest.raises(NoResultError, match="Did you mean 'notes'"):
        artifact_bytes(lab_dir, run_id, "note")
    with pytest.raises(NoResultError, match="holds no arrays"):
        artifact_arrays(lab_dir, run_id, "notes")


def test_what_is_damaged_is_not_handed_out(lab_dir: LabDir, make_run: Make) -> None:
    """Neither bytes, nor a path, nor arrays; nor arrays that are none."""
    run_id = make_run("r").run_id
    kept = add_artifact(lab_dir, run_id, "w", {"w": np.zeros(3)})
    path = Blobs(lab_dir).place(kept.sha256)
    path.write_bytes(path.read_bytes()[:-1])
    for get in (artifact_bytes, artifact_path, artifact_arrays):
        with pytest.raises(CorruptArtifactError):
            get(lab_dir, run_id, "w")
    kind = "application/vnd.safetensors"
    add_artifact(lab_dir, run_id, "fake", b"none of that", media_type=kind)
    with pytest.raises(CorruptArtifactError, match="holds no arrays"):
        artifact_arrays(lab_dir, run_id, "fake")


@pytest.mark.parametrize("name", ["", " ", "x" * 201, "two\nlines"])
def test_a_name_that_will_not_do_is_refused(
    lab_dir: LabDir, make_run: Make, name: str
) -> None:
    """Nothing is kept then."""
    run_id = make_run("r").run_id
    with pytest.raises(InvalidValueError, match="cannot be called"):
        add_artifact(lab_dir, run_id, name, b"x")
    assert not lab_dir.blobs.exists()


def test_a_run_under_way_is_left_to_its_process(lab_dir: LabDir, make_run: Make) -> None:
    """Only one writes a journal."""
    run_id = make_run("r").run_id
    with (
        life_sign.held_lock(lab_dir.run_dir(run_id)),
        pytest.raises(StoreBusyError, match="being written"),
    ):
        add_artifact(lab_dir, run_id, "notes", b"x")
    with (
        closing(JournalWriter(lab_dir, run_id)),
        pytest.raises(Exception, match="being written"),
    ):
        add_artifact(lab_dir, run_id, "notes", b"x")
