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
        environment: The run process's environment.
        host: The machine on which these paths exist.
        files: The app's files by relative path, where the session has other machines.
    """

    app: AppSource
    setting: ClientSetting
    work_dir: Path
    search_path: Sequence[str]
    environment: Mapping[str, str]
    host: str
    files: Mapping[str, bytes]


def is_our_own(app: object) -> bool:
    """Whether an app leaves nothing of its own in the process that loads it."""
    return isinstance(app, ScenarioApp)


def package_of(ray: Any, job: Job) -> RunPackage:  # noqa: ANN401  # an optional package
    """Pack the run; the app's files go along where the session has other machines."""
    hosts: set[str] = {node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    app: Any = job.app
    directory = getattr(app, "directory", None)
    files: Mapping[str, bytes] = {}
    if len(hosts) > 1 and directory is not None:
        files = _files_under(Path(directory))
    return RunPackage(
        app=app,
        setting=setting_of(job),
        work_dir=job.work_dir,
        search_path=list(sys.path),
        environment=dict(os.environ),
        host=this_host(),
        files=files,
    )


def _files_under(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def move_in(package: RunPackage) -> None:
    """Take over directory, search path and environment of the run process."""
    paths = package.search_path
    sys.path[:] = [*paths, *(path for path in sys.path if path not in paths)]
    own = {k: v for k, v in os.environ.items() if k.startswith(_NOT_THE_RUNS)}
    theirs = package.environment.items()
    os.environ.clear()
    os.environ.update({k: v for k, v in theirs if not k.startswith(_NOT_THE_RUNS)} | own)
    os.chdir(package.work_dir)


def unpack_app(package: RunPackage, directory: Path) -> AppSource:
    """Write the app's files to this machine, and go there."""
    for name, data in package.files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    os.chdir(directory)
    app: Any = package.app
    return replace(app, directory=directory) if hasattr(app, "directory") else app
