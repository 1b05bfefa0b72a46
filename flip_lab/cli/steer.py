"""Commands that steer a running run."""

# typer.Option and typer.Argument are untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flip_lab.cli.guard import guarded
from flip_lab.cli.labs import opened
from flip_lab.cli.options import (
    AnyLabOption,
    JsonOption,
    RunArgument,
    TokenOption,
    assignments,
)
from flip_lab.cli.output import page, print_json, print_table, short
from flip_lab.core.policy import RoundPolicy, policy_value

if TYPE_CHECKING:
    from flip_lab.cli.labs import AnyRun
    from flip_lab.core.goals import Goal
    from flip_lab.core.taken import Taken

NodesArgument = Annotated[list[int], typer.Argument(help="Partitions, or node ids.")]


@guarded
def pause(
    run_id: RunArgument,
    lab: AnyLabOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let no further client start; those at work finish. `resume` goes on."""
    run = _run(lab, token, run_id)
    _tell(run, run.pause(), as_json=as_json)


@guarded
def step(
    run_id: RunArgument,
    num_rounds: Annotated[int, typer.Argument(help="How many rounds.")] = 1,
    lab: AnyLabOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on, and pause again when some rounds are done."""
    run = _run(lab, token, run_id)
    _tell(run, run.step(num_rounds), as_json=as_json)


@guarded
def stop(
    run_id: RunArgument,
    lab: AnyLabOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a run to end gracefully and wait until it has; its results are kept."""
    run = _run(lab, token, run_id)
    run.stop()
    state = run.wait()
    if as_json:
        print_json({"run_id": run.run_id, "state": state.value})
    else:
        page.print(f"{run.run_id} is {state}.")


@guarded
def set_(
    run_id: RunArgument,
    values: Annotated[
        list[str] | None,
        typer.Argument(help="KEY=VALUE, several if need be; without any, list them."),
    ] = None,
    lab: AnyLabOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change settings from the next round on, or list those in force."""
    run = _run(lab, token, run_id)
    if values:
        _tell(run, run.set(assignments(values)), as_json=as_json)
    elif as_json:
        print_json({"run_id": run.run_id, "settings": run.settings})
    else:
        rows = [(name, short(value)) for name, value in run.settings.items()]
        print_table(["setting", "value"], rows)


@guarded
def policy(  # noqa: PLR0913, PLR0917  # one parameter for each option
    run_id: RunArgument,
    deadline: Annotated[
        str | None, typer.Option(help="Seconds that a round waits for replies; or none.")
    ] = None,
    quorum: Annotated[
        str | None,
        typer.Option(
            help="Good replies a round needs: a share as 0.8, or a number; or none."
        ),
    ] = None,
    over_selection: Annotated[
        str | None, typer.Option(help="Ask so many more nodes to train: 0.3 is 30 %.")
    ] = None,
    lab: AnyLabOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change when rounds close, from the next round on, or show when they do."""
    run = _run(lab, token, run_id)
    asked = {"deadline_s": deadline, "quorum": quorum, "over_selection": over_selection}
    changes = {n: policy_value(n, text) for n, text in asked.items() if text is not None}
    if changes:
        _tell(run, run.set_policy(**changes), as_json=as_json)
        return
    held = (run.policy or RoundPolicy()).to_json()
    if as_json:
        print_json({"run_id": run.run_id, "policy": held})
    else:
        print_table(["policy", "value"], [(name, short(v)) for name, v in held.items()])


@guarded
def exclude(
    run_id: RunArgument,
    nodes: NodesArgument,
    lab: AnyLabOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Leave nodes out of all cohorts from the next round on."""
    run = _run(lab, token, run_id)
    _tell(run, run.exclude(*nodes), as_json=as_json)


@guarded
def include(
    run_id: RunArgument,
    nodes: NodesArgument,
    lab: AnyLabOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take nodes in again from the next round on."""
    run = _run(lab, token, run_id)
    _tell(run, run.include(*nodes), as_json=as_json)


@guarded
def stop_when(  # noqa: PLR0913, PLR0917  # one parameter for each option
    run_id: RunArgument,
    condition: Annotated[
        str | None, typer.Argument(help='Such as "eval_accuracy >= 0.95".')
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Rounds without a better value of --metric.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="What --patience looks at.")] = None,
    goal: Annotated[
        str | None, typer.Option(help="min or max. Default: by the metric's name.")
    ] = None,
    budget_s: Annotated[
        float | None, typer.Option(help="Seconds of rounds, pauses not counted.")
    ] = None,
    budget_bytes: Annotated[
        float | None, typer.Option(help="Bytes that messages carried, both ways.")
    ] = None,
    epsilon: Annotated[float | None, typer.Option(help="Privacy budget.")] = None,
    lab: AnyLabOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a run when something is so, at the end of a round."""
    run = _run(lab, token, run_id)
    taken = run.stop_when(
        condition,
        patience=patience,
        metric=metric,
        goal=_goal(goal),
        budget_s=budget_s,
        budget_bytes=budget_bytes,
        epsilon=epsilon,
    )
    _tell(run, taken, as_json=as_json)


def _goal(text: str | None) -> Goal | None:
    """Read which of two directions is better.

    Raises:
        BadParameter: If it is neither.
    """
    match text:
        case None | "min" | "max":
            return text
        case _:
            words = f"{text!r} is neither min nor max."
            raise typer.BadParameter(words, param_hint="--goal")


@guarded
def break_when(
    run_id: RunArgument,
    condition: Annotated[
        str, typer.Argument(help='Such as "loss is nan" or "client drift > 2".')
    ],
    lab: AnyLabOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pause before a round's replies are aggregated, when a condition is met."""
    run = _run(lab, token, run_id)
    _tell(run, run.break_when(condition), as_json=as_json)


@guarded
def clear(
    run_id: RunArgument,
    commands: Annotated[
        list[str] | None, typer.Argument(help="Ids of conditions. Default: all.")
    ] = None,
    lab: AnyLabOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take conditions to stop or to break on back."""
    run = _run(lab, token, run_id)
    _tell(run, run.clear(*commands or ()), as_json=as_json)


def _run(lab: str | None, token: str | None, run_id: str) -> AnyRun:
    return opened(lab, token).run(run_id)


def _tell(run: AnyRun, taken: Taken, *, as_json: bool) -> None:
    """Say what became of a command."""
    if as_json:
        told = {"id": taken.id, "command": taken.command, "from_round": taken.from_round}
        print_json({"run_id": run.run_id, **told, "is_taken": taken.is_taken})
        return
    page.print(f"{run.run_id}: {repr(taken)[1:-1]}.", markup=False, soft_wrap=True)
