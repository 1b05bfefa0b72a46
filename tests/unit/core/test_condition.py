"""Conditions: what they read, what meets them, and what they say of it."""

from __future__ import annotations

import math
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.condition import Condition
from flip_lab.core.errors import ConditionError
from flip_lab.core.round_numbers import ClientNumbers, RoundNumbers

_NAMES = st.text(string.ascii_letters + string.digits + "_-./", min_size=1).filter(
    lambda name: name.lower() != "client"
)
_COMPARED = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
_NUMBERS = st.floats(allow_nan=False)
_CONDITIONS = st.one_of(
    st.just(Condition(subject="always")),
    st.builds(
        Condition,
        subject=_NAMES,
        of_clients=st.booleans(),
        operator=_COMPARED,
        number=_NUMBERS,
    ),
    st.builds(
        Condition,
        subject=_NAMES,
        of_clients=st.booleans(),
        operator=st.sampled_from(["is nan", "is not finite"]),
    ),
)


def _round(**metrics: float) -> RoundNumbers:
    return RoundNumbers(server_round=4, metrics=metrics)


def _clients(name: str, *values: float) -> RoundNumbers:
    clients = [
        ClientNumbers(node_id=100 + at, partition_id=at, numbers={name: value})
        for at, value in enumerate(values)
    ]
    return RoundNumbers(server_round=4, clients=clients)


@given(_CONDITIONS)
def test_what_is_written_is_read_again(condition: Condition) -> None:
    """The text of any condition gives the same condition."""
    assert Condition.parse(str(condition)) == condition


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("train_loss is nan", "train_loss is nan"),
        ("  loss IS  NaN ", "loss is nan"),
        ("eval_accuracy>=0.9", "eval_accuracy >= 0.9"),
        ("failures ≥ 2", "failures >= 2"),
        ("client update_norm > 3.0", "client update_norm > 3"),
        ("client eval/acc-1 is not finite", "client eval/acc-1 is not finite"),
        ("x == -inf", "x == -inf"),
        ("x < 1e-3", "x < 0.001"),
        ("always", "always"),
    ],
)
def test_spellings(text: str, canonical: str) -> None:
    """Spaces, capitals and mathematicians' signs are taken as they are meant."""
    assert str(Condition.parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "help_"),
    [
        ("", "Write it like"),
        ("loss", "Write it like"),
        ("loss is big", "Did you mean 'is nan'?"),
        ("failures = 2", "Valid: !=, <"),
        ("loss == nan", "write 'is nan'"),
        ("train_loss > high", "Write a number"),
        ("client > 3", "client update_norm > 3"),
        ("a < 3 and b > 3", "Write it like"),
        ("loss is nan 3", "Write it like"),
    ],
)
def test_what_is_no_comparison_is_refused_with_help(text: str, help_: str) -> None:
    """A condition that cannot be read says how to write one."""
    with pytest.raises(ConditionError, match="FLIP-311") as refused:
        Condition.parse(text)
    assert help_ in refused.value.fix
    assert repr(text) in refused.value.what


@pytest.mark.parametrize(
    ("text", "value", "is_met"),
    [
        ("x < 2", 1.0, True),
        ("x < 2", 2.0, False),
        ("x <= 2", 2.0, True),
        ("x > 2", math.inf, True),
        ("x >= 2", 1.9, False),
        ("x == 2", 2.0, True),
        ("x != 2", 2.0, False),
        ("x > 2", math.nan, False),
        ("x < 2", math.nan, False),
        ("x == 2", math.nan, False),
        ("x != 2", math.nan, True),
        ("x is nan", math.nan, True),
        ("x is nan", math.inf, False),
        ("x is not finite", -math.inf, True),
        ("x is not finite", math.nan, True),
        ("x is not finite", 0.0, False),
    ],
)
def test_operators(text: str, value: float, is_met: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """Each operator holds where mathematics says; NaN compares with nothing."""
    assert (Condition.parse(text).meets(_round(x=value)) is not None) is is_met


def test_a_metric_that_is_not_there_meets_nothing() -> None:
    """No number is no news: a misspelt metric never breaks a run."""
    assert Condition.parse("x != 0").meets(_round(y=1.0)) is None
    assert Condition.parse("client x != 0").meets(_clients("y", 1.0)) is None


def test_loss_stands_for_every_metric_that_ends_in_it() -> None:
    """One condition watches training and evaluation, and says which it was."""
    met = Condition.parse("loss is nan").meets(
        _round(eval_accuracy=math.nan, train_loss=0.5, eval_loss=math.nan)
    )
    assert met is not None
    assert met.because == "eval_loss is nan: round 4"


def test_a_metric_names_the_clients_that_meet_it_too() -> None:
    """The mean is NaN because of somebody, and that is whom one wants to look at."""
    clients = _clients("train_loss", 0.4, math.nan, 0.6).clients
    facts = RoundNumbers(server_round=4, metrics={"train_loss": math.nan}, clients=clients)
    met = Condition.parse("train_loss is nan").meets(facts)
    assert met is not None
    assert met.because == "train_loss is nan: partition 1, round 4"
    assert [each.node_id for each in met.clients] == [101]


def test_clients_are_named_the_farthest_off_first() -> None:
    """The words give the worst client's number; of many clients three have a name."""
    condition = Condition.parse("client update_norm > 3")
    met = condition.meets(_clients("update_norm", 4.0, 1.0, 41.23, 3.5, 9.0, math.nan))
    assert met is not None
    assert met.because == (
        "client update_norm 41.23 > 3: "
        "partition 2, partition 4, partition 0, 1 more, round 4"
    )
    low = Condition.parse("client cosine <= 0").meets(_clients("cosine", -0.5, 1.0, -0.9))
    assert low is not None
    assert [each.partition_id for each in low.clients] == [2, 0]


def test_a_node_without_a_partition_is_named_by_its_id() -> None:
    """On real devices a partition may be unknown."""
    who = ClientNumbers(node_id=77, partition_id=-1, numbers={"train_loss": math.inf})
    facts = RoundNumbers(server_round=1, clients=[who])
    met = Condition.parse("client loss is not finite").meets(facts)
    assert met is not None
    assert met.because == "client train_loss inf is not finite: node 77, round 1"


def test_failures_and_always() -> None:
    """Failures are counted; always is met by any round."""
    facts = RoundNumbers(server_round=2, failures=3)
    met = Condition.parse("failures >= 2").meets(facts)
    assert met is not None
    assert met.because == "failures 3 >= 2: round 2"
    assert Condition.parse("failures > 3").meets(facts) is None
    always = Condition.parse("always").meets(facts)
    assert always is not None
    assert always.because == "always: round 2"


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("client update_norm > 3", True),
        ("client drift > 2", True),
        ("client cosine < 0", True),
        ("client duration_s > 60", False),
        ("client train_loss is nan", False),
        ("drift > 2", False),
        ("always", False),
    ],
)
def test_arrays_are_looked_at_only_for_what_needs_them(text: str, needs: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """Norms cost time, so a condition says whether it needs them."""
    assert Condition.parse(text).needs_updates is needs
