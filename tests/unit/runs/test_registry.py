"""``lab.models``: what is registered stays, with all that was known of it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread

import numpy as np
import pytest
import safetensors.numpy

from flip_lab.core.clock import now_s
from flip_lab.core.errors import (
    CorruptArtifactError,
    InvalidValueError,
    ModelError,
    ModelNotFoundError,
    ModelStageError,
    NoCheckpointError,
    RunNotFoundError,
    StaleError,
)
from flip_lab.runs.artifacts import add_artifact
from flip_lab.runs.care import restore_lab
from flip_lab.runs.lab import Lab
from flip_lab.runs.registry import Which
from flip_lab.runs.registry_actions import promote_model
from flip_lab.runs.run import Run
from flip_lab.store import backup_taking
from flip_lab.store.audit import read_audit
from flip_lab.store.audit_chain import verify_audit
from flip_lab.store.blobs import Blobs
from flip_lab.store.collecting import collect
from flip_lab.store.layout import LabDir, open_lab
from flip_lab.store.manifest import Manifest
from flip_lab.store.registered import ModelVersion, registered_in

MakeRun = Callable[..., Run]


def weights(value: float) -> dict[str, np.ndarray]:
    """Give a small model."""
    return {"w": np.full((2, 3), value, dtype=np.float32), "b": np.arange(3)}


@pytest.fixture
def lab(lab_dir: LabDir, make_run: MakeRun) -> Lab:
    """Give a lab with two runs that keep arrays, and one that keeps none."""
    for number, run_id in enumerate(("r1", "r2")):
        make_run(run_id, scenario_fingerprint="f" * 64)
        add_artifact(lab_dir, run_id, "model", weights(number))
        add_artifact(lab_dir, run_id, "notes", b"text", media_type="text/plain")
    make_run("r3")
    return Lab(lab_dir.root)


def age(lab: Lab) -> None:
    """Let all kept files be old enough to be collected."""
    for path in (lab.path / "blobs").glob("*/*"):
        os.utime(path, (now_s() - 9e5, now_s() - 9e5))


def test_versions_are_counted_and_told(lab: Lab) -> None:
    """Number, hash, lineage, metrics and labels; the frame says the same."""
    first = lab.models.register("r1", "digits", note="good", tags=["b", "a", "b"])
    second = lab.models.register(lab.run("r2"), "digits")
    assert (first.version, second.version) == (1, 2)
    assert (first.stage, first.tags, first.note) == ("none", ("a", "b"), "good")
    assert first.lineage.run_id == "r1"
    assert first.lineage.scenario == "hospitals"
    assert first.lineage.scenario_fingerprint == "f" * 64
    assert first.lineage.num_parameters == 9
    assert str(second) == "digits 2 (none)"
    assert lab.models["digits"].versions == {1: first, 2: second}
    assert ("digits" in lab.models, [*lab.models], len(lab.models)) == (True, ["digits"], 1)
    rows = lab.models(as_="rows")
    assert [(row["name"], row["version"], row["run_id"]) for row in rows] == [
        ("digits", 1, "r1"),
        ("digits", 2, "r2"),
    ]
    assert rows[0]["sha256"] == first.sha256
    assert rows[0]["tags"] == ["a", "b"]
    assert lab.models.list("other", as_="rows") == []
    assert (
        list(lab.sql("SELECT registered_by FROM models").registered_by)
        == [first.registered_by] * 2
    )
    assert verify_audit(open_lab(lab.path)) == []


def test_the_arrays_come_back_to_the_bit(lab: Lab) -> None:
    """By number, by stage and as a file."""
    lab.models.register("r1", "digits")
    lab.models.register("r2", "digits")
    lab.models.promote("digits", 1, "production")
    kept: list[tuple[Which, float]] = [
        (1, 0.0),
        ("production", 0.0),
        ("latest", 1.0),
        (2, 1.0),
    ]
    for which, value in kept:
        found = lab.models.arrays("digits", which)
        for name, array in weights(value).items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype
    assert lab.models.path("digits").name == lab.models.version("digits").sha256


def test_the_same_arrays_are_registered_once(lab: Lab, tmp_path: Path) -> None:
    """By the same run, another one, or as a file; another name counts for itself."""
    first = lab.models.register("r1", "digits", note="first")
    add_artifact(open_lab(lab.path), "r2", "copy", weights(0.0))
    file = tmp_path / "elsewhere.safetensors"
    file.write_bytes(lab.models.path("digits", 1).read_bytes())
    assert lab.models.register("r1", "digits", note="again") == first
    assert lab.models.register("r2", "digits", artifact="copy") == first
    assert lab.models.register_file(file, "digits") == first
    assert lab.models.register("r1", "other").version == 1
    actions = [record.action for record in read_audit(open_lab(lab.path))]
    assert actions.count("register_model") == 2


def test_a_file_from_elsewhere_has_no_run(lab: Lab, tmp_path: Path) -> None:
    """Its lineage says so; what is no safetensors file is refused and leaves nothing."""
    file = tmp_path / "elsewhere.safetensors"
    file.write_bytes(safetensors.numpy.save(weights(7.0)))
    version = lab.models.register_file(file, "digits")
    assert version.lineage.run_id is None
    assert version.lineage.artifact == "elsewhere.safetensors"
    before = {*(lab.path / "blobs").glob("*/*")}
    (tmp_path / "bad").write_bytes(b"\x80\x04pickle")
    with pytest.raises(ModelError, match="no safetensors file"):
        lab.models.register_file(tmp_path / "bad", "digits")
    assert {*(lab.path / "blobs").glob("*/*")} == before


def test_one_version_is_in_production_and_the_way_back_is_known(lab: Lab) -> None:
    """The one before is archived; a roll back finds it; one more finds none."""
    for run in ("r1", "r2"):
        lab.models.register(run, "digits")
    assert lab.models.promote("digits", 1, "production").stage == "production"
    lab.models.promote("digits", 2, "staging")
    lab.models.promote("digits", 2, "production")
    assert lab.models.version("digits", 1).stage == "archived"
    assert lab.models.roll_back("digits").version == 1
    assert lab.models.version("digits", 2).stage == "archived"
    with pytest.raises(ModelStageError, match="only version 1 was in production"):
        lab.models.roll_back("digits")
    said = [record for record in read_audit(open_lab(lab.path)) if "model" in record.action]
    assert [record.action for record in said[2:]] == [
        *["promote_model"] * 3,
        "roll_back_model",
    ]


def test_what_is_promoted_to_where_it_stands_is_no_action(lab: Lab) -> None:
    """The log does not grow, and the version is as it was."""
    lab.models.register("r1", "digits")
    before = lab.models.promote("digits", 1, "staging")
    size = len(read_audit(open_lab(lab.path)))
    assert lab.models.promote("digits", 1, "staging") == before
    assert len(read_audit(open_lab(lab.path))) == size


def test_production_cannot_be_deleted_and_numbers_are_not_given_again(lab: Lab) -> None:
    """What was deleted is gone, also for a roll back."""
    lab.models.register("r1", "digits")
    lab.models.register("r2", "digits")
    lab.models.promote("digits", 1, "production")
    lab.models.promote("digits", 2, "production")
    with pytest.raises(ModelStageError, match="in production and cannot be deleted"):
        lab.models.delete("digits", 2)
    lab.models.delete("digits", 1)
    with pytest.raises(ModelStageError, match="cannot be rolled back"):
        lab.models.roll_back("digits")
    assert lab.models.register("r1", "digits").version == 3
    lab.models.promote("digits", 2, "none")
    for version in (2, 3):
        lab.models.delete("digits", version)
    assert "digits" not in lab.models
    with pytest.raises(ModelNotFoundError, match="No model 'digits'"):
        lab.models.version("digits")
    assert lab.models.register("r1", "digits").version == 4


def test_mistakes_are_answered_with_what_would_do(lab: Lab) -> None:
    """Unknown runs, artifacts, rounds, models, versions, stages and names."""
    with pytest.raises(RunNotFoundError):
        lab.models.register("r9", "digits")
    with pytest.raises(ModelError, match="keeps no arrays called 'model'"):
        lab.models.register("r3", "digits")
    with pytest.raises(ModelError, match="keeps no arrays called 'notes'"):
        lab.models.register("r1", "digits", artifact="notes")
    with pytest.raises(ModelError, match="Leave out at_round, or artifact"):
        lab.models.register("r1", "digits", artifact="notes", at_round=1)
    with pytest.raises(NoCheckpointError, match="Rounds with a checkpoint: none"):
        lab.models.register("r1", "digits", at_round=1)
    lab.models.register("r1", "digits")
    with pytest.raises(ModelNotFoundError, match="Did you mean 'digits'"):
        _ = lab.models["digit"]
    for version in (2, 0, True, None):
        with pytest.raises(ModelNotFoundError, match="Its versions: 1"):
            lab.models.version("digits", version)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ModelNotFoundError, match="stage 'production'"):
        lab.models.version("digits")
    with pytest.raises(ModelNotFoundError, match="neither a number nor a stage"):
        lab.models.version("digits", "prod")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ModelStageError, match="no stage 'prod'"):
        lab.models.promote("digits", 1, "prod")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ModelStageError, match="no version was ever in production"):
        lab.models.roll_back("digits")


@pytest.mark.parametrize(
    "name", ["", " ", "a/b", "../x", ".x", "a\nb", "a\0", "x" * 101, 7]
)
def test_a_name_that_could_lead_elsewhere_is_refused(lab: Lab, name: str) -> None:
    """A node may call a file by it."""
    with pytest.raises(InvalidValueError):
        lab.models.register("r1", name)
    assert len(lab.models) == 0


def test_what_is_registered_outlives_its_run(lab: Lab) -> None:
    """Pruned, deleted, emptied and collected: the version is as it was, until deleted."""
    version = lab.models.register("r1", "digits")
    lab.prune(keep_last=0, keep="none", dry_run=False)
    lab.delete([row["run_id"] for row in lab.runs(as_="arrow").to_pylist()])
    lab.empty_trash()
    age(lab)
    assert lab.collect().num_files >= 0
    assert lab.models.version("digits", 1) == version
    np.testing.assert_array_equal(lab.models.arrays("digits", 1)["w"], weights(0.0)["w"])
    assert lab.doctor() == []
    lab.models.delete("digits", 1)
    age(lab)
    assert lab.collect().num_files == 1
    assert not Blobs(open_lab(lab.path)).place(version.sha256).exists()


def test_a_version_travels_with_the_backup(lab: Lab, tmp_path: Path) -> None:
    """Its file, its lineage and its stage."""
    lab.models.register("r1", "digits")
    version = lab.models.promote("digits", 1, "production")
    lab.backup(tmp_path / "backup")
    restore_lab(tmp_path / "backup", tmp_path / "restored")
    again = Lab(tmp_path / "restored")
    assert again.models.version("digits") == version
    np.testing.assert_array_equal(again.models.arrays("digits")["w"], weights(0.0)["w"])


def test_an_export_of_runs_leaves_the_registry_at_home(lab: Lab, tmp_path: Path) -> None:
    """Versions are the lab's: those of other runs would come along without their files."""
    lab.models.register("r1", "digits")
    out = lab.export(tmp_path / "out", "r2")
    assert [*out.rglob("*artifacts*")]
    assert not [*out.rglob("*models*")]


def test_what_is_registered_during_a_backup_is_in_it_whole_or_not_at_all(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is copied before the files: it speaks of none that came too late."""
    plain = backup_taking._Copying.unchanging  # the moment between
    file = tmp_path / "late.safetensors"
    passes: list[int] = []

    def then_register(copying: backup_taking._Copying, manifest: Manifest) -> None:
        plain(copying, manifest)
        passes.append(1)
        file.write_bytes(safetensors.numpy.save(weights(len(passes))))
        lab.models.register_file(file, f"late {len(passes)}")

    monkeypatch.setattr(backup_taking._Copying, "unchanging", then_register)
    lab.backup(tmp_path / "backup")
    restore_lab(tmp_path / "backup", tmp_path / "restored")
    again = Lab(tmp_path / "restored")
    assert [*again.models] == ["late 1"]
    assert again.models.path("late 1", 1).exists()


def test_a_file_that_is_collected_meanwhile_is_not_registered(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file goes between a look at it and the registration: that says so."""
    sha256 = lab.sql(
        "SELECT sha256 FROM artifacts WHERE run_id = 'r1' AND name = 'model'"
    ).sha256[0]
    plain = Blobs.spare

    def then_spare(blobs: Blobs, name: str) -> None:
        blobs.place(name).unlink()
        plain(blobs, name)

    monkeypatch.setattr(Blobs, "spare", then_spare)
    with pytest.raises(CorruptArtifactError, match=sha256):
        lab.models.register("r1", "digits")
    assert len(lab.models) == 0


def test_what_is_being_registered_is_not_collected(lab: Lab, lab_dir: LabDir) -> None:
    """Spared once, an old file that nobody speaks of is young again."""
    kept = Blobs(lab_dir).put(b"of nobody")
    age(lab)
    Blobs(lab_dir).spare(kept.sha256)
    assert collect(lab_dir).num_files == 0
    age(lab)
    assert collect(lab_dir).num_files == 1


def test_a_damaged_file_does_not_get_into_production(lab: Lab) -> None:
    """Neither forward nor back; what is in production stays."""
    for run in ("r1", "r2"):
        lab.models.register(run, "digits")
    lab.models.promote("digits", 1, "production")
    path = lab.models.path("digits", 2)
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"x")
    with pytest.raises(CorruptArtifactError):
        lab.models.promote("digits", 2, "production")
    path.write_bytes(good)
    lab.models.promote("digits", 2, "production")
    lab.models.path("digits", 1).write_bytes(b"")
    with pytest.raises(CorruptArtifactError):
        lab.models.roll_back("digits")
    assert lab.models.version("digits").version == 2


def test_a_roll_back_sees_what_others_do_meanwhile(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody promotes while the file is read: then the way back is another one."""
    add_artifact(open_lab(lab.path), "r2", "third", weights(3.0))
    lab.models.register("r1", "digits")
    lab.models.register("r2", "digits")
    lab.models.register("r2", "digits", artifact="third")
    lab.models.promote("digits", 1, "production")
    lab.models.promote("digits", 2, "production")
    plain, seen = Blobs.check, list[str]()

    def then_check(blobs: Blobs, sha256: str) -> Path:
        seen.append(sha256)
        if len(seen) == 1:
            lab.models.promote("digits", 3, "production")
        return plain(blobs, sha256)

    monkeypatch.setattr(Blobs, "check", then_check)
    assert lab.models.roll_back("digits").version == 2
    assert lab.models["digits"].produced == (1, 2)


def test_arrays_that_numpy_lacks_are_for_torch(lab: Lab, tmp_path: Path) -> None:
    """A model in bfloat16 is registered, and its file is given."""
    header = b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    file = tmp_path / "b.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    assert lab.models.register_file(file, "big").lineage.num_parameters == 2
    with pytest.raises(ModelError, match="Read the file with torch"):
        lab.models.arrays("big", 1)


def test_a_change_is_refused_by_whoever_looks_first(lab: Lab) -> None:
    """The check sees the version while nobody else can change it."""
    lab.models.register("r1", "digits")

    def refuse(version: ModelVersion) -> None:
        raise StaleError(str(version), fix="Look again.")

    with pytest.raises(StaleError, match=r"digits 1 \(none\)"):
        promote_model(open_lab(lab.path), "digits", 1, "staging", check=refuse)
    assert lab.models.version("digits", 1).stage == "none"


def test_many_who_register_the_same_at_once_make_one_version(lab: Lab) -> None:
    """And of those who promote, one wins; the log stays whole."""
    barrier = Barrier(8)
    found: list[int] = []

    def register() -> None:
        barrier.wait()
        found.append(lab.models.register("r1", "digits").version)
        lab.models.promote("digits", 1, "production")

    threads = [Thread(target=register) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 8
    actions = [record.action for record in read_audit(open_lab(lab.path))]
    assert (actions.count("register_model"), actions.count("promote_model")) == (1, 1)


WRITER = """
import os, sys
from pathlib import Path
import numpy as np, safetensors.numpy
from flip_lab.runs.registry_actions import promote_model, register_model
from flip_lab.runs.registry_sources import source_of_file
from flip_lab.store.layout import LabDir

lab, draft = LabDir(Path(sys.argv[1])), Path(sys.argv[2])
print("ready", flush=True)
number = 0
while True:
    arrays = {"w": np.full(2000, os.getpid() * 1000.0 + number)}
    draft.write_bytes(safetensors.numpy.save(arrays))
    version = register_model(lab, source_of_file(lab, draft), "digits")
    print(f"registered {version.version} {version.sha256}", flush=True)
    promote_model(lab, "digits", version.version, "production")
    print(f"promoted {version.version} {version.sha256}", flush=True)
    number += 1
"""


def test_killed_at_any_instant_nothing_acknowledged_is_lost(
    lab_dir: LabDir, tmp_path: Path
) -> None:
    """Two writers, killed again and again: whole files, one production, a whole log."""
    dice = random.Random(0)  # noqa: S311  # no secrets
    whole: list[list[str]] = []
    num_kills = 0
    while num_kills < 6 or not whole:  # on a slow machine none may get far
        num_kills += 1
        pair = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(lab_dir.root), str(tmp_path / str(n))],
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
            for n in range(2)
        ]
        for process in pair:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        time.sleep(dice.uniform(0.0, 0.025 * max(6, num_kills)))
        for process in pair:
            process.send_signal(signal.SIGKILL)
            told = [line.split() for line in process.communicate()[0].splitlines()]
            whole += [line for line in told if len(line) == 3 and len(line[2]) == 64]
    assert verify_audit(lab_dir) == []
    model = registered_in(lab_dir)["digits"]
    for what, number, sha256 in whole:
        version = model.versions[int(number)]
        assert version.sha256 == sha256
        assert what == "registered" or int(number) in model.produced
    for version in model.versions.values():
        assert Blobs(lab_dir).check(version.sha256).stat().st_size == version.size_bytes
    stages = [version.stage for version in model.versions.values()]
    assert stages.count("production") <= 1
    assert {*stages} <= {"none", "production", "archived"}
