"""The command line where nothing is launched: values, JSON, errors, empty labs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from flip_lab import __version__
from flip_lab.cli.guard import guarded
from flip_lab.cli.main import app
from flip_lab.cli.options import _assignment
from flip_lab.cli.output import print_json, short
from flip_lab.core.errors import UnknownNameError

RUNNER = CliRunner()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", ("a", 1)),
        ("a=1e-3", ("a", 0.001)),
        ("a=true", ("a", True)),
        ("a.b=[1, 2]", ("a.b", [1, 2])),
        ("a=FedAvg", ("a", "FedAvg")),
        ('a="1"', ("a", "1")),
        ("a=x=y", ("a", "x=y")),
        ("a=", ("a", "")),
        ("a = 3", ("a", 3)),
    ],
)
def test_values_are_toml_or_else_text(text: str, expected: tuple[str, object]) -> None:
    """``--set`` takes numbers as numbers without quotes around names."""
    found = _assignment(text)
    assert found == expected
    assert type(found[1]) is type(expected[1])


@pytest.mark.parametrize("text", ["a", "", "=3", " =3"])
def test_what_is_no_assignment_is_a_usage_error(text: str) -> None:
    """Before anything is started."""
    with pytest.raises(typer.BadParameter):
        _assignment(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), VALUES, max_size=3))
def test_everything_printed_is_strict_json_on_one_line(value: dict[str, object]) -> None:
    """Also NaN, infinities, and texts with line breaks."""
    command = typer.Typer()
    command.command()(lambda: print_json(value))
    output = RUNNER.invoke(command, []).stdout
    assert output.endswith("\n")

    def refuse(name: str) -> float:
        raise AssertionError(name)

    [line] = output.removesuffix("\n").split("\n")
    back = json.loads(line, parse_constant=refuse)
    assert set(back) == set(value)


def test_numbers_that_json_lacks_become_text(capsys: pytest.CaptureFixture[str]) -> None:
    """A diverged run is normal."""
    print_json({"a": [math.nan, math.inf], "b": {"c": -math.inf}})
    assert json.loads(capsys.readouterr().out) == {"a": ["nan", "inf"], "b": {"c": "-inf"}}


def test_an_error_of_ours_is_said_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """For people on stderr, for programs on stdout; nothing else looks like a bug."""

    @guarded
    def command(*, as_json: bool) -> None:
        del as_json
        raise UnknownNameError("There is no [x].", fix="Try y.", detail="more")

    with pytest.raises(typer.Exit) as caught:
        command(as_json=True)
    assert caught.value.exit_code == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["error"] == {
        "code": "FLIP-101",
        "what": "There is no [x].",
        "fix": "Try y.",
        "detail": "more",
    }
    assert "[FLIP-101] There is no [x].\nFix: Try y.\nmore\n" in said.err


def test_a_missing_package_says_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    """A device has no DuckDB; a missing module of our own is a bug and stays one."""

    @guarded
    def command(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    with pytest.raises(typer.Exit):
        command("duckdb")
    said = capsys.readouterr().err
    assert "[FLIP-600]" in said
    assert 'pip install "flip-lab[lab]"' in said
    with pytest.raises(typer.Exit):
        command("sqlalchemy")
    assert 'pip install "flip-lab[hub]"' in capsys.readouterr().err
    with pytest.raises(ModuleNotFoundError):
        command("flip_lab.nothing")


def test_a_bug_stays_a_bug() -> None:
    """What is not ours keeps its traceback."""

    @guarded
    def command() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command()


def test_the_version_is_printed() -> None:
    """And nothing else is done."""
    assert RUNNER.invoke(app, ["--version"]).stdout == f"flip-lab {__version__}\n"


def test_an_empty_lab_has_no_runs(lab_path: Path) -> None:
    """In JSON an empty list, for people a hint."""
    assert json.loads(RUNNER.invoke(app, ["runs", "--json"]).stdout) == {"runs": []}
    assert "No runs yet" in RUNNER.invoke(app, ["runs"]).stdout
    assert lab_path.exists()


def test_scenarios_are_listed_and_shown() -> None:
    """By name, and one of them whole, in TOML or JSON."""
    listed = json.loads(RUNNER.invoke(app, ["scenarios", "--json"]).stdout)["scenarios"]
    assert "hospitals" in {each["name"] for each in listed}
    assert all(each["title"] for each in listed)
    shown = json.loads(RUNNER.invoke(app, ["scenarios", "hospitals", "--json"]).stdout)
    assert shown["name"] == "hospitals"
    assert 'name = "hospitals"' in RUNNER.invoke(app, ["scenarios", "hospitals"]).stdout
    wrong = RUNNER.invoke(app, ["scenarios", "hospital", "--json"])
    assert wrong.exit_code == 1
    assert json.loads(wrong.stdout)["error"]["code"] == "FLIP-101"


def test_numbers_are_short_enough_for_a_table() -> None:
    """Four digits; everything else as it is."""
    assert short(0.123456) == "0.1235"
    assert short(7) == "7"
