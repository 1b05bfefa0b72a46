"""What stood behind a run: code, environment, versions."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.metadata import Distribution, distributions, version
from pathlib import Path

from flip_lab.core.ports import ArtifactStore

_GIT_TIMEOUT_S = 10
_QUESTIONS = ("rev-parse HEAD", "diff HEAD", "status --porcelain")
_HEAD_CHARS = 2000
_NAME = re.compile(r"^Name: *(\S+)", re.MULTILINE)
_VERSION = re.compile(r"^Version: *(\S+)", re.MULTILINE)


def capture_lineage(directory: Path, blobs: ArtifactStore) -> dict[str, str | bool | None]:
    """Describe the code and the environment a run starts from.

    Args:
        directory: Where the user works; its git repository is looked at, if any.
        blobs: Where the package list and the uncommitted changes are kept.

    Returns:
        ``git_commit``, ``git_dirty``, ``git_patch_sha256`` (``None`` outside a git
        repository or without changes), ``env_sha256`` and the versions of Python, Flower
        and FLIP Lab.
    """
    with ThreadPoolExecutor(3, thread_name_prefix="flip-git") as git:
        answers = [git.submit(_run_git, directory, question) for question in _QUESTIONS]
        packages = _packages(tuple(map(_changed, sys.path)))
        commit, patch, status = (answer.result() for answer in answers)
    return {
        **_code(commit.strip(), patch, status, blobs),
        "env_sha256": blobs.put(packages).sha256,
        "python": platform.python_version(),
        "flwr": version("flwr"),
        "flip_lab": _own_version(),
    }


def _changed(entry: str) -> tuple[str, int]:
    """Stamp a folder of packages: installing one adds or renames an entry of it."""
    try:
        return entry, Path(entry).stat().st_mtime_ns
    except OSError:
        return entry, 0


@lru_cache(maxsize=1)  # reading what hundreds of packages say of themselves takes a while
def _packages(search_path: tuple[tuple[str, int], ...]) -> bytes:
    del search_path  # what the list depends on
    return "\n".join(sorted({_name_and_version(item) for item in distributions()})).encode()


def _name_and_version(item: Distribution) -> str:
    """Give ``name==version``; ``item.name`` would parse the whole description as well."""
    head = (item.read_text("METADATA") or item.read_text("PKG-INFO") or "")[:_HEAD_CHARS]
    name, found = _NAME.search(head), _VERSION.search(head)
    if name is None or found is None:
        return f"{item.name}=={item.version}"
    return f"{name[1]}=={found[1]}"


def _own_version() -> str:
    from flip_lab import __version__

    return __version__


def _code(
    commit: str, patch: str, status: str, blobs: ArtifactStore
) -> dict[str, str | bool | None]:
    if not commit:
        return {"git_commit": None, "git_dirty": None, "git_patch_sha256": None}
    kept = blobs.put(patch.encode()).sha256 if patch else None
    return {
        "git_commit": commit,
        "git_dirty": bool(patch or status),
        "git_patch_sha256": kept,
    }


def _run_git(directory: Path, question: str) -> str:
    """Ask git; an absent git or repository is no error, just no answer."""
    try:
        done = subprocess.run(  # noqa: S603  # fixed arguments, no shell
            ["git", *question.split()],  # noqa: S607  # the user's own git
            cwd=directory,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},  # two of them look at once
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
