"""Who looks on while a run is conducted: what the app's code logs, and callbacks."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

from flwr.app import ArrayRecord

from flip_lab.core.events import ClientFact
from flip_lab.core.listening import listening
from flip_lab.engines.base import Reply
from flip_lab.engines.run_grid import RunGrid
from flip_lab.runs.callbacks import RunCallbacks
from flip_lab.runs.checkpoint_files import CheckpointFolder
from flip_lab.runs.kept_callbacks import load_callbacks
from flip_lab.runs.listening import RunListener
from flip_lab.runs.stage import Stage


@contextmanager
def observed(
    stage: Stage,
    grid: RunGrid,
    *,
    note: Callable[[Mapping[str, float]], None],
    arrays: Callable[[], ArrayRecord | None],
) -> Generator[None]:
    """Record what the app's code logs in the block, and call the run's callbacks.

    Args:
        stage: What the run process has at hand.
        grid: The run's Grid.
        note: Is told what the server logs of the round under way, for conditions.
        arrays: Gives the model as last aggregated; ``None`` before the first time.

    Raises:
        AppImportError: If the callbacks cannot be rebuilt.
    """
    recorder = stage.recorder
    listener = RunListener(recorder, stage.blobs, note=note, is_known=_is_taken_up(stage))
    followers: list[RunListener | RunCallbacks] = [listener]
    callbacks = load_callbacks(stage.run_dir)
    if callbacks:
        followers.append(RunCallbacks(callbacks, recorder, listener, arrays))

    def replied(fact: ClientFact, reply: Reply, server_round: int) -> None:
        for each in followers:
            each.replied(fact, reply, server_round)

    grid.on_reply = replied
    for each in followers:
        recorder.add_follower(each.follow)
    with listening(listener):
        yield


def _is_taken_up(stage: Stage) -> bool:
    """Whether the run goes on from a checkpoint of its own."""
    folder, spec = CheckpointFolder(stage.run_dir), stage.spec
    return any(each.run_id == spec.run_id for each in folder.manifests())
