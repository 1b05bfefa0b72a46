"""Commands that begin with a run that there is: resume, fork, rerun."""

# typer.Option and typer.Argument are untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flip_lab.cli.guard import guarded
from flip_lab.cli.labs import opened
from flip_lab.cli.options import (
    AnyLabOption,
    DetachOption,
    JsonOption,
    LabOption,
    OnOption,
    RunArgument,
    TokenOption,
    WorkersOption,
    assignments,
)
from flip_lab.cli.output import page, print_json


@guarded
def resume(  # noqa: PLR0913, PLR0917  # one parameter for each option
    run_id: RunArgument,
    on: OnOption = None,
    workers: WorkersOption = None,
    detach: DetachOption = False,
    lab: AnyLabOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with a paused run; or with one that has ended, from its newest checkpoint."""
    from flip_lab.cli.watch import watch
    from flip_lab.core.state import RunState

    here = opened(lab, token)
    resumed = here.run(run_id)
    if resumed.state is not RunState.PAUSED:
        resumed.resume_from_checkpoint(on=on, workers=workers)
    elif on is None and workers is None:
        resumed.resume()
    else:
        raise typer.BadParameter(
            "A paused run goes on where it is; stop it first to move it.",
            param_hint="--on, --workers",
        )
    watch(here, resumed, detach=detach, as_json=as_json)


@guarded
def fork(  # noqa: PLR0913, PLR0917  # one parameter for each option
    run_id: RunArgument,
    at_round: Annotated[
        int | None, typer.Option(help="Round to go on from. Default: the newest kept.")
    ] = None,
    on: OnOption = None,
    workers: WorkersOption = None,
    nodes: Annotated[
        int | None, typer.Option(help="Number of nodes, where clients keep no state.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds in all.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the rounds to come.")] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="KEY=VALUE: a scenario value, an option of the strategy, or an app's "
            "config key.",
        ),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="What it belongs to. Default: the parent's.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="A tag; may be given several times.")
    ] = None,
    note: Annotated[str, typer.Option(help="A note on the fork.")] = "",
    detach: DetachOption = False,
    lab: AnyLabOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Launch a new run that goes on from a checkpoint of another one."""
    from flip_lab.cli.watch import watch

    overrides = assignments(change)
    if rounds is not None:
        overrides["num_rounds"] = rounds
    here = opened(lab, token)
    forked = here.run(run_id).fork(
        at_round,
        seed=seed,
        num_nodes=nodes,
        overrides=overrides,
        on=on,
        workers=workers,
        experiment=experiment,
        tags=tag or (),
        note=note,
    )
    watch(here, forked, detach=detach, as_json=as_json)


@guarded
def rerun(
    run_id: RunArgument,
    on: OnOption = None,
    workers: WorkersOption = None,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Launch a run again and compare every number; exits with 1 when one differs."""
    from flip_lab.runs.lab import Lab

    outcome = Lab(lab).rerun(run_id, on=on, workers=workers)
    if as_json:
        print_json({"ok": outcome.ok, **asdict(outcome)})
    else:
        page.print(repr(outcome), soft_wrap=True, markup=False)
    if not outcome.ok:
        raise typer.Exit(1)
