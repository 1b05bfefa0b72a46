"""What can be set in a scenario, as data: complete, and as the checks have it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Le, Lt

from flip_lab.fl.docstrings import first_line, meanings, plain
from flip_lab.fl.form_field import form_field, label_of
from flip_lab.fl.partitioners import PARTITIONERS
from flip_lab.fl.scenarios import load_scenario, scenario_names, validate
from flip_lab.fl.schema import (
    OPTIONS,
    REGISTRIES,
    option_defaults,
    option_items,
    scenario_fields,
    thing_called,
    value_at,
)
from flip_lab.fl.strategies import STRATEGIES, check_strategy

OPTIONAL = Annotated[float, Lt(2)] | None  # pyright: ignore[reportOperatorIssue]  # a hint at run time


def every_path(part: Any, prefix: str = "") -> Iterator[str]:  # noqa: ANN401  # any spec
    """List the fields of a scenario by their paths."""
    for item in fields(part):
        value = getattr(part, item.name)
        path = f"{prefix}{item.name}"
        yield from every_path(value, f"{path}.") if is_dataclass(value) else [path]


@pytest.mark.parametrize("name", scenario_names())
def test_every_field_of_a_scenario_is_there_once(name: str) -> None:
    """Tables of options are replaced by the options; what is new cannot be forgotten."""
    scenario = load_scenario(name)
    listed = [each.path for each in scenario_fields(scenario) if not each.is_option]
    wanted = [path for path in every_path(scenario) if path not in OPTIONS]
    assert sorted(listed) == sorted(wanted)
    json.dumps([asdict(each) for each in scenario_fields(scenario)], default=asdict)


@pytest.mark.parametrize("path", OPTIONS)
def test_every_option_of_every_name_is_there_with_its_meaning(path: str) -> None:
    """Whatever is chosen: its options, each with a sentence of its own docstring."""
    scenario = load_scenario("digits-dirichlet")
    for name in REGISTRIES[OPTIONS[path]].names():
        changed = scenario.override({OPTIONS[path]: name, path: {}})
        found = {
            each.path: each
            for each in scenario_fields(changed)
            if each.path.startswith(f"{path}.")
        }
        builder = thing_called(OPTIONS[path], name)
        assert builder is not None
        assert {*found} == {f"{path}.{item.name}" for item in option_items(builder)}
        assert all(each.help and each.words and each.is_option for each in found.values())


def test_the_defaults_of_a_form_are_what_would_run() -> None:
    """Also where we choose in Flower's stead, and where one value follows another."""
    for name in STRATEGIES.names():
        scenario = load_scenario("hospitals").override({"strategy": name})
        scenario = scenario.override({"strategy.options": {}, "data.num_partitions": 3})
        defaults = option_defaults(validate(scenario))
        used = check_strategy(scenario)
        told = {
            path.rpartition(".")[2]: value
            for path, value in defaults.items()
            if path.startswith("strategy.options.")
        }
        assert told == {key: used[key] for key in told}


def test_values_and_given_options_are_the_defaults() -> None:
    """A form of a scenario begins with what the scenario says."""
    scenario = load_scenario("digits-dirichlet")
    by_path = {each.path: each for each in scenario_fields(scenario)}
    assert by_path["data.options.alpha"].default == pytest.approx(0.3)
    assert by_path["train.learning_rate"].default == value_at(
        scenario, "train.learning_rate"
    )
    assert by_path["strategy.options.min_available_nodes"].default == 10
    assert by_path["strategy.options.min_train_nodes"].most == 10
    assert by_path["data.partitioner"].about == first_line(PARTITIONERS.get("dirichlet"))
    assert "dirichlet" in by_path["data.partitioner"].choices
    assert by_path["data.partitioner"].is_closed
    assert not by_path["data.dataset"].is_closed


def test_an_unknown_name_has_no_options() -> None:
    """The form stands, so that the name can be corrected."""
    scenario = load_scenario("hospitals").override({"strategy": "FedAgv"})
    assert not [each for each in scenario_fields(scenario) if "strategy.opt" in each.path]


@pytest.mark.parametrize(
    ("hint", "wanted"),
    [
        (bool, {"kind": "boolean"}),
        (Annotated[int, Ge(1)], {"kind": "integer", "least": 1}),
        (Annotated[float, Gt(0), Le(0.9)], {"kind": "number", "above": 0, "most": 0.9}),
        (OPTIONAL, {"below": 2, "is_optional": True}),
        (str, {"kind": "text", "choices": (), "is_closed": False}),
        (Literal["a", "b"], {"kind": "text", "choices": ("a", "b"), "is_closed": True}),
        (list[int], {"kind": "list", "of": "integer"}),
        (list[Annotated[float, Gt(0)]], {"kind": "list", "of": "number"}),
        (int | str, {"kind": "scalar"}),
        (tuple[int, ...], {"kind": "prose"}),
    ],
)
def test_a_type_says_what_is_typed(hint: Any, wanted: dict[str, Any]) -> None:  # noqa: ANN401  # any type hint
    """Kind, range and choices are read off the type."""
    told = asdict(form_field("a.b", hint))
    assert {key: told[key] for key in wanted} == wanted


def test_names_say_label_and_unit() -> None:
    """Units stand in names, in Python's spelling and in TOML's."""
    assert label_of("num_rounds") == "Number of rounds"
    field = form_field("client_timeout_s", float)
    assert (field.label, field.unit) == ("Client timeout", "s")
    assert form_field("config.nap-ms", float).unit == "ms"
    assert form_field("config.s", float).unit == ""


def google(*, first: int, second: int) -> None:
    """Show the form that ours have.

    Args:
        first: On two
            lines.
        second: The ``last``; done.

    Returns:
        Nothing.
    """
    del first, second


NUMPY = """Show the form that Flower's have.

Parameters
----------
first : int (default: 1)
    On two
    lines.
second : Optional[str]
    The last.

Notes
-----
third : no parameter
"""


def test_docstrings_of_both_forms_are_read() -> None:
    """Each text on one line, and nothing of the sections after it."""
    assert meanings(google) == {"first": "On two lines.", "second": "The ``last``; done."}
    numpy = type("Numpy", (), {"__doc__": NUMPY})
    assert meanings(numpy) == {"first": "On two lines.", "second": "The last."}
    assert meanings(type("Nothing", (), {})) == {}
    assert plain("The ``last``.") == "The last."
    assert first_line(None) == ""
