"""``flip-lab models``: named models, their versions, and which is in production."""

# typer.Option and typer.Argument are untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flip_lab.cli import deliveries
from flip_lab.cli.guard import guarded
from flip_lab.cli.options import JsonOption, LabOption, lab_dir
from flip_lab.cli.output import page, print_json, print_table, short, size
from flip_lab.core.clock import at_utc

if TYPE_CHECKING:
    from flip_lab.store.registered import ModelVersion

models = typer.Typer(
    name="models",
    help="Named models, their versions, and which of them is in production.",
    no_args_is_help=True,
)

NameArgument = Annotated[str, typer.Argument(help="The model.")]
VersionArgument = Annotated[int, typer.Argument(min=1, help="The version's number.")]
WhichArgument = Annotated[
    str,
    typer.Argument(help="A number, production, staging, none, archived or latest."),
]


@models.command("list")
@guarded
def list_(
    name: Annotated[str | None, typer.Argument(help="Only this model.")] = None,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """List all versions."""
    from flip_lab.store.registered import registered_in

    found = [
        version
        for model in registered_in(lab_dir(lab)).values()
        for version in model.versions.values()
        if name in {None, model.name}
    ]
    if as_json:
        print_json({"models": [_plain(version) for version in found]})
        return
    print_table(
        ["model", "version", "stage", "run", "round", "metrics", "size", "registered"],
        [
            (
                each.name,
                each.version,
                each.stage,
                each.lineage.run_id or "–",
                "–" if each.lineage.server_round is None else each.lineage.server_round,
                _metrics(each),
                size(each.size_bytes),
                f"{at_utc(each.registered_s):%Y-%m-%d %H:%M:%S}",
            )
            for each in found
        ],
    )


@models.command()
@guarded
def register(  # noqa: PLR0913, PLR0917  # one parameter for each option
    source: Annotated[
        str, typer.Argument(help="A run's id, or its beginning or end; or a file.")
    ],
    name: NameArgument,
    artifact: Annotated[str, typer.Option(help="What the run calls the arrays.")] = "model",
    at_round: Annotated[
        int | None, typer.Option(help="Take the model of this round's checkpoint.")
    ] = None,
    note: Annotated[str, typer.Option(help="A note on the version.")] = "",
    tag: Annotated[
        list[str] | None, typer.Option(help="A tag; may be given several times.")
    ] = None,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a run's model, or a safetensors file, the next version of a model."""
    from flip_lab.runs.lab import Lab

    here = Lab(lab).models
    if Path(source).suffix == ".safetensors":
        version = here.register_file(source, name, note=note, tags=tag or ())
    else:
        version = here.register(
            source, name, artifact=artifact, at_round=at_round, note=note, tags=tag or ()
        )
    _tell(version, as_json=as_json)


@models.command()
@guarded
def show(
    name: NameArgument,
    version: WhichArgument = "latest",
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one version: where it comes from, and where its file lies."""
    from flip_lab.runs.lab import Lab

    here = Lab(lab).models
    which: Any = int(version) if version.isdecimal() else version
    found = here.version(name, which)
    path = here.path(name, found.version)
    if as_json:
        print_json({**_plain(found), "path": str(path)})
        return
    lineage = found.lineage
    rows = [
        ("stage", f"{found.stage}, since {at_utc(found.staged_s):%Y-%m-%d %H:%M:%S} UTC"),
        ("run", lineage.run_id or "none: a file from elsewhere"),
        ("artifact", lineage.artifact),
        ("round", lineage.server_round),
        ("scenario", lineage.scenario),
        ("metrics", _metrics(found)),
        ("parameters", f"{lineage.num_parameters:,}"),
        ("tags", ", ".join(found.tags)),
        ("note", found.note),
        ("sha256", found.sha256),
        ("file", path),
    ]
    page.print(f"{found}", style="bold", markup=False)
    print_table(["", ""], [(key, value) for key, value in rows if value not in {None, ""}])


@models.command()
@guarded
def promote(
    name: NameArgument,
    version: VersionArgument,
    stage: Annotated[
        str, typer.Argument(help="production, staging, archived or none.")
    ] = "production",
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move a version to a stage; the one that was in production is archived then."""
    from flip_lab.runs.registry_actions import promote_model

    _tell(promote_model(lab_dir(lab), name, version, stage), as_json=as_json)


@models.command()
@guarded
def rollback(
    name: NameArgument, lab: LabOption = None, as_json: JsonOption = False
) -> None:
    """Bring the version back that was in production before; again: the one before it."""
    from flip_lab.runs.registry_actions import roll_back_model

    _tell(roll_back_model(lab_dir(lab), name), as_json=as_json)


@models.command()
@guarded
def delete(
    name: NameArgument,
    version: VersionArgument,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a version that is not in production off the registry."""
    from flip_lab.runs.registry_actions import delete_model

    _tell(delete_model(lab_dir(lab), name, version), as_json=as_json, was="deleted: ")


models.command()(deliveries.deliver)
models.command()(deliveries.withdraw)
models.command()(deliveries.deliveries)


def _plain(version: ModelVersion) -> dict[str, Any]:
    told = asdict(version)
    return {**told, **told.pop("lineage")}


def _metrics(version: ModelVersion) -> str:
    metrics = version.lineage.metrics.items()
    return ", ".join(f"{name} {short(value)}" for name, value in metrics)


def _tell(version: ModelVersion, *, as_json: bool, was: str = "") -> None:
    if as_json:
        print_json(_plain(version))
    else:
        page.print(f"{was}{version}", markup=False)
