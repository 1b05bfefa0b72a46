"""What travels to each actor once a run: how to get the app, and how to feel at home."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flip_lab.engines.apps import ScenarioApp
from flip_lab.engines.base import AppSource, Job
from flip_lab.engines.clients import ClientSetting
from flip_lab.engines.simulation import setting_of

_SMALL_BYTES = 64 << 20
_NOT_THE_RUNS = ("RAY_", "CUDA_", "PYTHON", "LD_")  # Ray's, the device's, the process's own


def this_host() -> str:
    """Name the machine or container: what can see the files of this one."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{platform.node()}/{boot_id}"


@dataclass(frozen=True, kw_only=True)
class RunPackage:
    """All that an actor needs to know of a run; shipped once.

    Attributes:
        app: Where the ClientApp comes from.
        setting: What is the same for every client of the run.
        work_dir: Directory that apps run in.
        search_path: The run process's ``sys.path``; a Ray runtime environment would cost
            seconds for each actor.
        environment: The run process's environment; ``None`` leaves an actor its own.
        host: The machine on which these paths exist.
        files: The app's files by relative path, where the session has other machines.
        gate: Where actors that do not share memory with the run find its gate.
    """

    app: AppSource
    setting: ClientSetting
    work_dir: Path
    search_path: Sequence[str]
    environment: Mapping[str, str] | None
    host: str
    files: Mapping[str, bytes]
    gate: str


def is_our_own(app: object) -> bool:
    """Whether an app leaves nothing of its own in the process that loads it."""
    return isinstance(app, ScenarioApp)


def package_of(ray: Any, job: Job, gate: str) -> RunPackage:  # noqa: ANN401  # an optional package
    """Pack the run.

    Where the session has other machines, the app's files go along, and the environment,
    which may hold secrets, stays here.

    Args:
        ray: The ``ray`` module, connected.
        job: The run.
        gate: The name of the run's gate in the session.
    """
    hosts = {node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    is_spread = len(hosts) > 1
    return RunPackage(
        app=job.app,
        setting=setting_of(job),
        work_dir=job.work_dir,
        search_path=list(sys.path),
        environment=None if is_spread else dict(os.environ),
        host=this_host(),
        files=_files_of(job.app) if is_spread else {},
        gate=gate,
    )


def _files_of(app: Any) -> Mapping[str, bytes]:  # noqa: ANN401  # sources of others, too
    """Read a small app's directory; of a large one, which holds data, its source files."""
    directory: Path | None = getattr(app, "directory", None)
    if directory is None:
        return {}
    paths = [
        path
        for path in sorted(directory.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]
    if sum(path.stat().st_size for path in paths) > _SMALL_BYTES:
        return app.fab_files()
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def move_in(package: RunPackage, scratch: Path) -> AppSource:
    """Go where the app is, in a process of another machine too.

    Args:
        package: The run.
        scratch: An empty directory, for an app whose own is not on this machine.

    Returns:
        The app, as it is found from here.
    """
    app: Any = package.app
    if package.host == this_host():
        paths = package.search_path
        sys.path[:] = [*paths, *(path for path in sys.path if path not in paths)]
        if package.environment is not None:
            _set_environment(package.environment)
        os.chdir(package.work_dir)
        return app
    directory: Path | None = getattr(app, "directory", None)
    if directory is not None and not directory.is_dir():
        for name, data in package.files.items():
            path = scratch / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        app = replace(app, directory=scratch)
    os.chdir(package.work_dir if package.work_dir.is_dir() else scratch)
    return app


def _set_environment(environment: Mapping[str, str]) -> None:
    own = {k: v for k, v in os.environ.items() if k.startswith(_NOT_THE_RUNS)}
    theirs = {k: v for k, v in environment.items() if not k.startswith(_NOT_THE_RUNS)}
    os.environ.clear()
    os.environ.update(theirs | own)
