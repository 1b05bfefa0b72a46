"""What a form says is what a launch says; what it writes in Python is what it launches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab import Lab
from flip_lab.boards.launcher.board import LauncherBoard
from flip_lab.boards.launcher.call import literal
from flip_lab.boards.launcher.form import Draft
from flip_lab.boards.launcher.schema import LAUNCH_FIELDS
from flip_lab.boards.launcher.source import Source, listed_scenarios, source_of
from flip_lab.boards.launcher.values import Raw, is_same, raw_of, value_of
from flip_lab.core.errors import FlipLabError, InvalidValueError, UnknownKeyError
from flip_lab.core.policy import RoundPolicy
from flip_lab.fl.form_field import form_field
from flip_lab.fl.scenarios import scenario_names
from flip_lab.runs import lab as launching
from flip_lab.runs.run import Run

APPS = Path(__file__).parents[2] / "integration" / "apps"
NAME = "digits-dirichlet"
TYPED = [
    "", " ", "0", "-1", "1", "2", "11", "0.1", "0.95", "1e-3", "1e999", "nan", "inf",
    "abc", "true", "'", '"', "\\", "a, b", "\n", "é\u2028", "\ud800",
    "iid", "shard", "FedProx", "QFedAvg", "logistic", "heart-disease", "hf:a/b", "ray",
]  # fmt: skip
SOURCES = {each: source_of(each) for each in [NAME, "hospitals", str(APPS / "stateful")]}


def paths_of(source: Source) -> list[str]:
    """List the fields of a form, and some that it has only after a choice."""
    there = [each.path for group in source.groups({}) for each in group.fields]
    later = ["data.options.shard_size", "strategy.options.proximal_mu", "no.such.path"]
    return sorted({*there, *later} - {"expect"})


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    """Fill in some fields of a form, rightly or wrongly."""
    source = draw(st.sampled_from([*SOURCES.values()]))
    texts = st.one_of(st.sampled_from(TYPED), st.booleans())
    return Draft(
        source=source,
        edits=draw(st.dictionaries(st.sampled_from(paths_of(source)), texts, max_size=5)),
    )


class Recorder:
    """A lab that keeps what it is asked to launch."""

    def launch(self, what: str, **arguments: Any) -> tuple[str, dict[str, Any]]:  # noqa: ANN401  # any argument
        """Give what was asked for."""
        return what, arguments


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Give one lab for all examples: nothing is written to it."""
    return Lab(tmp_path_factory.mktemp("lab"))


class StartedError(Exception):
    """A launch got as far as starting the run."""


def _start(*_arguments: object) -> str:
    raise StartedError


@pytest.fixture(scope="module", autouse=True)
def nothing_starts() -> Iterator[None]:
    """Let a launch do all its checks, and then not start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launching, "launch_prepared", _start)
        yield


def refusal(lab: Lab, draft: Draft) -> FlipLabError | None:
    """Launch a draft; give the error that stopped it."""
    try:
        lab.launch(draft.call.what, **draft.call.arguments)
    except FlipLabError as error:
        return error
    except StartedError:
        return None
    raise AssertionError


@given(draft=drafts())
def test_the_form_refuses_what_a_launch_refuses(lab: Lab, draft: Draft) -> None:
    """With code, words and fix of the launch; an app's types are checked on top."""
    error = refusal(lab, draft)
    found = [*draft.problems.values()]
    if error is not None:
        assert {"code": error.code, "what": error.what, "fix": error.fix} in found
    elif isinstance(draft.source, type(SOURCES[NAME])):
        assert found == []
    assert all(path in draft.edits for path in draft.problems)
    json.dumps(draft.problems)


@given(draft=drafts())
def test_without_what_is_wrong_a_draft_can_be_launched(lab: Lab, draft: Draft) -> None:
    """Each error names a value that is to blame: putting these back heals the form."""
    while draft.problems:  # a name that is put back brings its options, and their errors
        good = {
            path: raw for path, raw in draft.edits.items() if path not in draft.problems
        }
        assert len(good) < len(draft.edits)
        draft = Draft(source=draft.source, edits=good)
    assert refusal(lab, draft) is None


@given(draft=drafts())
def test_the_python_text_gives_the_same_run(draft: Draft) -> None:
    """Executed, it passes the very same arguments; and so it makes the same spec."""
    what, arguments = eval(draft.call.python(), {"lab": Recorder()})  # noqa: S307  # our own text
    assert what == draft.call.what
    assert repr(arguments) == repr(draft.call.in_order())
    assert arguments.keys() <= {*LAUNCH_FIELDS, "overrides"}
    if not draft.problems:
        again = type(draft.call)(what=what, arguments=arguments).check()
        first = draft.call.check()
        for name in ("name", "seed", "num_nodes", "run_config", "overrides", "engine"):
            assert getattr(again.spec, name) == getattr(first.spec, name)


def test_a_rule_to_stop_by_is_checked_as_a_launch_does() -> None:
    """A condition as one writes it; an empty field sets no rule."""
    blank = Draft(source=SOURCES[NAME])
    good = blank.with_edits({"stop_when": "eval_accuracy >= 0.9"})
    assert good.problems == {}
    assert good.call.python().endswith('stop_when="eval_accuracy >= 0.9")')
    assert len(good.call.check().spec.edits) == 1
    assert (
        blank.with_edits({"stop_when": "soon"}).problems["stop_when"]["code"] == "FLIP-311"
    )
    emptied = Draft(source=SOURCES[NAME], edits={"stop_when": ""})
    assert emptied.call.arguments == {}


@given(draft=drafts())
def test_what_is_put_back_is_no_change(draft: Draft) -> None:
    """A default that is typed again is no override."""
    typed = {path: raw_of(value) for path, value in draft.defaults.items()}
    names = {path for path in typed if path in {"data.partitioner", "strategy.name"}}
    same = Draft(
        source=draft.source, edits={p: r for p, r in typed.items() if p not in names}
    )
    if not draft.edits:
        assert same.changes == []
        assert same.call.arguments == {}


def test_each_bad_value_has_its_own_error() -> None:
    """All fields are told at once, not one after the other."""
    edits: dict[str, Raw] = {
        "train.learning_rate": "abc",
        "train.batch_size": "0",
        "on": "rey",
        "strategy.options.min_train_nodes": "11",
        "note": "fine",
    }
    draft = Draft(source=SOURCES[NAME], edits=edits)
    assert {path: each["what"] for path, each in draft.problems.items()} == {
        "train.learning_rate": "train.learning_rate is 'abc'.",
        "train.batch_size": "train.batch_size is 0.",
        "on": "There is no engine or federation 'rey'.",
        "strategy.options.min_train_nodes": (
            "strategy.options.min_train_nodes is 11, and there are 10 nodes."
        ),
    }
    assert "Did you mean 'ray'?" in draft.problems["on"]["fix"]


def test_another_name_brings_its_options_and_leaves_the_others() -> None:
    """What the new one does not know is taken away whole; what both know stays."""
    iid = Draft(source=SOURCES[NAME], edits={"data.partitioner": "iid"})
    assert iid.call.arguments["overrides"] == {
        "data.partitioner": "iid",
        "data.options": {},
    }
    assert iid.problems == {}
    shard = Draft(
        source=SOURCES[NAME],
        edits={"data.partitioner": "shard", "data.options.shard_size": "10"},
    )
    assert shard.call.arguments["overrides"]["data.options"] == {"shard_size": 10}
    assert "data.options.alpha" not in shard.fields
    prox = Draft(source=SOURCES["hospitals"], edits={"strategy.name": "FedProx"})
    assert prox.problems == {}
    assert "strategy.options.proximal_mu" in prox.fields


def test_defaults_follow_what_is_typed() -> None:
    """With four nodes the strategy waits for four, and no more may be asked for."""
    draft = Draft(source=SOURCES[NAME], edits={"data.num_partitions": "4"})
    assert draft.defaults["strategy.options.min_available_nodes"] == 4
    assert draft.fields["strategy.options.min_train_nodes"].most == 4


def test_an_app_has_the_fields_of_its_own_configuration() -> None:
    """With the types of its defaults; the seed and the nodes are the launch's."""
    draft = Draft(
        source=SOURCES[str(APPS / "stateful")],
        edits={"config.learning-rate": "0.2", "num_nodes": "3", "seed": "7"},
    )
    assert [path for path in draft.fields if path.startswith("config.")] == [
        "config.num-server-rounds",
        "config.nap-s",
        "config.learning-rate",
        "config.moody-from",
    ]
    assert draft.fields["config.nap-s"].unit == "s"
    assert draft.call.arguments == {
        "num_nodes": 3,
        "seed": 7,
        "overrides": {"learning-rate": 0.2},
    }
    wrong = Draft(source=draft.source, edits={"config.num-server-rounds": "1.5"})
    assert wrong.problems["config.num-server-rounds"] == {
        "code": "FLIP-103",
        "what": "num-server-rounds is 1.5.",
        "fix": "Set it to a whole number.",
    }


def test_python_can_fill_in_a_form() -> None:
    """By path, with Python's values; None puts the default back."""
    draft = Draft(source=SOURCES[NAME]).with_edits(
        {
            "train.learning_rate": 0.1,
            "data.options.self_balancing": True,
            "tags": ["a", "b"],
        }
    )
    assert draft.edits == {
        "train.learning_rate": "0.1",
        "data.options.self_balancing": True,
        "tags": "a, b",
    }
    assert (
        "train.learning_rate" not in draft.with_edits({"train.learning_rate": None}).edits
    )
    with pytest.raises(UnknownKeyError, match=r"Did you mean 'train\.learning_rate'"):
        draft.with_edits({"train.learning_rat": 1})


@pytest.mark.parametrize(
    ("hint", "typed", "value"),
    [
        (int, " 3 ", 3),
        (int, "3.0", 3.0),
        (float, "3", 3.0),
        (float, "1e-3", 0.001),
        (float, "1e999", "1e999"),
        (float, "", ""),
        (int | None, "", None),
        (str, " a ", " a "),
        (list[int], "1, 2,,3", [1, 2, 3]),
        (list[str], "", []),
        (bool, True, True),
        (int | str, "true", True),
        (int | str, "1", 1),
        (int | str, "1.5", 1.5),
        (int | str, "x", "x"),
    ],
)
def test_what_is_typed_is_read_by_type(hint: Any, typed: Raw, value: object) -> None:  # noqa: ANN401  # any type hint
    """What cannot be read stays as it is, so that the launch refuses it in its words."""
    read = value_of(form_field("a", hint), typed)
    assert (type(read), read) == (type(value), value)


def test_numbers_are_the_same_but_no_truth_value() -> None:
    """1 and 1.0 give the same run; 1 and true do not."""
    assert is_same(1, 1.0)
    assert not is_same(1, value_of(form_field("a", bool), True))
    assert is_same([1], [1.0])


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=6,
    ),
    indent=st.sampled_from([0, 4]),
)
def test_a_literal_reads_back(value: object, indent: int) -> None:
    """Also quotes, line breaks, halves of characters and what is no finite number."""
    assert repr(eval(literal(value, indent=indent))) == repr(value)  # noqa: S307  # our own text


def test_every_scenario_can_be_chosen() -> None:
    """By name and title; each one's form stands and would launch as it is."""
    assert [each["name"] for each in listed_scenarios()] == scenario_names()
    for each in listed_scenarios():
        assert each["title"]
        draft = Draft(source=source_of(each["name"]))
        assert draft.problems == {}
        assert draft.call.python() == f'lab.launch("{each["name"]}")'
        assert draft.source.expectations


def test_what_is_no_scenario_is_refused() -> None:
    """A form is made from names and paths."""
    with pytest.raises(InvalidValueError, match="cannot be made for 3"):
        source_of(3)  # pyright: ignore[reportArgumentType]  # users err
    with pytest.raises(FlipLabError, match="no scenario 'digit'"):
        source_of("digit")


def test_an_expectation_is_told_with_its_margin() -> None:
    """In one line, with the number that it needs."""
    source = SOURCES[NAME]
    assert source.expectations[1] == (
        "Skew costs a few points at most against equal nodes. "
        "(eval_accuracy ≥ scenario:digits-iid - 0.05)"
    )


HUB = """
[federations.hospitals]
address = "127.0.0.1:1"
token = "t"
[federations.clinics]
address = "127.0.0.1:2"
superexec-secret = "s"
"""


@pytest.fixture
def federations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand beside a file that names a hub and a stock SuperLink."""
    (tmp_path / "flip-lab.toml").write_text(HUB)
    monkeypatch.chdir(tmp_path)


def devices_of(draft: Draft) -> list[str]:
    """List the fields that are there for real nodes."""
    found = [group for group in draft.groups if group.key == "devices"]
    return [each.path for group in found for each in group.fields]


@pytest.mark.usefixtures("federations")
@pytest.mark.parametrize("source", SOURCES.values(), ids=[*SOURCES])
def test_real_nodes_bring_fields_of_their_own(source: Source) -> None:
    """Only a hub can keep a run's process; an engine has nothing of all that."""
    policy = [
        f"policy.{name}" for name in ("deadline_s", "quorum", "over_selection", "late")
    ]
    blank = Draft(source=source)
    assert devices_of(blank) == []
    assert devices_of(blank.with_edits({"on": "clinics"})) == ["nodes", *policy]
    on_hub = blank.with_edits({"on": "hospitals"})
    assert devices_of(on_hub) == ["nodes", *policy, "detach"]
    back = on_hub.with_edits({"nodes": "eu"}).with_edits({"on": "ray"})
    assert back.call.arguments == {"on": "ray"}, "what no engine knows is left out"


@pytest.mark.usefixtures("federations")
def test_what_is_asked_of_real_nodes_is_launched_and_written_in_python() -> None:
    """A share has a point, a number of nodes has none; the text imports what it needs."""
    filled = Draft(source=SOURCES["hospitals"]).with_edits(
        {
            "on": "hospitals",
            "nodes": "eu and not slow",
            "policy.deadline_s": 60,
            "policy.quorum": "1.0",
            "policy.over_selection": 0.0,
            "detach": True,
        }
    )
    assert filled.problems == {}
    policy = RoundPolicy(deadline_s=60.0, quorum=1.0)
    asked = {"nodes": "eu and not slow", "policy": policy, "detach": "hub"}
    assert filled.call.in_order() == {"on": "hospitals", **asked}
    assert filled.call.check().spec.policy == policy
    names = {"lab": Recorder()}
    before, _, call = filled.call.python().partition("\n\n")
    exec(before, names)  # noqa: S102  # our own text
    assert eval(call, names) == ("hospitals", filled.call.in_order())  # noqa: S307  # our own
    assert "deadline_s=60.0, quorum=1.0)" in call


@pytest.mark.usefixtures("federations")
@pytest.mark.parametrize(
    ("path", "raw", "code"),
    [
        ("policy.deadline_s", "0", "FLIP-103"),
        ("policy.quorum", "1.5", "FLIP-103"),
        ("policy.quorum", "some", "FLIP-103"),
        ("policy.over_selection", "11", "FLIP-103"),
        ("nodes", "eu and", "FLIP-811"),
    ],
)
def test_what_cannot_be_asked_of_real_nodes_is_refused_where_it_stands(
    path: str, raw: str, code: str
) -> None:
    """With the words of a launch, at the field that is to blame."""
    draft = Draft(source=SOURCES["hospitals"], edits={"on": "hospitals", path: raw})
    assert {path: each["code"] for path, each in draft.problems.items()} == {path: code}
    assert draft.call.python(), "it is written even so"


@pytest.mark.usefixtures("federations")
def test_a_run_that_goes_on_with_its_hub_is_not_shown_here() -> None:
    """The lab of the page does not keep it yet: there is nothing to open."""
    board = LauncherBoard(
        SOURCES["hospitals"], start=lambda _: cast("Run", SimpleNamespace(run_id="r"))
    )
    edits = {"on": "hospitals", "detach": True}
    answer = board.answer({"ask": "launch", "press": "1", "edits": edits})
    assert (answer["run"], answer["is_away"]) == ("r", True)
    assert (board.parts()["launched"], board.parts()["shown"]) == ([], "")
    answer = board.answer({"ask": "launch", "press": "2", "edits": {"on": "hospitals"}})
    assert "is_away" not in answer
    assert board.parts()["shown"] == "r"
