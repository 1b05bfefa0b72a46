"""New runs from what an earlier one left: a fork from a checkpoint, the same run again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flip_lab.core.edits import inherited, unattended
from flip_lab.core.errors import (
    CorruptArtifactError,
    InvalidValueError,
    NoCheckpointError,
    StoreNotWritableError,
)
from flip_lab.runs.checkpoint_files import CheckpointFolder
from flip_lab.runs.checkpoints import Checkpoints, Manifest
from flip_lab.runs.edits import edits_of
from flip_lab.runs.fork_changes import changed_names, with_fitting_options
from flip_lab.runs.groups import Group
from flip_lab.runs.inputs import Changes, Prepared, prepare_again
from flip_lab.runs.kept_callbacks import with_kept_callbacks
from flip_lab.runs.late_before import late_in
from flip_lab.runs.launch import blank_spec, launch_prepared
from flip_lab.runs.places import Place, place_of
from flip_lab.runs.resume import why_none
from flip_lab.runs.spec import RunSpec
from flip_lab.runs.took_part import with_those_who_took_part
from flip_lab.store.events import read_events
from flip_lab.store.layout import LabDir

_NOTHING = Changes(num_nodes=None, seed=None, overrides={})
_ATTEMPTS = 3  # a living run may remove a checkpoint while it is copied


@dataclass(frozen=True, kw_only=True)
class Fork:
    """What is asked of a fork.

    Attributes:
        at_round: The parent's round to go on from; ``None`` takes the newest checkpoint.
        place: Where the fork runs.
        changes: What it changes, see ``read_changes``; ``None`` repeats the parent.
        checkpoints: When it writes checkpoints; ``None`` does as the parent.
        group: What it belongs to and is called; without an experiment, the parent's.
    """

    at_round: int | None
    place: Place
    changes: Changes | None = None
    checkpoints: Checkpoints | None = None
    group: Group = field(default_factory=Group)


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
        place = place_of(on, workers, spec.client_timeout_s)
        return replace(place, nodes=spec.nodes, policy=spec.policy)
    asked = spec.workers if workers is None else place_of("in_process", workers).workers
    return Place(
        engine=spec.engine,
        federation=spec.federation,
        workers=asked,
        client_timeout_s=spec.client_timeout_s,
        nodes=spec.nodes,
        policy=spec.policy,
    )


def repeat_run(lab: LabDir, spec: RunSpec, place: Place) -> str:
    """Launch the same again: the kept app, the same configuration, seed and edits.

    Args:
        lab: The lab that keeps the run.
        spec: The run.
        place: Where it is repeated.

    Returns:
        The new run's id.

    Raises:
        FlipLabError: If the kept app or the lab will not do.
    """
    again = Fork(at_round=spec.forked_at_round, place=place)
    if spec.parent_run_id is not None:
        return fork_run(lab, spec, again)
    prepared = _again(lab, spec, again)
    edits = [edit.body() for edit in unattended(edits_of(lab, spec))]
    late = _late_before(lab, spec)
    prepared = replace(prepared, spec=replace(prepared.spec, edits=edits, late_before=late))
    because = {"original": spec.run_id}
    return launch_prepared(lab, prepared, action="rerun", because=because)


def fork_run(lab: LabDir, parent: RunSpec, fork: Fork) -> str:
    """Launch a new run that goes on from a checkpoint of another one.

    The parent's edits up to that round stay in force, but for what the fork changes.

    Args:
        lab: The lab that keeps the parent.
        parent: The parent.
        fork: What is asked for.

    Returns:
        The fork's id.

    Raises:
        NoCheckpointError: If the parent keeps no good checkpoint of that round.
        InvalidValueError: If a change would not fit the checkpoint.
        StoreNotWritableError: If the lab cannot be written.
        FlipLabError: If the kept app will not do.
    """
    fitting = with_fitting_options(parent, fork.changes or _NOTHING)
    prepared = _again(lab, fitting, fork)
    source = CheckpointFolder(lab.run_dir(parent.run_id))
    for attempt in range(1, _ATTEMPTS + 1):
        manifest = find_checkpoint(parent, source, fork.at_round)
        _check_nodes(parent, prepared.spec, source, manifest)
        edits = unattended(edits_of(lab, parent))
        if fork.changes is not None:
            changed = changed_names(parent, fork.changes)
            edits = inherited(edits, at_round=manifest.server_round, changed=changed)
        spec = replace(
            prepared.spec,
            parent_run_id=parent.run_id,
            forked_at_round=manifest.server_round,
            edits=[edit.body() for edit in edits],
            late_before=_late_before(lab, parent) if fork.changes is None else None,
        )
        try:
            return launch_prepared(
                lab,
                _with_checkpoint(prepared, spec, source, manifest),
                action="rerun" if fork.changes is None else "fork",
                because={"original": parent.run_id},
            )
        except StoreNotWritableError:
            if attempt == _ATTEMPTS or source.folder(manifest.server_round).exists():
                raise
    raise NoCheckpointError(**why_none(parent, source.manifests(), fork.at_round))


def _late_before(lab: LabDir, spec: RunSpec) -> list[dict[str, Any]] | None:
    """Say whose replies a repetition leaves out again; ``None`` if none could be late."""
    has_policy = any(edit.command == "set_policy" for edit in edits_of(lab, spec))
    if spec.policy is None and not has_policy:
        return None
    return late_in(read_events(lab, spec.run_id))


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


def _again(lab: LabDir, spec: RunSpec, fork: Fork) -> Prepared:
    group = fork.group
    if group.experiment is None:
        group = replace(group, experiment=spec.experiment or spec.name)
    place = with_those_who_took_part(lab, spec, fork.place)
    blank = replace(
        blank_spec(place, fork.checkpoints or spec.checkpoints, group),
        record_updates=spec.record_updates,
    )
    if blank.federation is not None and blank.federation == spec.federation:
        blank = replace(blank, launched_from=spec.launched_from)  # its flip-lab.toml
    earlier = lab.run_dir(spec.run_id)
    prepared = prepare_again(spec, earlier, blank, fork.changes or _NOTHING)
    return with_kept_callbacks(prepared, earlier)


def _check_nodes(
    parent: RunSpec, spec: RunSpec, source: CheckpointFolder, manifest: Manifest
) -> None:
    """Refuse another number of nodes where clients keep something from round to round.

    Raises:
        InvalidValueError: If they do: nobody knows whose state a new node should have.
    """
    if spec.num_nodes == parent.num_nodes:
        return
    from flip_lab.runs.checkpoint_journal import Replay  # loads torch

    replay = Replay()
    for piece in manifest.journal:
        replay.add(*source.read(manifest, piece))
    keeping = sum(bool(records) for records in replay.states().values())
    if keeping:
        raise InvalidValueError(
            f"A fork cannot have {spec.num_nodes} nodes in place of {parent.num_nodes}: "
            f"{keeping} clients keep a state after round {manifest.server_round}, which "
            "would not fit.",
            fix="Keep the number of nodes, or launch a new run with this change.",
        )
