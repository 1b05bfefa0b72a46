"""``run.json``: whole there and back, kind to newer versions, clear when damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.errors import RunNotFoundError
from flip_lab.engines.apps import DirectoryApp, PickledApp, ScenarioApp
from flip_lab.runs.spec import RunSpec
from flip_lab.store.layout import write_json_atomic

SPEC = RunSpec(
    run_id="r1",
    name="demo",
    kind="app",
    created_s=1.25,
    seed=3,
    num_rounds=None,
    num_nodes=4,
    engine="ray",
    federation=None,
    workers=2,
    run_config={"lr": 0.1},
    overrides={"lr": 0.1},
    server_ref="a:b",
    client_ref="c:d",
    lineage={"git_commit": None},
)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(),
    st.text(st.characters(codec="utf-8"), max_size=8),
)


@given(
    run_config=st.dictionaries(st.text("abc.-", min_size=1), SCALARS, max_size=4),
    name=st.text(st.characters(codec="utf-8"), max_size=8),
    num_rounds=st.none() | st.integers(1, 1000),
)
def test_a_spec_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    run_config: dict[str, bool | int | float | str],
    name: str,
    num_rounds: int | None,
) -> None:
    """Through the very file that the run process reads; also numbers that JSON lacks."""
    folder = tmp_path_factory.mktemp("run")
    spec = replace(SPEC, run_config=run_config, name=name, num_rounds=num_rounds)
    write_json_atomic(folder / "run.json", spec.to_json())
    assert repr(RunSpec.load(folder)) == repr(spec)  # NaN is equal to nothing


def test_keys_of_a_newer_version_are_ignored() -> None:
    """An older FLIP Lab still lists the run."""
    assert RunSpec.from_json({**SPEC.to_json(), "energy_wh": 3}) == SPEC


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", "3", "null", '{"run_id": "r1"}', '"text"']
)
def test_a_damaged_file_is_a_run_that_cannot_be_found(
    tmp_path: Path, content: str | None
) -> None:
    """Cut short, of another shape, or missing: one coded error."""
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunNotFoundError):
        RunSpec.load(tmp_path)


def test_a_spec_says_where_its_apps_are(tmp_path: Path) -> None:
    """Each of the three inputs has its own source."""
    notebook = replace(SPEC, kind="notebook").app(tmp_path)
    scenario = replace(SPEC, kind="scenario", run_config={"scenario": "{}"}).app(tmp_path)
    assert SPEC.app(tmp_path) == DirectoryApp(
        directory=tmp_path / "app", server_ref="a:b", client_ref="c:d"
    )
    assert notebook == PickledApp(directory=tmp_path / "app")
    assert scenario == ScenarioApp(scenario_json="{}")


def test_the_file_can_be_read_by_others() -> None:
    """Plain JSON with the promised keys."""
    keys = set(json.loads(json.dumps(SPEC.to_json())))
    assert keys >= {
        "run_id",
        "name",
        "kind",
        "created_s",
        "seed",
        "num_rounds",
        "num_nodes",
        "engine",
        "federation",
        "workers",
        "scenario",
        "scenario_fingerprint",
        "overrides",
        "lineage",
    }
