"""Watch a run that was just started to its end, and say how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from flip_lab.cli.follow import follow
from flip_lab.cli.output import page, print_error, print_json
from flip_lab.cli.summary import run_outcome

if TYPE_CHECKING:
    from flip_lab.cli.labs import AnyLab, AnyRun


def watch(lab: AnyLab, run: AnyRun, *, detach: bool, as_json: bool) -> None:
    """Follow a run until it has ended, or let it go at once.

    Args:
        lab: The run's lab.
        run: The run.
        detach: Whether to let it go.
        as_json: Whether to print a line of JSON, last.

    Raises:
        Exit: With status 1 if the run failed, 130 if the user interrupted it.
    """
    if detach:
        page.print(f"Launched {run.run_id}; watch it: flip-lab show {run.run_id}")
        if as_json:
            print_json({"run_id": run.run_id, "state": run.state.value})
        return
    interrupted = follow(run)
    if not interrupted:
        run.wait()  # it has ended; one that went on with its hub comes home
    if as_json:
        print_json(run_outcome(lab, run))
    if run.error is not None:
        print_error(run.error)
        raise typer.Exit(1)
    if interrupted:
        raise typer.Exit(130)
