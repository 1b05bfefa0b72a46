"""``flip-lab node``: which nodes a process runs, where clients run, what makes one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flip_lab.cli import node_up
from flip_lab.cli.main import app
from flip_lab.node import running
from flip_lab.node.config import NodeConfig, write_node

RUNNER = CliRunner()


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[NodeConfig]:
    """Give the settings of the nodes that would run."""
    found: list[NodeConfig] = []

    def run_nodes(configs: Sequence[NodeConfig], **_: object) -> None:
        found.extend(configs)

    monkeypatch.setattr(running, "run_nodes", run_nodes)
    monkeypatch.setattr(node_up, "_same_environment", lambda: None)
    return found


@pytest.mark.parametrize(
    ("words", "workers"),
    [
        (["{0}/a"], [1]),
        (["{0}/a", "--workers", "3"], [3]),
        (["--count", "2", "--directory", "{0}"], [0, 0]),
        (["--count", "2", "--directory", "{0}", "--workers", "1"], [1, 1]),
    ],
)
def test_a_site_keeps_its_workers_and_a_load_has_none(
    tmp_path: Path, ran: list[NodeConfig], words: list[str], workers: list[int]
) -> None:
    """A hundred nodes of one process run their clients in it, unless they are told."""
    for name in ("a", "b"):
        config = NodeConfig(name=name, hub="h:1", directory=tmp_path / name, workers=1)
        write_node(tmp_path / name, config)
    told = [word.format(tmp_path) for word in words]
    result = RUNNER.invoke(app, ["node", "up", *told])
    assert result.exit_code == 0, result.output
    assert [config.workers for config in ran] == workers


def test_a_kit_that_is_still_packed_is_told_from_one_that_is_missing(
    tmp_path: Path,
) -> None:
    """A site is handed one file; what it needs is the directory in it."""
    kit = tmp_path / "st-mary.zip"
    kit.write_bytes(b"PK")
    result = RUNNER.invoke(app, ["node", "enroll", "--kit", str(kit)])
    assert result.exit_code == 2
    assert "unpack it" in result.output
