"""Scenario files: what is right comes back equal, what is wrong is named with a fix."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.errors import (
    InvalidValueError,
    ScenarioError,
    UnknownKeyError,
    UnknownNameError,
)
from flip_lab.core.scenario import DataSpec, Expectation, Scenario, TrainSpec
from flip_lab.fl.scenarios import (
    load_scenario,
    scenario_from_dict,
    scenario_from_json,
    scenario_names,
    scenario_to_dict,
    scenario_to_json,
    scenario_to_toml,
    validate,
)

SMALL = """
name = "small"
[data]
dataset = "digits"
num_partitions = 4
"""


def write(folder: Path, text: str) -> Path:
    """Write a scenario file."""
    path = folder / "small.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_shipped_scenario_is_valid_and_called_like_its_file() -> None:
    """A name in a list can be loaded, and says what it shows."""
    names = scenario_names()
    assert {"hospitals", "digits-iid", "digits-dirichlet", "mnist-pathological"} <= set(
        names
    )
    for name in names:
        scenario = load_scenario(name)
        assert scenario.name == name
        assert scenario.title
        assert "What to look for" in scenario.description


def test_a_file_needs_only_a_name_and_the_data(tmp_path: Path) -> None:
    """Everything else has a default."""
    scenario = load_scenario(write(tmp_path, SMALL))
    assert scenario == Scenario(
        name="small", data=DataSpec(dataset="digits", num_partitions=4)
    )


def test_the_users_own_folder_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scenario beside the notebook is found by name and hides a shipped one."""
    (tmp_path / "scenarios").mkdir()
    write(tmp_path / "scenarios", SMALL).rename(tmp_path / "scenarios" / "hospitals.toml")
    monkeypatch.chdir(tmp_path)
    assert load_scenario("hospitals").name == "small"
    assert "digits-iid" in scenario_names()


def test_overrides_are_checked_like_the_file(tmp_path: Path) -> None:
    """A changed value is converted, or refused, as if it stood in the file."""
    path = write(tmp_path, SMALL)
    changed = load_scenario(path, {"num_rounds": 3, "learning_rate": 1})
    assert changed.train == TrainSpec(num_rounds=3, learning_rate=1.0)
    with pytest.raises(InvalidValueError, match=r"train.num_rounds is 0.*whole number ≥ 1"):
        load_scenario(path, {"num_rounds": 0})


@pytest.mark.parametrize("name", scenario_names())
def test_a_scenario_survives_toml_json_and_dict(name: str, tmp_path: Path) -> None:
    """Writing and reading loses nothing, so a kept run can be run again."""
    scenario = load_scenario(name)
    assert load_scenario(write(tmp_path, scenario_to_toml(scenario))) == scenario
    assert scenario_from_json(scenario_to_json(scenario)) == scenario
    assert scenario_from_dict(scenario_to_dict(scenario)) == scenario


@given(
    seed=st.integers(0, 2**32 - 1),
    at_least=st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.just("pooled")),
    title=st.text(st.characters(codec="utf-8"), max_size=20),
    alpha=st.floats(0.01, 10),
)
def test_any_scenario_survives_json(
    seed: int, at_least: float | str, title: str, alpha: float
) -> None:
    """The run's configuration carries a scenario without loss."""
    scenario = Scenario(
        name="any",
        title=title,
        seed=seed,
        data=DataSpec(dataset="digits", num_partitions=2, options={"alpha": alpha}),
        expect=(Expectation(says="so", at_least=at_least),),
    )
    assert scenario_from_json(scenario_to_json(scenario)) == scenario


def test_an_unknown_scenario_names_the_nearest() -> None:
    """A slip of the finger costs one look."""
    with pytest.raises(UnknownNameError, match="Did you mean 'hospitals'"):
        load_scenario("hospital")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A path that leads nowhere is a scenario error, not a stack trace."""
    with pytest.raises(ScenarioError, match=r"nothing\.toml cannot be read"):
        load_scenario(tmp_path / "nothing.toml")


def test_broken_toml_is_named_with_its_line(tmp_path: Path) -> None:
    """The message says where to look."""
    with pytest.raises(ScenarioError, match="line 2") as caught:
        load_scenario(write(tmp_path, 'name = "x"\nseed = = 3\n'))
    assert caught.value.code == "FLIP-100"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            SMALL + "[train]\nnum_round = 3",
            UnknownKeyError,
            "'train.num_round'.*'num_rounds'",
        ),
        ("nam = 1\n" + SMALL, UnknownKeyError, "'nam'.*Did you mean 'name'"),
        (SMALL + "[optimiser]\nname = 'x'", UnknownKeyError, "'optimiser'"),
        (
            SMALL + "[[expect]]\nsays = 'x'\nat_least = 1\nmargins = 2",
            UnknownKeyError,
            r"'expect\[0\].margins'.*Did you mean 'margin'",
        ),
        ('name = "x"', ScenarioError, "'data' is missing"),
        (
            'name = "x"\n[data]\nnum_partitions = 2',
            ScenarioError,
            "'data.dataset' is missing",
        ),
        (
            SMALL.replace("4", "'4'"),
            InvalidValueError,
            "data.num_partitions is '4'.*a whole number ≥ 1",
        ),
        (SMALL.replace("4", "4.0"), InvalidValueError, "data.num_partitions is 4.0"),
        (SMALL.replace("4", "true"), InvalidValueError, "data.num_partitions is True"),
        (
            SMALL + "test_fraction = 0.95",
            InvalidValueError,
            "test_fraction is 0.95.*a number > 0 and ≤ 0.9",
        ),
        (SMALL + "[train]\nlearning_rate = inf", InvalidValueError, "learning_rate is inf"),
        (SMALL + "[train]\nlearning_rate = nan", InvalidValueError, "learning_rate is nan"),
        ("seed = -1\n" + SMALL, InvalidValueError, "seed is -1.*≥ 0 and ≤ 4294967295"),
        (SMALL + "[model]\nname = 3", InvalidValueError, "model.name is 3.*a text"),
        ('name = "x"\ndata = 5', InvalidValueError, "data is 5.*a table"),
        (
            SMALL + "[data.options]\nalpha = {x = 1}",
            InvalidValueError,
            r"data.options.alpha is \{'x': 1\}",
        ),
        (
            SMALL + "[[expect]]\nsays = 'x'\nat_least = [1]",
            InvalidValueError,
            r"expect\[0\].at_least is \[1\].*a number or a text",
        ),
        (
            SMALL + "[[expect]]\nsays = 'x'\nat_least = 'poled'",
            InvalidValueError,
            r"expect\[0\].at_least is 'poled'.*'pooled'",
        ),
        (
            SMALL + "[[expect]]\nsays = 'x'\nat_least = 'scenario:digit-iid'",
            UnknownNameError,
            "Did you mean 'digits-iid'",
        ),
        (SMALL.replace("digits", "digitz"), UnknownNameError, "data set.*'digits'"),
        (
            SMALL + "partitioner = 'dirichlett'",
            UnknownNameError,
            "Did you mean 'dirichlet'",
        ),
        (SMALL + "[model]\nname = 'cn'", UnknownNameError, "Did you mean 'cnn'"),
        (SMALL + "[strategy]\nname = 'FedAvgg'", UnknownNameError, "Did you mean 'FedAvg'"),
        (
            SMALL + "partitioner = 'dirichlet'\n[data.options]\nalfa = 1",
            UnknownKeyError,
            "'data.options.alfa'.*Did you mean 'alpha'",
        ),
        (
            SMALL + "[model]\nname = 'mlp'\n[model.options]\nhidden = 0",
            InvalidValueError,
            "model.options.hidden is 0.*a whole number ≥ 1",
        ),
        (
            SMALL + "partitioner='pathological'\n[data.options]\nclass_assignment='any'",
            InvalidValueError,
            "class_assignment is 'any'.*'random' or 'deterministic'",
        ),
        (
            SMALL + "[strategy]\nname = 'FedProx'\n[strategy.options]\nmu = 1.0",
            UnknownKeyError,
            "FedProx has no option 'mu'.*proximal_mu",
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_a_fix(
    text: str, error: type[ScenarioError], message: str, tmp_path: Path
) -> None:
    """Each mistake has its code, its path and what may stand there."""
    with pytest.raises(error, match=message) as caught:
        load_scenario(write(tmp_path, text))
    assert type(caught.value) is error


def test_validate_also_checks_a_scenario_built_in_python() -> None:
    """The constructor takes anything; the border does not."""
    spec = DataSpec(dataset="digits", num_partitions=0)
    with pytest.raises(InvalidValueError, match=r"data\.num_partitions is 0"):
        validate(Scenario(name="x", data=spec))
