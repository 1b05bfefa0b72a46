"""The first federation, from start to report: ``python notebooks/demo.py``.

Executes ``01_first_federation.ipynb`` in this Python, keeps the executed notebook and a
report in one HTML file, and prints who learnt what. Without Ray it runs in process.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from flip_lab import FlipLabError, Lab, __version__
from flip_lab.core.errors import EngineStartError, MissingExtraError
from flip_lab.fl.extras import needs_extra

if TYPE_CHECKING:  # loaded where they are used: help and mistakes come at once
    from nbformat import NotebookNode
    from rich.console import Console

NOTEBOOK = Path(__file__).with_name("01_first_federation.ipynb")
SCENARIO = "hospitals"  # what the notebook launches
VERDICT = "verdict"  # the tag of the cell with the table that the demo prints
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
NO_RAY = {EngineStartError.code, MissingExtraError.code}
INTERRUPTED = 130  # what shells say after Ctrl-C


class NotebookError(Exception):
    """A cell raised, or its kernel died."""

    def __init__(self, name: str, message: str) -> None:
        is_ours = message.startswith("[FLIP-")
        super().__init__(message if is_ours else f"{name}: {message}")
        self.code = message[1:].partition("]")[0] if is_ours else ""


def main() -> int:
    """Run the demo as the command line asks; give the exit status."""
    asked = arguments()
    try:
        with needs_extra("lab", "The demo"):  # now, not after a minute of work
            import nbconvert  # noqa: F401  # report.py needs it
            import papermill  # noqa: F401  # execute needs it
            from rich.console import Console
        lab = Lab()
        before = run_ids(lab)
        try:
            demo(lab, Console(highlight=False), asked, before=before)
        except BaseException:
            stop_runs(lab, before=before)
            raise
    except (FlipLabError, NotebookError) as error:
        what, fix, rest = str(error).partition(" Fix: ")
        print(f"\n{what}" + (f"\nFix: {rest}" if fix else ""), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # What watched the kernel has nobody left to tell that it died.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        print("\nInterrupted. No run that the demo started goes on.", file=sys.stderr)
        return INTERRUPTED
    return 0


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Run the first federation and write a report."
    )
    parser.add_argument(
        "--engine",
        choices=("ray", "in_process"),
        default="ray",
        help="clients side by side (the default), or one after the other",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where the report goes; default: demo/<time> in the lab",
    )
    return parser.parse_args()


def run_ids(lab: Lab) -> set[str]:
    """Give the ids of all runs that the lab keeps."""
    return set(lab.runs()["run_id"])


def stop_runs(lab: Lab, *, before: set[str]) -> None:
    """Leave no run of ours going that nobody waits for any more."""
    started = map(lab.run, run_ids(lab) - before)
    going = [run for run in started if run.name == SCENARIO and not run.state.is_final]
    for run in going:
        run.stop()
    for run in going:
        run.wait()


def demo(
    lab: Lab, console: Console, asked: argparse.Namespace, *, before: set[str]
) -> None:
    """Execute the notebook, write the report, say what came out and where it is."""
    now = datetime.now().astimezone()
    folder = asked.output or lab.path / "demo" / f"{now:%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True, exist_ok=True)
    executed, report = folder / NOTEBOOK.name, folder / "report.html"

    console.print("[bold]FLIP Lab: four hospitals train one model[/bold]")
    notebook, remark = execute_anyhow(executed, console, engine=asked.engine)

    from report import write_report

    runs = lab.runs()
    ours = runs[~runs["run_id"].isin(before) & (runs["state"] == "completed")]
    first = ours.iloc[-1]  # the newest stands first
    facts = (
        f"{first['num_nodes']} hospitals, {first['num_rounds']} rounds, seed "
        f"{first['seed']}, engine {first['engine']} · {now.day} {now:%B %Y} · "
        f"FLIP Lab {__version__}"
    )
    write_report(notebook, report, facts=facts, remark=remark)
    print_verdict(notebook, console)
    print_next({"report": report, "notebook": executed, "lab": lab.path}, console)
    print_commands(first["run_id"], console)


def execute_anyhow(
    executed: Path, console: Console, *, engine: str
) -> tuple[NotebookNode, str]:
    """Execute the notebook, without Ray where Ray does not start; say so in a remark.

    Raises:
        NotebookError: If a cell raised for another reason.
    """
    try:
        return execute(executed, console, engine=engine), ""
    except NotebookError as error:
        if engine == "in_process" or error.code not in NO_RAY:
            raise
        remark = (
            "Ray did not start here, so the clients trained one after the other, in "
            f"process. The numbers are the same; only the clock differs. ({error.code})"
        )
    console.print(f"\n[yellow]{remark}[/yellow]\n", soft_wrap=True)
    return execute(executed, console, engine="in_process"), remark


def execute(executed: Path, console: Console, *, engine: str) -> NotebookNode:
    """Execute the notebook in a kernel of this Python.

    Raises:
        NotebookError: If a cell raised; what was executed so far is kept in the file.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    try:
        with kernel_of_this_python(), progress(console) as tell:
            return papermill.execute_notebook(
                NOTEBOOK,
                executed,
                parameters={"engine": engine},
                kernel_name="python3",
                progress_bar=False,
                on_cell_start=tell,
                # over TCP, ipykernel warns in the notebook that nothing is encrypted
                config=Config({"KernelManager": {"transport": "ipc"}}),
            )
    except PapermillExecutionError as error:
        raise NotebookError(error.ename, error.evalue) from error
    except DeadKernelError as error:
        raise NotebookError("DeadKernelError", f"{error} Is there memory left?") from error


@contextmanager
def kernel_of_this_python() -> Iterator[None]:
    """Let ``python3`` mean this Python, whichever kernels are installed.

    Sockets lie in a folder of ours: their paths must be short, and homes can be read-only.
    """
    from ipykernel.kernelspec import get_kernel_dict

    with TemporaryDirectory(prefix="flip-lab-") as folder:
        spec = Path(folder, "kernels", "python3")
        spec.mkdir(parents=True)
        # A kernel that is interrupted between two cells logs a traceback of its own; what a
        # cell raises comes with the notebook.
        kernel = get_kernel_dict(extra_arguments=["--log-level=CRITICAL"])
        (spec / "kernel.json").write_text(json.dumps(kernel), encoding="utf-8")
        others = os.environ.get("JUPYTER_PATH")
        os.environ["JUPYTER_PATH"] = f"{folder}{os.pathsep}{others}" if others else folder
        os.environ["JUPYTER_RUNTIME_DIR"] = str(Path(folder, "runtime"))
        os.environ["PLOTLY_RENDERER"] = "plotly_mimetype"  # data only, no 5 MB of script
        yield


@contextmanager
def progress(console: Console) -> Iterator[Callable[..., None]]:
    """Show which part of the notebook is being executed; in a log, one line a part."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), Elapsed())
    is_live = console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not is_live) as bar:
        task = bar.add_task("Starting the kernel", total=None)

        num_cells = len(json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"])

        def tell(cell: NotebookNode, cell_index: int) -> None:
            for heading in HEADING.findall(cell.source):
                bar.update(task, description=heading)
                console.print(f"  {heading}")
            bar.update(task, completed=cell_index, total=num_cells)

        yield tell


def print_verdict(notebook: NotebookNode, console: Console) -> None:
    """Print the table of the notebook's verdict."""
    from bs4 import BeautifulSoup
    from rich.table import Table

    cell = next(c for c in notebook.cells if VERDICT in c.metadata.get("tags", []))
    html = BeautifulSoup(cell.outputs[0].data["text/html"], "html.parser")
    head, *rows = [
        [entry.get_text(strip=True) for entry in row.select("th, td")]
        for row in html.select("tr")
    ]
    console.print("\n[bold]Accuracy on the patients kept aside[/bold]")
    table = Table(box=None, header_style="dim")
    for column, name in enumerate(head):
        table.add_column(name, justify="right" if column else "left")
    for row in rows:
        table.add_row(*row, style="bold" if row is rows[-1] else "")
    console.print(table)


def print_next(places: dict[str, Path], console: Console) -> None:
    """Say where things lie, as seen from here."""
    console.print()
    for name, path in places.items():
        console.print(f"  {name:<9} {os.path.relpath(path)}", soft_wrap=True)


def print_commands(run_id: str, console: Console) -> None:
    """Say what to try next, with commands that work from here."""
    story = shlex.quote(os.path.relpath(NOTEBOOK))
    console.print("\nTry next:")
    for command, what in (
        (f"{program('flip-lab')} runs", "every run that the lab keeps"),
        (f"{program('flip-lab')} show {run_id}", "this run on one screen"),
        (f"{program('jupyter')} lab {story}", "the same, live, in JupyterLab"),
    ):
        console.print(f"  {command}  [dim]# {what}[/dim]", soft_wrap=True)


def program(name: str) -> str:
    """Give the shortest way to call a program of this environment from here."""
    ours = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    if found and Path(found) == ours:
        return name
    return shlex.quote(os.path.relpath(ours))


if __name__ == "__main__":
    sys.exit(main())
