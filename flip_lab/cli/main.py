"""``flip-lab``: launch runs, look at them, steer them, go on; every command speaks JSON."""

# typer.Option and typer.Argument are untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from flip_lab import __version__
from flip_lab.cli import again, away, care, exchange, family, labels, listing, serve, steer
from flip_lab.cli.cohorts import (
    DeadlineOption,
    OnHubOption,
    OnlyOption,
    OverSelectionOption,
    QuorumOption,
    policy_of,
)
from flip_lab.cli.guard import guarded
from flip_lab.cli.hub import hub
from flip_lab.cli.labs import checkpoints_of, detached_of, opened
from flip_lab.cli.models import models
from flip_lab.cli.node import node
from flip_lab.cli.options import (
    AnyLabOption,
    DetachOption,
    JsonOption,
    LabOption,
    RunArgument,
    TokenOption,
    assignments,
    one_place,
)
from flip_lab.cli.output import print_json, print_table, short
from flip_lab.cli.store import store

app = typer.Typer(
    name="flip-lab",
    help="Federated-learning research on Flower: launch, watch and query federations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_RUN = "Run"
_STEER = "Steer"
_ASK = "Ask"
_KEEP = "Put in order"
_CARE = "Keep, copy and repair"
_DEVICES = "Real devices"


def _version(wanted: bool) -> None:  # noqa: FBT001  # typer calls it by position
    if wanted:
        typer.echo(f"flip-lab {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, help="Print the version.")
    ] = False,
) -> None:
    del version  # its callback has already spoken


@app.command(rich_help_panel=_RUN)
@guarded
def run(  # noqa: PLR0913, PLR0917  # one parameter for each option
    what: Annotated[
        str,
        typer.Argument(help="A scenario's name or TOML file, or a Flower App directory."),
    ],
    engine: Annotated[
        str | None,
        typer.Option(help="auto (default), in_process, processes, vectorised or ray."),
    ] = None,
    on: Annotated[
        str | None, typer.Option(help="A federation of real nodes, from flip-lab.toml.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that train side by side.")
    ] = None,
    nodes: Annotated[int | None, typer.Option(help="Number of nodes.")] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Rounds of a scenario (train.num_rounds).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The run's seed.")] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE: a scenario value or an app's config key."),
    ] = None,
    client_timeout: Annotated[
        float | None,
        typer.Option(help="Seconds after which a simulated client is stopped."),
    ] = None,
    checkpoint_every: Annotated[
        int,
        typer.Option(help="Rounds from one checkpoint to the next; 0 writes none."),
    ] = 1,
    stop_when: Annotated[
        str | None,
        typer.Option(
            help='End it after a round in which it is so: "eval_accuracy >= 0.9".'
        ),
    ] = None,
    break_when: Annotated[
        list[str] | None,
        typer.Option(help='Pause before aggregating when it is so: "loss is nan".'),
    ] = None,
    only: OnlyOption = None,
    deadline: DeadlineOption = None,
    quorum: QuorumOption = None,
    over_selection: OverSelectionOption = 0.0,
    on_hub: OnHubOption = False,
    experiment: Annotated[
        str | None, typer.Option(help="What the run belongs to. Default: its own name.")
    ] = None,
    sweep: Annotated[str | None, typer.Option(help="The sweep it is a point of.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="A tag; may be given several times.")
    ] = None,
    note: Annotated[str, typer.Option(help="A note on the run.")] = "",
    detach: DetachOption = False,
    lab: AnyLabOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a scenario or a Flower App and watch it; Ctrl-C stops it gracefully."""
    from flip_lab.cli.watch import watch

    overrides = assignments(change)
    if rounds is not None:
        overrides["train.num_rounds"] = rounds
    here = opened(lab, token)
    launch = partial(
        here.launch,
        what,
        on=one_place(engine, on) or "auto",
        num_nodes=nodes,
        workers=workers,
        seed=seed,
        overrides=overrides,
        client_timeout_s=client_timeout,
        stop_when=stop_when,
        break_when=break_when,
        nodes=only,
        policy=policy_of(deadline, quorum, over_selection),
        experiment=experiment,
        sweep=sweep,
        tags=tag or (),
        note=note,
    )
    launched = launch(**checkpoints_of(here, checkpoint_every), **detached_of(here, on_hub))
    watch(here, launched, detach=detach, as_json=as_json)


app.command(rich_help_panel=_ASK)(listing.runs)


@app.command(rich_help_panel=_ASK)
@guarded
def show(
    run_id: RunArgument,
    lab: AnyLabOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one run: its state, its last metrics, and clients that failed."""
    from flip_lab.cli.summary import print_summary, summarise

    here = opened(lab, token)
    summary = summarise(here, here.run(run_id))
    if as_json:
        print_json(summary)
    else:
        print_summary(summary)


@app.command(rich_help_panel=_ASK)
@guarded
def logs(
    run_id: RunArgument,
    tail: Annotated[
        int | None, typer.Option(min=0, help="Only that many last lines.")
    ] = None,
    lab: AnyLabOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a run's processes printed."""
    found = opened(lab, token).run(run_id)
    text = found.logs(tail=tail)
    if as_json:
        print_json({"run_id": found.run_id, "lines": text.splitlines()})
    else:
        typer.echo(text)


app.command(rich_help_panel=_RUN)(serve.serve)
app.command(rich_help_panel=_STEER)(steer.pause)
app.command(rich_help_panel=_STEER)(again.resume)
app.command(rich_help_panel=_STEER)(steer.step)
app.command(rich_help_panel=_STEER)(steer.stop)
app.command("set", rich_help_panel=_STEER)(steer.set_)
app.command(rich_help_panel=_STEER)(steer.policy)
app.command(rich_help_panel=_STEER)(steer.exclude)
app.command(rich_help_panel=_STEER)(steer.include)
app.command("stop-when", rich_help_panel=_STEER)(steer.stop_when)
app.command("break-when", rich_help_panel=_STEER)(steer.break_when)
app.command(rich_help_panel=_STEER)(steer.clear)
app.command(rich_help_panel=_RUN)(again.fork)
app.command(rich_help_panel=_RUN)(away.fetch)
app.command(rich_help_panel=_RUN)(again.rerun)
app.command(rich_help_panel=_ASK)(listing.sql)
app.command(rich_help_panel=_ASK)(listing.compare)
app.command(rich_help_panel=_ASK)(listing.diff)
app.command(rich_help_panel=_ASK)(family.family)
app.command(rich_help_panel=_KEEP)(labels.tag)
app.command(rich_help_panel=_KEEP)(labels.note)
app.command(rich_help_panel=_KEEP)(labels.archive)
app.command(rich_help_panel=_KEEP)(labels.delete)
app.command(rich_help_panel=_KEEP)(labels.undo)
app.command(rich_help_panel=_KEEP)(labels.trash)
app.command(rich_help_panel=_CARE)(exchange.export)
app.command("import", rich_help_panel=_CARE)(exchange.import_)
app.command(rich_help_panel=_ASK)(exchange.report)
app.command(rich_help_panel=_CARE)(care.backup)
app.command(rich_help_panel=_CARE)(care.restore)
app.command(rich_help_panel=_CARE)(care.doctor)
app.add_typer(models, rich_help_panel=_KEEP)
app.add_typer(store, rich_help_panel=_CARE)
app.add_typer(hub, rich_help_panel=_DEVICES)
app.add_typer(node, rich_help_panel=_DEVICES)


@app.command(rich_help_panel=_ASK)
@guarded
def check(run_id: RunArgument, lab: LabOption = None, as_json: JsonOption = False) -> None:
    """Check what a run's scenario must show; exits with 1 when something does not hold."""
    from flip_lab.runs.lab import Lab

    here = Lab(lab)
    outcomes = here.check(here.run(run_id))
    if as_json:
        print_json(
            {
                "expectations": [
                    {
                        "says": outcome.expectation.says,
                        "observed": outcome.observed,
                        "needed": outcome.needed,
                        "holds": outcome.holds,
                    }
                    for outcome in outcomes
                ]
            }
        )
    else:
        print_table(
            ["", "expectation", "observed", "needed"],
            [
                (
                    "✓" if outcome.holds else "✗",
                    outcome.expectation.says,
                    short(outcome.observed),
                    f"≥ {short(outcome.needed)}",
                )
                for outcome in outcomes
            ],
        )
    if not all(outcome.holds for outcome in outcomes):
        raise typer.Exit(1)


@app.command(rich_help_panel=_RUN)
@guarded
def scenarios(
    name: Annotated[str | None, typer.Argument(help="Show this one whole.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the scenarios that can be run by name, or show one whole."""
    from flip_lab.fl.scenarios import (
        load_scenario,
        scenario_names,
        scenario_to_dict,
        scenario_to_toml,
    )

    if name is not None:
        scenario = load_scenario(name)
        if as_json:
            print_json(scenario_to_dict(scenario))
        else:
            typer.echo(scenario_to_toml(scenario))
        return
    found = [load_scenario(each) for each in scenario_names()]
    if as_json:
        print_json({"scenarios": [{"name": s.name, "title": s.title} for s in found]})
    else:
        rows = [(s.name, s.title, s.data.num_partitions, s.train.num_rounds) for s in found]
        print_table(["scenario", "what it shows", "nodes", "rounds"], rows)
