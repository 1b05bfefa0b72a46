"""Errors: one code each, all parts kept, whole after a journey between processes."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core import errors
from flip_lab.core.errors import FlipLabError, InvalidValueError, nearest

KINDS = sorted(
    (
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, FlipLabError)
    ),
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("detail", ["", "Traceback:\n  boom"])
def test_an_error_comes_whole_out_of_a_pickle(
    kind: type[FlipLabError], detail: str
) -> None:
    """What a run process raises is what the notebook catches."""
    error = kind("alpha is 0.", fix="Set alpha above 0.", detail=detail)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert type(copy) is kind
    assert (copy.what, copy.fix, copy.detail) == (error.what, error.fix, error.detail)
    assert str(copy) == str(error)


def test_codes_are_unique() -> None:
    """A code leads to one page."""
    codes = [kind.code for kind in KINDS]
    assert len(set(codes)) == len(codes)


def test_a_code_lies_in_the_hundred_of_its_family() -> None:
    """The first digit of a code tells which part of the house it comes from."""
    for kind in KINDS:
        parent = kind.__mro__[1]
        if not issubclass(parent, FlipLabError):
            assert kind is FlipLabError
        elif parent is FlipLabError:
            assert kind.code.endswith("00"), kind
        else:
            assert kind.code[:-2] == parent.code[:-2], kind


def test_the_text_holds_code_what_and_fix_before_the_detail() -> None:
    """A log line is complete without its detail."""
    error = InvalidValueError("alpha is 0.", fix="Set it above 0.", detail="long\nstory")
    head, _, tail = str(error).partition("\n")
    assert head == "[FLIP-103] alpha is 0. Fix: Set it above 0."
    assert tail == "long\nstory"


def test_an_error_without_detail_is_one_line() -> None:
    """No empty line at the end of a message."""
    assert "\n" not in str(InvalidValueError("a", fix="b"))


def test_the_nearest_name_and_all_names_are_offered() -> None:
    """Names are sorted, so that a message never changes by itself."""
    assert nearest("FedAvgg", ["FedProx", "FedAvg"]) == (
        "Did you mean 'FedAvg'? Valid: FedAvg, FedProx."
    )


def test_a_name_like_no_other_gets_the_list_only() -> None:
    """A far-fetched guess would send the reader the wrong way."""
    assert nearest("zzz", ["iid", "dirichlet"]) == "Valid: dirichlet, iid."


def test_no_valid_name_is_said_plainly() -> None:
    """An empty list reads as a sentence, too."""
    assert nearest("x", []) == "Valid: none."


@given(names=st.sets(st.text(min_size=1, max_size=8), min_size=1, max_size=8))
def test_an_exact_name_is_its_own_nearest(names: set[str]) -> None:
    """The hint never prefers another name to the right one."""
    name = min(names)
    assert nearest(name, names).startswith(f"Did you mean {name!r}?")
