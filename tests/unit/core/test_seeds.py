"""Streams of random numbers: independent, the same everywhere, and never moved."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.seeds import SERVER, Stream

streams = st.builds(
    Stream,
    seed=st.integers(0, 2**32 - 1),
    server_round=st.integers(0, 10_000),
    node=st.integers(0, SERVER),
    phase=st.sampled_from(["setup", "sample", "train", "evaluate"]),
)


@pytest.mark.parametrize(
    ("stream", "golden"),
    [
        (Stream(seed=0), 3342202184),
        (Stream(seed=0, server_round=1, node=0, phase="train"), 562641613),
        (Stream(seed=0, server_round=1, node=1, phase="train"), 2695218776),
        (Stream(seed=2**32 - 1, server_round=7, node=SERVER, phase="sample"), 3080201553),
    ],
)
def test_the_numbers_never_change(stream: Stream, golden: int) -> None:
    """Golden values: a run recorded today can be repeated by a later version."""
    assert stream.integer() == golden


@given(stream=streams)
def test_a_stream_is_known_by_its_name_alone(stream: Stream) -> None:
    """Drawing twice, or after other draws, gives the same numbers."""
    first = stream.generator().random(4)
    replace(stream, node=stream.node ^ 1).generator().random(100)
    assert np.array_equal(first, stream.generator().random(4))


@given(one=streams, other=streams)
def test_two_names_give_two_streams(one: Stream, other: Stream) -> None:
    """Streams agree exactly when their names do."""
    drawn = [list(stream.generator().integers(0, 2**63, size=2)) for stream in (one, other)]
    assert (drawn[0] == drawn[1]) == (one == other)


@pytest.mark.parametrize("name", ["seed", "server_round", "node"])
def test_neighbours_do_not_correlate(name: str) -> None:
    """Streams one step apart are as unrelated as any two."""
    base = Stream(seed=1, server_round=1, node=1, phase="train")
    neighbour = replace(base, **{name: 2})
    one, other = (
        stream.generator().standard_normal(10_000) for stream in (base, neighbour)
    )
    assert abs(float(np.mean(one * other))) < 0.05  # five standard errors


@given(stream=streams)
def test_a_foreign_seed_fits_every_generator(stream: Stream) -> None:
    """torch, NumPy and ``random`` all take numbers in [0, 2**32)."""
    assert 0 <= stream.integer() < 2**32


def test_no_global_generator_is_touched() -> None:
    """A stream of ours neither reads nor moves the state of others."""
    before = random.getstate(), repr(np.random.get_state())  # noqa: NPY002  # under test
    Stream(seed=3).generator().random(10)
    Stream(seed=3).integer()
    after = random.getstate(), repr(np.random.get_state())  # noqa: NPY002  # under test
    assert before == after


@given(
    seed=st.integers(0, 2**140),
    server_round=st.integers(0, 2**40),
    node=st.integers(0, SERVER),
    phase=st.sampled_from(["train", "evaluate"]),
)
def test_an_integer_is_the_first_word_of_the_sequence(
    seed: int, server_round: int, node: int, phase: str
) -> None:
    """NumPy's own generator says so, for seeds and rounds of any size."""
    stream = Stream(seed=seed, server_round=server_round, node=node, phase=phase)
    assert stream.integer() == stream.sequence().generate_state(1, np.uint32)[0]


def test_numbers_below_zero_name_no_stream() -> None:
    """They are refused, as NumPy refuses them."""
    with pytest.raises(ValueError, match="non-negative"):
        Stream(seed=0, node=-1).integer()
