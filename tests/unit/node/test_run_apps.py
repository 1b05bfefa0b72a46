"""The runs that a node has met: fetched once, allowed each time anew."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flip_lab.core.errors import AppNotAllowedError
from flip_lab.engines.apps import ScenarioApp
from flip_lab.engines.flower.fab import build_fab
from flip_lab.engines.flower.fleet import RunApp
from flip_lab.fl.scenarios import load_scenario, scenario_to_json
from flip_lab.node.allowed import deny
from flip_lab.node.app_shelf import AppShelf
from flip_lab.node.config import NodeConfig, write_node
from flip_lab.node.run_apps import RunApps


class Hub:
    """Gives the app of any run, and counts."""

    def __init__(self) -> None:
        text = scenario_to_json(load_scenario("hospitals"))
        files = ScenarioApp(scenario_json=text).fab_files()
        self._fab = build_fab(files, {"scenario": text}).content
        self.num_fetched = 0
        self.overrides: dict[str, str] = {}

    async def app_of(self, run_id: int) -> RunApp:
        """Give it."""
        del run_id
        self.num_fetched += 1
        return RunApp(fab=self._fab, overrides=self.overrides)


def test_what_a_site_allows_counts_from_its_next_message_on(tmp_path: Path) -> None:
    """Also for a run that it knows; a file that cannot be read changes nothing."""
    config = NodeConfig(name="charite", hub="hub.test:1", directory=tmp_path / "node")
    write_node(config.directory, config)
    runs, hub = RunApps(config, AppShelf(tmp_path / "apps")), Hub()
    connection: Any = hub

    def ask() -> None:
        asyncio.run(runs.of(7, connection))

    ask()
    deny(config.directory, ["scenarios"])
    with pytest.raises(AppNotAllowedError):
        ask()
    (config.directory / "node.toml").write_text("this is no TOML", "utf-8")
    with pytest.raises(AppNotAllowedError):
        ask()
    write_node(config.directory, config)
    ask()
    assert hub.num_fetched == 1


def test_what_a_run_is_started_with_is_checked_as_what_it_brings(tmp_path: Path) -> None:
    """A hub takes other values for the keys of an app: clients see those."""
    config = NodeConfig(name="charite", hub="hub.test:1", directory=tmp_path)
    write_node(config.directory, config)
    hub = Hub()
    scenario = load_scenario("hospitals")
    secret = replace(scenario.data, dataset=f"hf:{tmp_path}")
    hub.overrides = {"scenario": scenario_to_json(replace(scenario, data=secret))}
    connection: Any = hub
    with pytest.raises(AppNotAllowedError, match="is a path"):
        asyncio.run(RunApps(config, AppShelf(tmp_path / "apps")).of(7, connection))
    hub.overrides = {"extra": "seen"}
    run = asyncio.run(RunApps(config, AppShelf(tmp_path / "apps")).of(7, connection))
    assert run.run_config["extra"] == "seen"
