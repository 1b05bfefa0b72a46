"""``flip-lab node up``, ``allow`` and ``deny``: a site's node, and what may run on it."""

# typer.Option is untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from flip_lab.cli.guard import guarded
from flip_lab.cli.options import JsonOption
from flip_lab.cli.output import people, print_json

Directory = Annotated[
    Path, typer.Argument(help="The node's directory, made by `flip-lab node enroll`.")
]
Allowances = Annotated[
    list[str],
    typer.Argument(help="`scenarios`, `any`, `sha256:<app hash>`, or an app's directory."),
]
InDirectory = Annotated[
    Path, typer.Option("--directory", "-d", help="The node's directory.")
]


@guarded
def up(  # noqa: PLR0913, PLR0917  # one parameter for each option
    directory: Directory = Path(),
    count: Annotated[
        int, typer.Option(min=1, help="Run this many nodes in one process, for load tests.")
    ] = 1,
    parent: Annotated[
        Path | None,
        typer.Option("--directory", help="With --count: where the nodes' directories are."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Worker processes, in place of node.toml's; limits need one. Default "
            "with --count: 0.",
        ),
    ] = None,
    drain: Annotated[
        float, typer.Option(min=0, help="Seconds for work under way when asked to end.")
    ] = 80.0,
    serve: Annotated[
        bool, typer.Option("--serve", help="Answer predictions, as [serve] says.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run this site's node until it is asked to end (SIGTERM, Ctrl-C).

    It reconnects with the same identity after any outage. What it is doing stands in
    status.json and node.log in its directory. The first signal lets it finish what is
    under way; a second one ends it at once.
    """
    _same_environment()
    from flip_lab.node.config import ServeSettings, load_node
    from flip_lab.node.running import run_nodes

    configs = [load_node(each) for each in _directories(directory, parent, count)]
    if workers is None and count > 1:
        workers = 0  # a hundred nodes of one machine are one program's load
    if workers is not None:
        configs = [replace(config, workers=workers) for config in configs]
    if serve:
        configs = [replace(c, serve=c.serve or ServeSettings()) for c in configs]
    first = configs[0]

    def tell() -> None:
        if as_json:
            print_json({"nodes": [each.name for each in configs], "process": os.getpid()})
        else:
            names = first.name if len(configs) == 1 else f"{len(configs)} nodes"
            people.print(
                f"{names} of {first.hub}: status.json in {first.directory} says more."
            )

    run_nodes(configs, on_ready=tell, drain_s=drain)


@guarded
def allow(
    allowances: Allowances, directory: InDirectory = Path(), as_json: JsonOption = False
) -> None:
    """Let apps run at this site; a running node sees it with the next run."""
    from flip_lab.node.allowed import allow as allow_here

    config = allow_here(directory, [_hashed(each) for each in allowances])
    _print_allowed(config.name, config.allow, as_json=as_json)


@guarded
def deny(
    allowances: Allowances, directory: InDirectory = Path(), as_json: JsonOption = False
) -> None:
    """Let apps run at this site no longer; a running node sees it with the next message."""
    from flip_lab.node.allowed import deny as deny_here

    config = deny_here(directory, [_hashed(each) for each in allowances])
    _print_allowed(config.name, config.allow, as_json=as_json)


def _hashed(allowance: str) -> str:
    """Give the entry that stands for an app's directory; anything else as it is."""
    if not (Path(allowance) / "pyproject.toml").is_file():
        return allowance
    from flip_lab.engines.apps import DirectoryApp
    from flip_lab.engines.flower.fab import app_hash, build_fab
    from flip_lab.engines.flower.fab_contents import read_fab

    app = DirectoryApp(directory=Path(allowance), server_ref="", client_ref="")
    fab = build_fab(app.fab_files(), {})
    return f"sha256:{app_hash(read_fab(fab.content).files)}"


def _print_allowed(name: str, allowed: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        print_json({"name": name, "allow": list(allowed)})
    else:
        people.print(f"{name} allows: {', '.join(allowed) or 'nothing'}.")


def _directories(directory: Path, parent: Path | None, count: int) -> list[Path]:
    """Give the directories of the nodes to run.

    Raises:
        HubStateError: If there are fewer than asked for.
    """
    if parent is None and count == 1:
        return [directory]
    from flip_lab.core.errors import HubStateError

    place = parent or directory
    found = sorted(path.parent for path in place.glob("*/node.toml"))
    if len(found) < count:
        raise HubStateError(
            f"{place} holds {len(found)} enrolled nodes, not {count}.",
            fix="Enrol more with `flip-lab node enroll`, each into a directory of its own.",
        )
    return found[:count]


def _same_environment() -> None:
    """Start again in the environment of every process that computes something for a run.

    The number of threads and the order of sets are decided when a process starts.
    """
    from flip_lab.engines.environment import process_environment

    wanted = process_environment()
    if any(os.environ.get(key) != value for key, value in wanted.items()):
        command = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, command, wanted)  # noqa: S606  # our own command, no shell
