"""New runs from what an earlier one left: a fork from a checkpoint, the same run again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from flip_lab.core.errors import (
    CorruptArtifactError,
    InvalidValueError,
    NoCheckpointError,
    StoreNotWritableError,
)
from flip_lab.runs.arguments import overrides_by_key
from flip_lab.runs.checkpoint_files import CheckpointFolder
from flip_lab.runs.checkpoints import Checkpoints, Manifest
from flip_lab.runs.groups import Group
from flip_lab.runs.inputs import Changes, Prepared, prepare_again
from flip_lab.runs.launch import Place, blank_spec, launch_prepared, place_of
from flip_lab.runs.resume import why_none
from flip_lab.runs.spec import RunSpec
from flip_lab.store.layout import LabDir

_FIXED = ("model.", "data.num_partitions")
_ATTEMPTS = 3  # a living run may remove a checkpoint while it is copied


def same_place(spec: RunSpec, on: str | None, workers: int | None) -> Place:
    """Say where a run goes on: where it was, unless something else is asked for.

    Args:
        spec: The run.
        on: An engine's name, or a federation named in ``flip-lab.toml``; ``None`` keeps
            the run's.
        workers: Processes that train side by side; ``None`` keeps the run's.

    Raises:
        UnknownFederationError: If ``on`` names neither.
    """
    if on is not None:
        return place_of(on, workers, spec.client_timeout_s)
    asked = spec.workers if workers is None else place_of("in_process", workers).workers
    return Place(
        engine=spec.engine,
        federation=spec.federation,
        workers=asked,
        client_timeout_s=spec.client_timeout_s,
    )


def repeat_run(lab: LabDir, spec: RunSpec, place: Place) -> str:
    """Launch the same again: the kept app, the same configuration and seed.

    Args:
        lab: The lab that keeps the run.
        spec: The run.
        place: Where it is repeated.

    Returns:
        The new run's id.

    Raises:
        FlipLabError: If the kept app or the lab will not do.
    """
    if spec.parent_run_id is not None:
        return fork_run(lab, spec, at_round=spec.forked_at_round, place=place)
    prepared = _again(lab, spec, place, Changes(num_nodes=None, seed=None, overrides={}))
    because = {"original": spec.run_id}
    return launch_prepared(lab, prepared, action="rerun", because=because)


def fork_run(
    lab: LabDir,
    parent: RunSpec,
    *,
    at_round: int | None,
    place: Place,
    changes: Changes | None = None,
    checkpoints: Checkpoints | None = None,
) -> str:
    """Launch a new run that goes on from a checkpoint of another one.

    Args:
        lab: The lab that keeps the parent.
        parent: The parent.
        at_round: The round to go on from; ``None`` takes the newest.
        place: Where the fork runs.
        changes: What it changes; ``None`` repeats the parent.
        checkpoints: When it writes checkpoints; ``None`` does as the parent.

    Returns:
        The fork's id.

    Raises:
        NoCheckpointError: If the parent keeps no good checkpoint of that round.
        InvalidValueError: If a change would not fit the checkpoint.
        StoreNotWritableError: If the lab cannot be written.
        FlipLabError: If the kept app will not do.
    """
    wishes = changes or Changes(num_nodes=None, seed=None, overrides={})
    _check_fit(wishes.overrides)
    prepared = _again(lab, parent, place, wishes, checkpoints)
    source = CheckpointFolder(lab.run_dir(parent.run_id))
    for attempt in range(1, _ATTEMPTS + 1):
        manifest = find_checkpoint(parent, source, at_round)
        spec = replace(
            prepared.spec,
            parent_run_id=parent.run_id,
            forked_at_round=manifest.server_round,
        )
        try:
            return launch_prepared(
                lab,
                _with_checkpoint(prepared, spec, source, manifest),
                action="rerun" if changes is None else "fork",
                because={"original": parent.run_id},
            )
        except StoreNotWritableError:
            if attempt == _ATTEMPTS or source.folder(manifest.server_round).exists():
                raise
    raise NoCheckpointError(**why_none(parent, source.manifests(), at_round))


def _with_checkpoint(
    prepared: Prepared, spec: RunSpec, source: CheckpointFolder, manifest: Manifest
) -> Prepared:
    def unpack(run_dir: Path) -> str:
        app_sha256 = prepared.unpack(run_dir)
        source.copy_to(CheckpointFolder(run_dir), manifest)
        return app_sha256

    return Prepared(spec=spec, unpack=unpack)


def find_checkpoint(
    spec: RunSpec, folder: CheckpointFolder, at_round: int | None
) -> Manifest:
    """Give the newest good checkpoint, or that of one round.

    Raises:
        NoCheckpointError: If there is none.
    """
    kept = folder.manifests()
    for manifest in reversed(kept):
        if at_round in {None, manifest.server_round}:
            with suppress(CorruptArtifactError):
                folder.check(manifest)
                return manifest
    raise NoCheckpointError(**why_none(spec, kept, at_round))


def _again(
    lab: LabDir,
    spec: RunSpec,
    place: Place,
    changes: Changes,
    checkpoints: Checkpoints | None = None,
) -> Prepared:
    group = Group(experiment=spec.experiment or spec.name)
    blank = blank_spec(place, checkpoints or spec.checkpoints, group)
    if place.federation is not None and place.federation == spec.federation:
        blank = replace(blank, launched_from=spec.launched_from)  # its flip-lab.toml
    return prepare_again(spec, lab.run_dir(spec.run_id), blank, changes)


def _check_fit(overrides: Mapping[str, Any]) -> None:
    """Refuse what would not fit the arrays and the clients' states of a checkpoint.

    Raises:
        InvalidValueError: If such a thing is changed.
    """
    for name in overrides_by_key(overrides):
        if name.startswith(_FIXED):
            raise InvalidValueError(
                f"A fork cannot change {name!r}: the parent's model and its clients' "
                "states would not fit.",
                fix="Launch a new run with this change.",
            )
