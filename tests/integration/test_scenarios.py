"""Every shipped scenario, run as a user runs it, shows what it promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from flip_lab.core.state import RunState
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run

NAMES = sorted(path.stem for path in Path(__file__).parents[2].glob("scenarios/*.toml"))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(shared_lab: Lab) -> dict[str, Run]:
    """Run all scenarios, one after another: some are compared with others."""
    done: dict[str, Run] = {}
    for name in NAMES:
        done[name] = shared_lab.launch(name)
        assert done[name].wait(400) is RunState.COMPLETED, done[name].logs(tail=30)
    return done


@pytest.mark.parametrize("name", NAMES)
def test_a_scenario_shows_what_it_promises(
    name: str, runs: dict[str, Run], shared_lab: Lab
) -> None:
    """Every expectation holds, and there is at least one."""
    outcomes = shared_lab.check(runs[name])
    assert outcomes
    assert [
        f"{outcome.expectation.says} {outcome.observed} < {outcome.needed}"
        for outcome in outcomes
        if not outcome.holds
    ] == []
