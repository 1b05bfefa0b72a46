"""Bodies of launches and forks, as the lab understands them."""

from __future__ import annotations

from flip_lab.api.schemas.launches import ForkAsked, Grouped, Launch, StopRuleAsked
from flip_lab.api.uploads.use import app_of_upload
from flip_lab.fl.scenarios import scenario_from_toml, scenario_text
from flip_lab.runs.checkpoints import Checkpoints
from flip_lab.runs.groups import Group, group_of
from flip_lab.runs.inputs import Changes, Launchable
from flip_lab.runs.lab import Lab
from flip_lab.runs.requests import ForkRequest, LaunchRequest


def asked_launch(lab: Lab, asked: Launch, run_id: str) -> LaunchRequest:
    """Say what a body asks to launch.

    Args:
        lab: The lab, for what was uploaded to it.
        asked: The body.
        run_id: The id that the run shall have.

    Raises:
        FlipLabError: If it names something that is not there, or will not do.
    """
    stop_when, break_when = asked.stop_when, asked.break_when
    return LaunchRequest(
        what=_what(lab, asked),
        on=asked.on,
        workers=asked.workers,
        changes=Changes(
            num_nodes=asked.num_nodes, seed=asked.seed, overrides=asked.overrides
        ),
        client_timeout_s=asked.client_timeout_s,
        checkpoints=Checkpoints(every=asked.checkpoint_every),
        group=_group(asked, run_id),
        record_updates=asked.record_updates,
        stop_when=stop_when.rule() if isinstance(stop_when, StopRuleAsked) else stop_when,
        break_when=[break_when] if isinstance(break_when, str) else break_when or [],
        nodes=asked.nodes,
        policy=None if asked.policy is None else asked.policy.policy(),
    )


def asked_fork(asked: ForkAsked, run_id: str) -> ForkRequest:
    """Say what a body asks to fork.

    Args:
        asked: The body.
        run_id: The id that the fork shall have.

    Raises:
        InvalidValueError: If a name, a tag or the note will not do.
    """
    return ForkRequest(
        at_round=asked.at_round,
        named=asked.changes,
        changes=Changes(
            num_nodes=asked.num_nodes, seed=asked.seed, overrides=asked.overrides
        ),
        on=asked.on,
        workers=asked.workers,
        checkpoint_every=asked.checkpoint_every,
        group=_group(asked, run_id),
    )


def _what(lab: Lab, asked: Launch) -> Launchable:
    """Give what is to be run: never a path that somebody sent."""
    if asked.upload is not None:
        return app_of_upload(lab, asked.upload)
    if asked.toml is not None:
        return scenario_from_toml(asked.toml, where="toml")
    return scenario_from_toml(scenario_text(asked.scenario or ""))


def _group(asked: Grouped, run_id: str) -> Group:
    named = group_of(asked.experiment, asked.sweep, asked.tags, asked.note)
    return Group(
        experiment=named.experiment,
        sweep=named.sweep,
        tags=named.tags,
        note=named.note,
        run_id=run_id,
    )
