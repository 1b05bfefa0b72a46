"""Bodies of launches and forks, as the lab understands them."""

from __future__ import annotations

from flip_lab.api.schemas.launches import ForkAsked, Grouped, Launch, StopRuleAsked
from flip_lab.api.service import Service
from flip_lab.api.uploads.use import app_of_upload
from flip_lab.core.errors import InvalidValueError
from flip_lab.fl.scenarios import scenario_from_toml, scenario_text
from flip_lab.runs.away import require_place
from flip_lab.runs.checkpoints import Checkpoints
from flip_lab.runs.groups import Group, group_of
from flip_lab.runs.inputs import Changes, Launchable
from flip_lab.runs.lab import Lab
from flip_lab.runs.requests import ForkRequest, LaunchRequest


def asked_launch(service: Service, asked: Launch, run_id: str) -> LaunchRequest:
    """Say what a body asks to launch.

    Args:
        service: What is served, for what was uploaded to it and where it is.
        asked: The body.
        run_id: The id that the run shall have.

    Raises:
        FlipLabError: If it names something that is not there, or will not do.
    """
    _see_where_it_lives(asked, service.own_federation)
    stop_when, break_when = asked.stop_when, asked.break_when
    return LaunchRequest(
        what=_what(service.lab, asked),
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


def _see_where_it_lives(asked: Launch, own_federation: str) -> None:
    """Refuse a run whose process shall live with a hub, and would not.

    Runs that are launched over HTTP live where the lab is served: whoever asks may leave
    anyway. With a hub they live only if that serves the lab.

    Raises:
        InvalidValueError: If it is not so, or if that is no place.
    """
    if asked.detach is None:
        return
    require_place(asked.detach)
    if asked.on == own_federation:
        return
    if own_federation:
        fix = f'Name the hub itself: on="{own_federation}"; or leave detach= out.'
    else:
        fix = (
            "Leave detach= out: the run goes on without you anyway. To let it live with a "
            'hub, launch it in the hub\'s own lab: flip_lab.connect("https://HUB/flip")'
            '.launch(…, on="hub").'
        )
    raise InvalidValueError(
        f"A run on {asked.on!r} that is launched in this lab does not live with a hub.",
        fix=fix,
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
