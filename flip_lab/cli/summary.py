"""One run on one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from flip_lab.cli.labs import place_of
from flip_lab.cli.output import STATE_COLOURS, error_body, page, print_table, short

if TYPE_CHECKING:
    from flip_lab.cli.labs import AnyLab, AnyRun

_FAILURES = """
SELECT server_round, phase, partition_id, node_id, split_part(error, chr(10), 1) AS error
FROM clients WHERE run_id = ? AND error_code <> 0 ORDER BY sequence LIMIT 10
"""


def run_outcome(lab: AnyLab, run: AnyRun) -> dict[str, Any]:
    """Say how a run ended, as plain data; a failed one has its error too."""
    outcome = run.outcome()
    error = run.error
    return {
        "run_id": outcome.run_id,
        "state": outcome.state.value,
        "num_rounds": outcome.num_rounds,
        "model_sha256": outcome.model_sha256,
        "metrics": outcome.metrics,
        "store": place_of(lab),
        **({} if error is None else {"error": error_body(error)}),
    }


def summarise(lab: AnyLab, run: AnyRun) -> dict[str, Any]:
    """Collect what there is to say about a run, as plain data."""
    statement = "SELECT * FROM runs WHERE run_id = ?"
    facts: dict[str, Any] = lab.sql(statement, [run.run_id], as_="rows")[0]
    metrics = lab.sql(
        "SELECT name, scope, last(value ORDER BY sequence) AS value, "
        "max(server_round) AS server_round FROM metrics WHERE run_id = ? "
        "GROUP BY name, scope ORDER BY name",
        [run.run_id],
        as_="rows",
    )
    failures = lab.sql(_FAILURES, [run.run_id], as_="rows")
    error = run.error
    return {
        **facts,
        "error": None if error is None else error_body(error),
        "metrics": metrics,
        "failed_clients": failures,
        "store": place_of(lab),
    }


def print_summary(summary: dict[str, Any]) -> None:
    """Print it for people."""
    state = str(summary["state"])
    page.print(
        Text.assemble(
            (f"{summary['name']}  ", "bold"),
            f"{summary['run_id']}  ",
            (state, STATE_COLOURS.get(state, "")),
        )
    )
    page.print(
        f"{summary['num_nodes']} nodes on {summary['federation'] or summary['engine']}, "
        f"round {summary['rounds_done']}/{summary['num_rounds'] or '?'}, "
        f"seed {summary['seed']}"
    )
    if summary["model_sha256"]:
        page.print(f"model {summary['model_sha256']}")
    if summary["error"]:
        error = summary["error"]
        page.print(Text(f"[{error['code']}] {error['what']}", style="bold red"))
        page.print(Text(f"Fix: {error['fix']}"))
        page.print(Text(str(error["detail"]), style="dim"))
    rows = [(m["name"], m["scope"], short(m["value"])) for m in summary["metrics"]]
    print_table(["metric", "scope", "last"], rows)
    if summary["failed_clients"]:
        page.print("Clients that failed (the first ten):")
        print_table(
            ["round", "phase", "partition", "error"],
            [
                (f["server_round"], f["phase"], f["partition_id"], f["error"])
                for f in summary["failed_clients"]
            ],
        )
