"""Writes a run's checkpoints while it runs, and takes the loop up from the newest one.

A round's checkpoint is written before the next round begins, so that a kill at any instant
costs the round under way and no more. Only what must wait for a disk is left to a thread.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from pickle import PickleBuffer

import xxhash
from flwr.app import ArrayRecord, RecordDict

from flip_lab.core.clock import now_s, tick_s
from flip_lab.core.errors import (
    FlipLabError,
    NoCheckpointError,
    StoreError,
    StrategyStateError,
)
from flip_lab.core.events import EventKind
from flip_lab.engines.base import EngineGrid
from flip_lab.engines.flower.checkpoint_model import from_tensors, to_tensors
from flip_lab.engines.flower.checkpoint_state import Frozen, LoopMemory, LoopState
from flip_lab.runs.checkpoint_files import MODEL, CheckpointFolder
from flip_lab.runs.checkpoint_journal import (
    Replay,
    States,
    changed_states,
    metrics_of_round,
    new_metrics,
)
from flip_lab.runs.checkpoint_writing import Disk, Writing
from flip_lab.runs.checkpoints import Checkpoints, Manifest, metrics_by_round
from flip_lab.runs.recorder import Recorder
from flip_lab.store.packs import Packed, split

_log = logging.getLogger("flip_lab.run")
_LONGEST_JOURNAL = 64  # files; then what they say is written anew as one


@dataclass(frozen=True, kw_only=True)
class TakenUp:
    """Where a loop was taken up.

    Attributes:
        server_round: The last round that is done; 0 for a new loop.
        model_round: The round in which its model was aggregated.
    """

    server_round: int = 0
    model_round: int = 0


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When a checkpoint is taken.

    Attributes:
        server_round: The round that has just ended.
        model_round: The round in which the model was aggregated last.
    """

    server_round: int
    model_round: int


class CheckpointKeeper:
    """Keeps the checkpoints of one run, from its run process.

    Args:
        run_dir: The run's directory.
        policy: When to write them, and which to keep.
        grid: Whose nodes' states belong to a checkpoint.
        recorder: The run's only writer.
    """

    def __init__(
        self, run_dir: Path, policy: Checkpoints, *, grid: EngineGrid, recorder: Recorder
    ) -> None:
        """Look at what earlier processes of the run left."""
        self._folder = CheckpointFolder(run_dir)
        self._policy = policy
        self._grid = grid
        self._recorder = recorder
        self._memory: LoopMemory | None = None
        self._state: LoopState | None = None
        self._kept: list[Manifest] = []
        self._journal: list[Packed] = []
        self._written: States = {}  # as the journal has them
        self._told = -1  # the last round whose metrics the journal has
        self._warned: set[str] = set()
        self._is_in_trouble = False
        self._disk = Disk(self._folder, self._trouble)

    @property
    def newest_round(self) -> int:
        """The round that a loop is taken up after; 0 while there is no checkpoint."""
        return max((each.server_round for each in self._folder.manifests()), default=0)

    # --- the loop begins ------------------------------------------------------------

    def begin_loop(self, state: LoopState) -> TakenUp:
        """Take a loop up from the newest checkpoint, if there is one.

        Only the first loop of an app has checkpoints: a later one could not be told from
        it, since rounds are known by their numbers.

        Raises:
            CorruptArtifactError: If the checkpoint cannot be read.
            StrategyStateError: If it belongs to another strategy.
        """
        if self._memory is not None:
            self._state = None
            self._warn(
                NoCheckpointError.code,
                "The app calls strategy.start a second time; checkpoints go up to the end "
                "of the first, and a resume would begin the second one anew.",
            )
            return TakenUp()
        self._memory, self._state = LoopMemory(state), state
        self._folder.sweep()
        self._kept = self._folder.manifests()
        if not self._kept:
            return TakenUp()
        return self._restore(state, self._memory, self._kept[-1])

    def _restore(self, state: LoopState, memory: LoopMemory, manifest: Manifest) -> TakenUp:
        header, data = self._folder.read(manifest, manifest.state)
        content, *buffers = split(data, header["lengths"])
        frozen = Frozen(
            content=content.tobytes(),
            buffers=[PickleBuffer(memoryview(buffer)) for buffer in buffers],  # pyright: ignore[reportArgumentType]  # arrays are buffers
            left_out=[],
        )
        model = None
        if manifest.model is not None:
            model = from_tensors(*self._folder.read(manifest, manifest.model))
        is_fork = manifest.run_id != self._recorder.run_id
        memory.thaw(frozen, model, is_fork=is_fork)
        self._restore_records(state, manifest)
        _log.info("Taken up after round %d.", manifest.server_round)
        return TakenUp(server_round=manifest.server_round, model_round=manifest.model_round)

    def _restore_records(self, state: LoopState, manifest: Manifest) -> None:
        replay = Replay()
        for piece in manifest.journal:
            replay.add(*self._folder.read(manifest, piece))
        replay.tell(state)
        self._grid.restore_states(replay.states())
        self._written = self._grid.node_states()
        self._journal = list(manifest.journal)
        self._told = self._disk.reached = manifest.server_round

    # --- a round has ended ------------------------------------------------------------

    def between_rounds(self, moment: Moment, num_rounds: int) -> None:
        """Write a checkpoint, if one is due; trouble costs the checkpoint, never the run.

        Args:
            moment: Which round has just ended.
            num_rounds: How many there will be.
        """
        state, memory = self._state, self._memory
        if state is None or memory is None:
            return
        if not self._policy.is_due(moment.server_round, num_rounds):
            return
        start = tick_s()
        writing = Writing(self._folder, moment.server_round)
        try:
            manifest = self._write(writing, state, memory, moment)
        except (StoreError, StrategyStateError) as error:
            writing.undo()
            self._trouble(error)
            return
        self._is_in_trouble = False
        self._disk.bring(manifest, self._prune())
        self._recorder.emit(
            EventKind.CHECKPOINT,
            {
                "size_bytes": writing.size_bytes,
                "duration_s": tick_s() - start,
                "model_digest": manifest.model_digest,
            },
            server_round=moment.server_round,
        )

    def _write(
        self, writing: Writing, state: LoopState, memory: LoopMemory, moment: Moment
    ) -> Manifest:
        self._recorder.flush()  # a checkpoint must not know more than the journal
        sequence = self._recorder.last
        states = self._grid.node_states()
        journal, before, told = self._journal, self._written, self._told
        if len(journal) >= _LONGEST_JOURNAL:
            journal, before, told = [], dict[int, RecordDict](), -1
        entries = [*changed_states(before, states), *new_metrics(state, after=told)]
        if entries:
            journal = [*journal, writing.journal(entries)]
        tensors = to_tensors(state.result.arrays)
        model = None
        if tensors is not None:
            model = writing.pack(MODEL, tensors.header, tensors.buffers)
        frozen = memory.freeze(with_model=model is None)
        manifest = Manifest(
            run_id=self._recorder.run_id,
            server_round=moment.server_round,
            time_s=now_s(),
            sequence=sequence,
            model_round=moment.model_round,
            model_digest=_digest(state.result.arrays) if model is None else model.digest,
            model=model,
            state=writing.state(frozen),
            journal=journal,
            metrics=metrics_of_round(state, moment.server_round),
        )
        writing.publish(manifest)
        for name in frozen.left_out:
            self._warn(
                StrategyStateError.code,
                f"The strategy's attribute {name!r} cannot be kept in a checkpoint; after "
                "a resume it is what the app makes of it.",
            )
        self._journal, self._written = journal, states
        self._told = moment.server_round
        self._kept = [m for m in self._kept if m.server_round != moment.server_round]
        self._kept.append(manifest)
        return manifest

    def _prune(self) -> list[Path]:
        """Let go of what the policy does not keep, but never of the newest on the disk.

        Returns:
            What can be removed.
        """
        stays = self._policy.kept(metrics_by_round(self._kept))
        stays |= {self._disk.reached, self._kept[-1].server_round}
        run_id = self._recorder.run_id
        kept = [m for m in self._kept if m.server_round in stays or m.run_id != run_id]
        gone = [manifest for manifest in self._kept if manifest not in kept]
        used = {piece.name for manifest in kept for piece in manifest.journal}
        journals = {piece.name for manifest in gone for piece in manifest.journal} - used
        self._kept = kept
        return [
            *(self._folder.folder(manifest.server_round) for manifest in gone),
            *(self._folder.journal / name for name in sorted(journals)),
        ]

    def close(self) -> None:
        """Bring the newest checkpoint to the disk and end the thread."""
        self._disk.close()
        if self._kept:
            self._folder.remove(*self._prune())

    def _trouble(self, error: FlipLabError) -> None:
        """Record that a checkpoint was not kept; the first of several in a row."""
        if not self._is_in_trouble:
            self._is_in_trouble = True
            self._warn(error.code, f"No checkpoint was kept: {error.what} {error.fix}")

    def _warn(self, code: str, message: str) -> None:
        """Record a warning; the same one once, however many rounds there are."""
        if message in self._warned:
            return
        self._warned.add(message)
        _log.warning("[%s] %s", code, message)
        body = {"code": code, "message": message}
        self._recorder.emit(EventKind.WARNING, body, server_round=0)


def _digest(arrays: ArrayRecord) -> str:
    """Give the hash of a model that safetensors cannot keep."""
    hashed = xxhash.xxh3_128()
    for name, array in arrays.items():
        hashed.update(f"{name}\0{array.dtype}\0{array.shape}\0".encode())
        hashed.update(array.data)
    return hashed.hexdigest()
