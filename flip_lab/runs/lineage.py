"""What stood behind a run: code, environment, versions."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import distributions, version
from pathlib import Path

from flip_lab.core.ports import ArtifactStore

_GIT_TIMEOUT_S = 10


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
    packages = sorted({f"{item.name}=={item.version}" for item in distributions()})
    return {
        **_git(directory, blobs),
        "env_sha256": blobs.put("\n".join(packages).encode()).sha256,
        "python": platform.python_version(),
        "flwr": version("flwr"),
        "flip_lab": _own_version(),
    }


def _own_version() -> str:
    from flip_lab import __version__

    return __version__


def _git(directory: Path, blobs: ArtifactStore) -> dict[str, str | bool | None]:
    commit = _run_git(directory, "rev-parse", "HEAD").strip()
    if not commit:
        return {"git_commit": None, "git_dirty": None, "git_patch_sha256": None}
    patch = _run_git(directory, "diff", "HEAD")
    dirty = bool(patch or _run_git(directory, "status", "--porcelain"))
    kept = blobs.put(patch.encode()).sha256 if patch else None
    return {"git_commit": commit, "git_dirty": dirty, "git_patch_sha256": kept}


def _run_git(directory: Path, *arguments: str) -> str:
    """Ask git; an absent git or repository is no error, just no answer."""
    try:
        done = subprocess.run(  # noqa: S603  # fixed arguments, no shell
            ["git", *arguments],  # noqa: S607  # the user's own git
            cwd=directory,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
