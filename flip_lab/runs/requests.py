"""Launches and forks that a server was asked for, under an id that it knows before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from shutil import rmtree
from typing import Any

from flip_lab.core.policy import RoundPolicy
from flip_lab.core.stopping import StopRule
from flip_lab.runs.checkpoints import Checkpoints
from flip_lab.runs.edits import edits_at_launch
from flip_lab.runs.fork_changes import read_changes
from flip_lab.runs.forks import Fork, fork_run, same_place
from flip_lab.runs.groups import Group
from flip_lab.runs.inputs import Changes, Launchable
from flip_lab.runs.launch import launch_prepared, prepared_run
from flip_lab.runs.places import place_of, with_cohorts
from flip_lab.runs.spec import RunSpec
from flip_lab.store.layout import LabDir

_NOTHING = Changes(num_nodes=None, seed=None, overrides={})


@dataclass(frozen=True, kw_only=True)
class LaunchRequest:
    """A launch as plain data; see ``Lab.launch`` for what each means.

    Attributes:
        what: What to run.
        on: Where.
        workers: Processes that train side by side; ``None``: one a processor.
        changes: What the launch changes in the input.
        client_timeout_s: Longest time that one client may take; ``None`` for no limit.
        checkpoints: When checkpoints are written, and which are kept.
        group: What the run belongs to and is called.
        record_updates: Whether the norm of each client's update is recorded.
        stop_when: A condition, or the parts of a ``StopRule``.
        break_when: Conditions.
        nodes: Which nodes take part; ``None``: all.
        policy: When rounds close; ``None``: when every reply is in.
    """

    what: Launchable
    on: str = "auto"
    workers: int | None = None
    changes: Changes = field(default=_NOTHING)
    client_timeout_s: float | None = None
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    group: Group = field(default_factory=Group)
    record_updates: bool = False
    stop_when: str | Mapping[str, Any] | None = None
    break_when: Sequence[str] = ()
    nodes: str | None = None
    policy: RoundPolicy | None = None


@dataclass(frozen=True, kw_only=True)
class ForkRequest:
    """A fork as plain data; see ``Run.fork`` for what each means.

    Attributes:
        at_round: The round to go on from; ``None`` takes the newest checkpoint.
        named: Changes by a short name.
        changes: Changes by whole path or key, the seed and the nodes.
        on: Where it runs; ``None``: where the parent did.
        workers: Processes that train side by side; ``None`` keeps their number.
        checkpoint_every: Rounds from one checkpoint to the next; ``None`` keeps it.
        group: What it belongs to and is called.
    """

    at_round: int | None = None
    named: Mapping[str, Any] = field(default_factory=dict[str, Any])
    changes: Changes = field(default=_NOTHING)
    on: str | None = None
    workers: int | None = None
    checkpoint_every: int | None = None
    group: Group = field(default_factory=Group)


def launch_requested(lab: LabDir, request: LaunchRequest) -> str:
    """Start a run in a process of its own; errors as of ``Lab.launch``.

    Args:
        lab: The lab that keeps the run.
        request: The run; ``group.run_id`` is its id, if there is one.

    Returns:
        The run's id.
    """
    rule = request.stop_when
    place = place_of(request.on, request.workers, request.client_timeout_s, beside=lab.root)
    prepared = prepared_run(
        request.what,
        place=with_cohorts(place, request.nodes, request.policy),
        changes=request.changes,
        checkpoints=request.checkpoints,
        group=request.group,
        record_updates=request.record_updates,
        edits=edits_at_launch(
            StopRule.from_json(rule) if isinstance(rule, Mapping) else rule,
            request.break_when,
        ),
    )
    return launch_prepared(lab, prepared)


def fork_requested(lab: LabDir, parent: RunSpec, request: ForkRequest) -> str:
    """Launch a fork; errors as of ``Run.fork``.

    Args:
        lab: The lab that keeps the parent.
        parent: The parent.
        request: The fork; ``group.run_id`` is its id, if there is one.

    Returns:
        The fork's id.
    """
    every = request.checkpoint_every
    changes = read_changes(
        parent,
        request.named,
        overrides=request.changes.overrides,
        seed=request.changes.seed,
        num_nodes=request.changes.num_nodes,
    )
    fork = Fork(
        at_round=request.at_round,
        place=same_place(parent, request.on, request.workers),
        changes=changes,
        checkpoints=None if every is None else replace(parent.checkpoints, every=every),
        group=request.group,
    )
    return fork_run(lab, parent, fork)


def has_begun(lab: LabDir, run_id: str) -> bool:
    """Say whether a launch under this id came so far that others see the run.

    What a launch left that was killed before is cleared away: whoever asks must be the
    only one who may launch under this id.
    """
    final = lab.run_dir(run_id)
    if final.exists():
        return True
    rmtree(final.with_name(f".{run_id}"), ignore_errors=True)
    return False
