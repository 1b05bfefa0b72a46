"""Commands that ask the store: runs, sql, compare."""

# typer.Option and typer.Argument are untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import csv
import sys
from typing import Annotated, Any

import typer

from flip_lab.cli.guard import guarded
from flip_lab.cli.labs import opened
from flip_lab.cli.options import (
    AnyLabOption,
    JsonOption,
    LabOption,
    TokenOption,
    WhereOption,
)
from flip_lab.cli.output import page, print_json, print_table, short

_LISTED = (
    "run_id",
    "name",
    "experiment",
    "sweep",
    "state",
    "engine",
    "rounds_done",
    "num_rounds",
    "num_nodes",
    "seed",
    "tags",
    "note",
    "is_archived",
    "created_at",
)


@guarded
def runs(  # noqa: PLR0913, PLR0917  # one parameter for each option
    where: WhereOption = None,
    experiment: Annotated[
        list[str] | None, typer.Option(help="Only of this experiment.")
    ] = None,
    sweep: Annotated[list[str] | None, typer.Option(help="Only of this sweep.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only with this tag.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Only in this state.")] = None,
    archived: Annotated[
        bool, typer.Option("--archived", help="Archived runs, too.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many.")] = None,
    lab: AnyLabOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the lab's runs, newest first."""
    found = opened(lab, token).runs(
        where,
        experiment=experiment,
        sweep=sweep,
        tag=tag,
        state=state,
        archived=archived,
        limit=limit,
        as_="rows",
    )
    rows = [{name: row[name] for name in _LISTED} for row in found]
    if as_json:
        print_json({"runs": rows})
    elif rows:
        _print_runs(rows)
    elif any((where, experiment, sweep, tag, state)) or limit == 0:
        page.print("No such runs. All of them: flip-lab runs --archived")
    else:
        page.print("No runs yet. Try: flip-lab run hospitals")


def _print_runs(rows: list[dict[str, Any]]) -> None:
    print_table(
        ["run", "name", "state", "engine", "round", "nodes", "launched (UTC)", "tags"],
        [
            (
                row["run_id"],
                row["name"],
                row["state"],
                row["engine"],
                f"{row['rounds_done']}/{row['num_rounds'] or '?'}",
                row["num_nodes"],
                f"{row['created_at']:%Y-%m-%d %H:%M:%S}",
                ", ".join(row["tags"]),
            )
            for row in rows
        ],
    )


@guarded
def sql(
    statement: Annotated[str, typer.Argument(help="One SELECT, in DuckDB's dialect.")],
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV with a head line.")
    ] = False,
    lab: AnyLabOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the store in SQL; the tables are in docs/reference/tables.md."""
    table = opened(lab, token).sql(statement, as_="arrow")
    columns: list[str] = table.column_names
    rows: list[list[Any]] = [list(row.values()) for row in _named(table, columns)]
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([columns, *rows])
    elif as_json:
        print_json({"columns": columns, "rows": rows})
    else:
        print_table(columns, [[short(value) for value in row] for row in rows])


def _named(table: Any, columns: list[str]) -> list[dict[str, Any]]:  # noqa: ANN401  # pyarrow has no types
    """Give the rows, also where two columns are called alike."""
    numbered = table.rename_columns([f"{i}" for i in range(len(columns))])
    found: list[dict[str, Any]] = numbered.to_pylist()
    return found


@guarded
def compare(  # noqa: PLR0913, PLR0917  # one parameter for each option
    run_ids: Annotated[
        list[str] | None, typer.Argument(help="Only these runs. Default: all.")
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(help="What makes a group; several times. Default: strategy.name."),
    ] = None,
    metric: Annotated[str, typer.Option(help="The metric.")] = "eval_accuracy",
    where: WhereOption = None,
    scope: Annotated[
        str | None, typer.Option(help="federated or central. Default: what most have.")
    ] = None,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare groups of runs over their seeds: means, intervals, and ties."""
    from flip_lab.runs.lab import Lab

    keys = by or ["strategy.name"]
    found = Lab(lab).compare(
        run_ids or None, where=where, by=keys, metric=metric, scope=scope
    )
    board: list[dict[str, Any]] = _plain(found.leaderboard())
    if as_json:
        print_json(
            {
                "metric": found.metric,
                "phase": found.phase,
                "scope": found.scope,
                "goal": found.goal,
                "leaderboard": board,
                "left_out": _plain(found.left_out),
                "notes": list(found.notes),
            }
        )
        return
    page.print(f"{found.metric} ({found.phase}, {found.scope}), {found.goal} is best")
    print_table(
        ["rank", "group", "mean", "95 % interval", "seeds", "p to leader", "note"],
        [
            (
                f"{row['rank']}{' =' if row['is_tied'] else ''}",
                row["group"],
                short(row["centre"]),
                f"{short(row['low'])} to {short(row['high'])}",
                row["num_seeds"],
                short(row["p_to_leader"]),
                row["note"],
            )
            for row in board
        ],
    )
    for note in found.notes:
        page.print(note, markup=False)


@guarded
def diff(
    first: Annotated[str, typer.Argument(help="A run's id, or its beginning or end.")],
    second: Annotated[str, typer.Argument(help="Another's.")],
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how two runs differ: settings, edits, code; exits with 1 when they do."""
    from flip_lab.runs.lab import Lab

    found = Lab(lab).diff(first, second)
    settings = _plain(found.configuration.rename_axis("setting").reset_index())
    edits = _plain(found.edits)
    if as_json:
        told = {"configuration": settings, "edits": edits, "code": found.code.text}
        print_json({"relation": found.relation, **told})
        raise typer.Exit(int(not found.is_empty))
    if found.relation:
        page.print(found.relation, soft_wrap=True, markup=False)
    if found.is_empty:
        page.print("Nothing differs.")
    else:
        columns = ["setting", found.first, found.second]
        rows = [[short(row[column]) for column in columns] for row in settings]
        print_table(columns, rows)
        if edits:
            columns = ["run_id", "from_round", "edit", "author"]
            print_table(columns, [[row[column] for column in columns] for row in edits])
        page.print(found.code.text, markup=False, highlight=False, end="")
    raise typer.Exit(int(not found.is_empty))


def _plain(frame: Any) -> list[dict[str, Any]]:  # noqa: ANN401  # a pandas frame
    """Give the rows of a frame, None where it says that a value is missing."""
    cells = frame.astype(object)
    rows: list[dict[str, Any]] = cells.where(cells.notna(), None).to_dict("records")
    return rows
