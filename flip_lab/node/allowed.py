"""Which apps may run at a site: the site says so, by the hash of their code."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from flip_lab.core.errors import AppNotAllowedError, InvalidValueError
from flip_lab.engines.apps import ScenarioApp
from flip_lab.engines.flower.fab import app_hash
from flip_lab.engines.flower.fab_contents import FabContents
from flip_lab.fl.data.hub import HUB_PREFIX
from flip_lab.fl.scenarios import scenario_from_json
from flip_lab.node.config import (
    ANYTHING,
    SCENARIOS,
    WORK,
    NodeConfig,
    checked_allowance,
    load_node,
    write_node,
)

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


@lru_cache(maxsize=1)
def scenario_hash() -> str:
    """Give the hash of the app that carries FLIP Lab's own scenarios, of this version."""
    return app_hash(ScenarioApp(scenario_json="").fab_files())


def check_allowed(config: NodeConfig, app: FabContents) -> None:
    """Let an app pass, or not.

    Raises:
        AppNotAllowedError: If the site does not allow it.
    """
    is_scenario = app.app_hash == scenario_hash()
    allowed = {f"sha256:{app.app_hash}", ANYTHING}
    if is_scenario:
        allowed.add(SCENARIOS)
    if allowed.isdisjoint(config.allow):
        raise AppNotAllowedError(
            f"The site {config.name!r} does not allow the app with the hash "
            f"{app.app_hash}.",
            fix="Ask the site to look at the app and to run "
            f"`flip-lab node allow sha256:{app.app_hash}` in its directory.",
        )
    if is_scenario and ANYTHING not in config.allow:
        _check_scenario(config, app)


def _check_scenario(config: NodeConfig, app: FabContents) -> None:
    """Keep scenarios from reading whatever lies on the node's disks.

    Raises:
        AppNotAllowedError: If the scenario names a path as its data.
    """
    scenario = scenario_from_json(str(app.run_config.get("scenario", "")))
    name = scenario.data.dataset
    place = name.removeprefix(HUB_PREFIX).partition("@")[0]
    if name.startswith(HUB_PREFIX) and not _is_elsewhere(config, place):
        raise AppNotAllowedError(
            f"The scenario's data {name!r} is a path on the machine of {config.name!r}, or "
            "may be one.",
            fix='Use the data that the site offers, with dataset = "site", or name a data '
            "set of the Hugging Face hub with its owner: hf:owner/name.",
        )


def _is_elsewhere(config: NodeConfig, place: str) -> bool:
    """Say whether this can only be an owner and a name of the Hugging Face hub.

    ``datasets`` takes a word alone, such as ``imagefolder``, for a reader of what lies
    around it, and a path from where the client runs.
    """
    around = (Path(), config.directory / WORK)
    is_id = _HUB_ID.fullmatch(place) is not None
    return is_id and not any((each / place).exists() for each in around)


def allow(directory: Path, allowances: list[str]) -> NodeConfig:
    """Add to what a node allows; the running node sees it with the next app.

    Args:
        directory: The node's directory.
        allowances: ``scenarios``, ``any`` or ``sha256:<app hash>``.

    Raises:
        InvalidValueError: If one means nothing.
    """
    config = load_node(directory)
    for each in allowances:
        checked_allowance(each, str(directory))
    both = dict.fromkeys([*config.allow, *allowances])
    return _kept(directory, replace(config, allow=tuple(both)))


def deny(directory: Path, allowances: list[str]) -> NodeConfig:
    """Take away from what a node allows; the running node sees it with the next app.

    Raises:
        InvalidValueError: If one was not allowed anyway.
    """
    config = load_node(directory)
    for each in allowances:
        if each not in config.allow:
            raise InvalidValueError(
                f"{config.name!r} does not allow {each!r} anyway.",
                fix=f"It allows: {', '.join(config.allow) or 'nothing'}.",
            )
    rest = tuple(each for each in config.allow if each not in allowances)
    return _kept(directory, replace(config, allow=rest))


def _kept(directory: Path, config: NodeConfig) -> NodeConfig:
    write_node(directory, config)
    return config
