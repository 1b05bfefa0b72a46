"""What stood behind a run: inside a git repository, with changes, and outside any."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest

from flip_lab.runs.lineage import capture_lineage
from flip_lab.store.blobs import Blobs
from flip_lab.store.layout import open_lab


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """Give the blobs of an empty lab."""
    return Blobs(open_lab(tmp_path / "lab"))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Give a git repository with one commit."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "train.py").write_text("lr = 1\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    return root


def git(root: Path, *arguments: str) -> str:
    """Run git as nobody in particular."""
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    command = ["git", *identity, *arguments]
    return subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=True
    ).stdout


def test_a_clean_repository_gives_its_commit(repository: Path, blobs: Blobs) -> None:
    """And nothing that would have to be kept."""
    lineage = capture_lineage(repository, blobs)
    assert lineage["git_commit"] == git(repository, "rev-parse", "HEAD").strip()
    assert lineage["git_dirty"] is False
    assert lineage["git_patch_sha256"] is None


def test_uncommitted_changes_are_kept_as_a_patch(repository: Path, blobs: Blobs) -> None:
    """So that the very code can be rebuilt."""
    (repository / "train.py").write_text("lr = 2\n")
    lineage = capture_lineage(repository, blobs)
    assert lineage["git_dirty"] is True
    patch = blobs.get(str(lineage["git_patch_sha256"])).decode()
    git(repository, "checkout", "-q", "--", ".")
    (repository / "p.diff").write_text(patch)
    git(repository, "apply", "p.diff")
    assert (repository / "train.py").read_text() == "lr = 2\n"


def test_a_new_file_makes_a_repository_dirty(repository: Path, blobs: Blobs) -> None:
    """Though a patch cannot show it."""
    (repository / "new.py").write_text("x = 1\n")
    lineage = capture_lineage(repository, blobs)
    assert lineage["git_dirty"] is True
    assert lineage["git_patch_sha256"] is None


def test_a_repository_without_a_commit_has_none(tmp_path: Path, blobs: Blobs) -> None:
    """A fresh ``git init`` is no reason to fail."""
    git(tmp_path, "init", "-q")
    assert capture_lineage(tmp_path, blobs)["git_commit"] is None


def test_outside_git_there_are_still_versions(
    tmp_path: Path, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where git is not installed."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for path in (None, ""):
        if path is not None:
            monkeypatch.setenv("PATH", path)
        lineage = capture_lineage(tmp_path, blobs)
        assert (lineage["git_commit"], lineage["git_dirty"]) == (None, None)
        assert lineage["python"] == platform.python_version()
        packages = blobs.get(str(lineage["env_sha256"])).decode()
        assert f"flwr=={lineage['flwr']}" in packages.splitlines()
