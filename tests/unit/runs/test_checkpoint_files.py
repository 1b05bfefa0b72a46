"""Checkpoints on the disk: whole or not at all, and known by their hashes."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from flwr.app import ArrayRecord
from flwr.serverapp.strategy import FedAdam
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_128_hexdigest

from flip_lab.core.errors import (
    CorruptArtifactError,
    InvalidValueError,
    NoCheckpointError,
    StoreFormatError,
)
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.runs.checkpoint_files import CheckpointFolder
from flip_lab.runs.checkpoints import Checkpoints
from flip_lab.runs.forks import find_checkpoint
from flip_lab.runs.resume import find_start
from flip_lab.runs.spec import RunSpec
from flip_lab.store.layout import LabDir
from flip_lab.store.packs import read_pack, split, write_pack
from flip_lab.testing.resumption import Setup, process

SPEC = RunSpec(
    run_id="run",
    name="test",
    kind="app",
    created_s=0.0,
    seed=0,
    num_rounds=None,
    num_nodes=8,
    engine="in_process",
    federation=None,
    workers=1,
    run_config={},
    overrides={},
)
SETUP = Setup(
    build=FedAdam,
    arrays=lambda: ArrayRecord([np.linspace(-1, 1, 5), np.zeros((0, 3))]),
    num_rounds=4,
)


@pytest.fixture
def lab(tmp_path: Path) -> LabDir:
    """Give a lab with the directory of one run."""
    (tmp_path / "runs" / "run").mkdir(parents=True)
    return LabDir(tmp_path)


def ended(server_round: int, sequence: int) -> RunEvent:
    """Say that a round has ended."""
    return RunEvent(
        run_id="run",
        sequence=sequence,
        time_s=0.0,
        server_round=server_round,
        kind=EventKind.ROUND_ENDED,
        body={"duration_s": 1.0},
    )


EVENTS = [ended(4, 10**6)]


def test_the_model_can_be_read_by_any_tool(lab: LabDir) -> None:
    """It is a safetensors file, and holds what the loop held."""
    left = process(lab.run_dir("run"), SETUP)
    file = CheckpointFolder(lab.run_dir("run")).folder(4) / "model.safetensors"
    found = safetensors.numpy.load_file(file)
    for name, array in left.result.arrays.items():
        assert np.array_equal(found[name], array.numpy())


def truncated(path: Path) -> None:
    """Cut a file short, as a power cut does."""
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    """Leave the name without the content."""
    os.truncate(path, 0)


def flipped(path: Path) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: list[Callable[[Path], None]] = [truncated, emptied, flipped, Path.unlink]


@pytest.mark.parametrize("name", ["checkpoint.json", "model.safetensors", "state.pack"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    lab: LabDir, name: str, damage: Callable[[Path], None]
) -> None:
    """It is named, it is removed, and the run goes on to the same bits."""
    run_dir = lab.run_dir("run")
    whole = process(run_dir, SETUP)
    folder = CheckpointFolder(run_dir)
    damage(folder.folder(4) / name)
    start = find_start(lab, SPEC, EVENTS)
    assert start.server_round == 3
    assert len(start.lost) == 1
    assert name in start.lost[0].what
    assert folder.rounds() == [3]
    assert process(run_dir, SETUP).bits() == whole.bits()


def test_a_damaged_journal_costs_the_checkpoints_that_need_it(lab: LabDir) -> None:
    """With all of them gone there is nothing to go on from, and that is said."""
    run_dir = lab.run_dir("run")
    process(run_dir, SETUP)
    folder = CheckpointFolder(run_dir)
    flipped(min(folder.journal.iterdir()))
    with pytest.raises(NoCheckpointError, match="keeps no checkpoint"):
        find_start(lab, SPEC, EVENTS)
    assert folder.rounds() == []


def test_a_checkpoint_that_knows_more_than_the_journal_is_not_taken(lab: LabDir) -> None:
    """A power cut may cost the journal's last second: its facts would be missing."""
    run_dir = lab.run_dir("run")
    process(run_dir, SETUP)
    older = CheckpointFolder(run_dir).manifest(3)
    start = find_start(lab, SPEC, [ended(3, older.sequence)])
    assert (start.server_round, start.after) == (3, older.sequence)


def test_a_checkpoint_of_a_newer_version_is_not_removed(lab: LabDir) -> None:
    """An older FLIP Lab that is asked to resume says so, and leaves it as it is."""
    run_dir = lab.run_dir("run")
    process(run_dir, SETUP)
    folder = CheckpointFolder(run_dir)
    newest = folder.folder(4) / "checkpoint.json"
    body = b'{"format":99}'
    newest.write_bytes(body + b"\n" + xxh3_128_hexdigest(body).encode() + b"\n")
    with pytest.raises(StoreFormatError, match="newer version"):
        find_start(lab, SPEC, EVENTS)
    assert newest.read_bytes().startswith(body)
    assert [each.server_round for each in folder.manifests()] == [3]


def test_a_run_without_a_finished_round_begins_anew(lab: LabDir) -> None:
    """There is nothing to lose."""
    start = find_start(lab, SPEC, [])
    assert (start.server_round, start.after, start.lost) == (0, -1, [])


def test_what_a_kill_left_half_written_is_swept(lab: LabDir) -> None:
    """Drafts and journals that no checkpoint knows are gone after the next start."""
    run_dir = lab.run_dir("run")
    process(run_dir, replace(SETUP, num_rounds=2))
    folder = CheckpointFolder(run_dir)
    (folder.root / ".round-000003").mkdir()
    (folder.root / ".round-000003" / "state.pack").write_bytes(b"half")
    (folder.journal / "000003-1.pack").write_bytes(b"half")
    whole = process(run_dir, SETUP)
    assert not list(folder.root.glob(".*"))
    used = {piece.name for piece in folder.manifests()[-1].journal}
    assert {path.name for path in folder.journal.iterdir()} == used
    with pytest.raises(CorruptArtifactError):
        read_pack(folder.journal, replace(folder.manifest(4).journal[0], name="gone"))
    assert whole.result.train_metrics_clientapp.keys() == {1, 2, 3, 4}


@contextmanager
def files_up_to(size_bytes: int) -> Iterator[None]:
    """Let the disk take files up to a size only: EFBIG, as a full quota says ENOSPC."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("size_bytes", [0, 64, 400, 3000])
def test_a_full_disk_costs_the_checkpoint_and_not_the_run(
    lab: LabDir, size_bytes: int
) -> None:
    """The run goes on to the same end, warns once, and leaves no debris."""
    run_dir = lab.run_dir("run")
    with files_up_to(size_bytes):
        left = process(run_dir, SETUP)
    [warning] = left.sink.bodies(EventKind.WARNING)
    assert warning["code"] == "FLIP-401"
    assert "Free some space" in str(warning["message"])
    root = run_dir / "checkpoints"
    assert [path for path in root.rglob("*") if path.is_file()] == []
    shutil.rmtree(root)
    assert process(run_dir, SETUP).bits() == left.bits()


def test_checkpoints_go_on_when_there_is_space_again(lab: LabDir) -> None:
    """What could not be written then is in the next one."""
    run_dir = lab.run_dir("run")
    whole = process(run_dir, SETUP)
    shutil.rmtree(run_dir / "checkpoints")
    with files_up_to(64):
        process(run_dir, SETUP, patience=20)
    process(run_dir, SETUP, patience=40)
    assert process(run_dir, SETUP).bits() == whole.bits()


def test_a_place_that_cannot_be_written_costs_the_checkpoints_only(lab: LabDir) -> None:
    """A file stands where the directory belongs; not even root could write there."""
    run_dir = lab.run_dir("run")
    (run_dir / "checkpoints").write_text("in the way")
    left = process(run_dir, SETUP)
    assert not left.stopped
    [warning] = left.sink.bodies(EventKind.WARNING)
    assert warning["code"] == "FLIP-401"


ROUNDS = {n: {"eval_accuracy": value} for n, value in enumerate([0.1, 0.9, 0.5, 0.6], 1)}


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        (Checkpoints(), {3, 4}),
        (Checkpoints(keep_last=1), {4}),
        (Checkpoints(keep_last=9), {1, 2, 3, 4}),
        (Checkpoints(keep_last=1, keep_every=2), {2, 4}),
        (Checkpoints(keep_last=1, keep_best_by="highest eval_accuracy"), {2, 4}),
        (Checkpoints(keep_last=1, keep_best_by="lowest eval_accuracy"), {1, 4}),
        (Checkpoints(keep_last=1, keep_best_by="lowest other"), {4}),
    ],
)
def test_a_policy_says_which_checkpoints_stay(policy: Checkpoints, kept: set[int]) -> None:
    """The newest, the best, and every so many-th."""
    assert policy.checked().kept(ROUNDS) == kept


@pytest.mark.parametrize(
    "policy",
    [
        Checkpoints(every=-1),
        Checkpoints(keep_last=0),
        Checkpoints(keep_every=0),
        Checkpoints(keep_best_by="eval_accuracy"),
        Checkpoints(keep_best_by="highest "),
    ],
)
def test_a_policy_that_cannot_be_followed_is_refused(policy: Checkpoints) -> None:
    """The message names the setting and what would do."""
    with pytest.raises(InvalidValueError, match=r"checkpoints\."):
        policy.checked()


def test_pruned_rounds_are_gone_and_the_message_names_the_others(lab: LabDir) -> None:
    """Only kept rounds can be forked."""
    run_dir = lab.run_dir("run")
    process(run_dir, replace(SETUP, policy=Checkpoints(keep_last=1, keep_every=3)))
    folder = CheckpointFolder(run_dir)
    assert folder.rounds() == [3, 4]
    assert find_checkpoint(SPEC, folder, 3).server_round == 3
    assert find_checkpoint(SPEC, folder, None).server_round == 4
    with pytest.raises(NoCheckpointError, match="of round 2") as caught:
        find_checkpoint(SPEC, folder, 2)
    assert "rounds 3, 4" in caught.value.fix


@given(parts=st.lists(st.binary(max_size=200), max_size=6))
def test_a_pack_gives_back_what_was_put_in(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    """Any buffers, also empty ones, each in memory of its own."""
    folder = tmp_path_factory.mktemp("packs")
    lengths = [len(part) for part in parts]
    pack = write_pack(folder / "x.pack", {"lengths": lengths}, parts)
    assert pack.size_bytes == (folder / "x.pack").stat().st_size
    header, data = read_pack(folder, pack)
    assert [piece.tobytes() for piece in split(data, header["lengths"])] == parts
