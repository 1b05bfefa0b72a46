"""An app as it was at launch: edits afterwards change nothing, data stays in reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from flip_lab.runs.snapshot import take_snapshot


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Give an app directory with code, data, rubbish, and a link."""
    root = tmp_path / "my app"
    for name, content in {
        "pyproject.toml": "[project]",
        "pkg/__init__.py": "",
        "pkg/task.py": "x = 1",
        "small.csv": "1,2",
        "results/plots/loss.png": "of an earlier run",
        "images/0.png": "picture",
        ".git/config": "secret",
        ".env": "TOKEN=1",
        "pkg/__pycache__/task.pyc": "stale",
        "venv/lib/thing.py": "thousands of files",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    for large in ("large.bin", "images/1.png"):
        (root / large).write_bytes(b"\0" * (11 << 20))
    (root / "dangling").symlink_to("nowhere")
    return root


def test_edits_after_the_launch_do_not_reach_the_run(app: Path, tmp_path: Path) -> None:
    """And what the run writes beside its code does not reach the user's directory."""
    take_snapshot(app, tmp_path / "s")
    (app / "pkg/task.py").write_text("x = 2")
    (app / "small.csv").write_text("3")
    assert (tmp_path / "s/pkg/task.py").read_text() == "x = 1"
    assert (tmp_path / "s/small.csv").read_text() == "1,2"
    (tmp_path / "s/pyproject.toml").write_text("changed by the app")
    assert (app / "pyproject.toml").read_text() == "[project]"


def test_data_is_linked(app: Path, tmp_path: Path) -> None:
    """Large files and folders cost nothing, and are found where they were."""
    take_snapshot(app, tmp_path / "s")
    assert (tmp_path / "s/large.bin").is_symlink()
    assert (tmp_path / "s/images").is_symlink()
    assert (tmp_path / "s/images/0.png").read_text() == "picture"


def test_results_of_an_earlier_run_are_not_overwritten(app: Path, tmp_path: Path) -> None:
    """An app that saves into a folder that is already there saves into the copy."""
    take_snapshot(app, tmp_path / "s")
    (tmp_path / "s/results/plots/loss.png").write_text("of this run")
    assert (app / "results/plots/loss.png").read_text() == "of an earlier run"


def test_what_is_no_part_of_the_app_stays_out(app: Path, tmp_path: Path) -> None:
    """Hidden files may be secrets, environments are large, caches are stale."""
    take_snapshot(app, tmp_path / "s")
    names = {path.name for path in (tmp_path / "s").rglob("*")}
    assert names.isdisjoint({".git", ".env", "__pycache__", "venv"})


def test_a_link_to_nowhere_is_no_obstacle(app: Path, tmp_path: Path) -> None:
    """It is as broken in the snapshot as it was."""
    take_snapshot(app, tmp_path / "s")
    assert not (tmp_path / "s/dangling").exists()


def test_a_lab_inside_the_app_is_not_copied_into_itself(app: Path) -> None:
    """People launch the directory that they are in, where the lab is."""
    into = app / "lab" / "runs" / "r1" / "app"
    take_snapshot(app, into)
    assert not (into / "lab").exists()
    assert (into / "pkg/task.py").exists()


def test_the_hash_follows_the_sources(app: Path, tmp_path: Path) -> None:
    """Names and contents count; data, place and rubbish do not."""
    first = take_snapshot(app, tmp_path / "1")
    (app / "images/0.png").write_text("another picture")
    (app / ".env").write_text("TOKEN=2")
    assert take_snapshot(app, tmp_path / "2") == first
    (app / "pkg/task.py").write_text("x = 2")
    edited = take_snapshot(app, tmp_path / "3")
    (app / "pkg/task.py").rename(app / "pkg/renamed.py")
    renamed = take_snapshot(app, tmp_path / "4")
    assert len({first, edited, renamed}) == 3
    assert len(first) == 64
