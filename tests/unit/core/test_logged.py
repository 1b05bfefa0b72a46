"""What can be logged: histograms that lose no value, images that are images, matrices."""

from __future__ import annotations

import logging
import pickle
import random
import struct
import zlib
from collections.abc import Mapping
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import ArrayLike, NDArray

import flip_lab
from flip_lab.core import listening as room
from flip_lab.core.errors import LogError
from flip_lab.core.listening import Notes, listening
from flip_lab.core.logged import Logged, checked, numbers_in


def pixels_of(png: bytes) -> tuple[bytes, NDArray[np.uint8]]:
    """Read a PNG of ours: its head, and its rows without their filter bytes."""
    at, found = 8, dict[bytes, bytes]()
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        found[kind] = png[at + 8 : at + 8 + length]
        [crc] = struct.unpack(">I", png[at + 8 + length : at + 12 + length])
        assert crc == zlib.crc32(kind + found[kind])
        at += 12 + length
    assert list(found) == [b"IHDR", b"IDAT", b"IEND"]
    height = struct.unpack(">I", found[b"IHDR"][4:8])[0]
    rows = np.frombuffer(zlib.decompress(found[b"IDAT"]), np.uint8).reshape(height, -1)
    assert (rows[:, 0] == 0).all()
    return found[b"IHDR"], rows[:, 1:]


@given(
    values=arrays(np.float64, st.integers(0, 50), elements=st.floats(width=64)),
    bins=st.integers(1, 512),
)
def test_a_histogram_loses_no_value(values: NDArray[np.float64], bins: int) -> None:
    """Whatever an array holds, each value is in a bin or counted apart."""
    made = flip_lab.histogram(values, bins=bins)
    assert sum(made.counts) + made.num_not_finite == len(values)
    assert len(made.edges) == len(made.counts) + 1 <= bins + 1
    assert (np.diff(made.edges) > 0).all()
    assert np.isfinite(made.edges).all()


def test_a_histogram_counts_as_numpy_does() -> None:
    """Limits that are given are kept, values outside of them are not counted."""
    made = flip_lab.histogram([[0, 1], [1, 9]], bins=[0, 1, 2])
    assert (made.edges, made.counts) == ((0.0, 1.0, 2.0), (1, 2))
    assert flip_lab.histogram([1.0, np.nan, np.inf]).num_not_finite == 2


@pytest.mark.parametrize("bins", [0, 513, [1], [1, 1], [2, 1], [0, np.inf], ["a", "b"]])
def test_bins_that_are_none_are_refused(bins: int | list[float]) -> None:
    """The message shows what was asked for."""
    with pytest.raises(LogError) as caught:
        flip_lab.histogram([1.0], bins=bins)
    assert caught.value.code == "FLIP-313"


def test_values_that_are_no_numbers_are_refused() -> None:
    """Texts have no histogram."""
    with pytest.raises(LogError, match="list"):
        flip_lab.histogram(["a"])  # pyright: ignore[reportArgumentType]  # users err


@pytest.mark.parametrize(("channels", "colour"), [(1, 0), (2, 4), (3, 2), (4, 6)])
def test_an_array_becomes_a_png_with_the_same_pixels(channels: int, colour: int) -> None:
    """Each number of channels has its colour type, and rows are as they were."""
    given_ = np.arange(2 * 3 * channels, dtype=np.uint8).reshape(2, 3, channels) * 9
    made = flip_lab.image(given_)
    head, rows = pixels_of(made.png)
    assert (made.width, made.height) == (3, 2)
    assert head == struct.pack(">IIBBBBB", 3, 2, 8, colour, 0, 0, 0)
    np.testing.assert_array_equal(rows, given_.reshape(2, -1))


def test_fractions_booleans_and_what_lies_outside() -> None:
    """Fractions reach from 0 to 1; NaN is black, too much is white."""
    _, rows = pixels_of(flip_lab.image(np.array([[0.0, 0.5, 1.0, 7.0, -1.0, np.nan]])).png)
    assert rows.tolist() == [[0, 128, 255, 255, 0, 0]]
    assert pixels_of(flip_lab.image(np.array([[True, False]])).png)[1].tolist() == [
        [255, 0]
    ]
    assert pixels_of(flip_lab.image(np.array([[300, -5]])).png)[1].tolist() == [[255, 0]]


def test_bytes_of_a_png_are_kept_as_they_are() -> None:
    """Size is read from them; other bytes are refused."""
    made = flip_lab.image(np.zeros((4, 6)))
    assert flip_lab.image(made.png) == made
    with pytest.raises(LogError, match="no PNG"):
        flip_lab.image(b"JFIF" * 10)


@pytest.mark.parametrize(
    "picture", [np.zeros(3), np.zeros((2, 2, 5)), np.zeros((0, 2)), np.array([["a"]])]
)
def test_arrays_that_are_no_image_are_refused(picture: NDArray[Any]) -> None:
    """Flat ones, ones of five channels, empty ones, and text."""
    with pytest.raises(LogError, match="no image"):
        flip_lab.image(picture)


def test_an_image_that_is_too_large_is_refused() -> None:
    """Eight megabytes of noise do not belong in a run's record."""
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), np.uint8)
    with pytest.raises(LogError, match="MiB"):
        flip_lab.image(noise)


def test_a_confusion_matrix_keeps_counts_and_names() -> None:
    """Classes without names are called by their numbers."""
    made = flip_lab.confusion_matrix(np.array([[3, 1], [0, 2]]), labels=["cat", 7])
    assert made.to_json() == {"counts": [[3.0, 1.0], [0.0, 2.0]], "labels": ["cat", "7"]}
    assert flip_lab.confusion_matrix([[1]]).labels == ("0",)


@pytest.mark.parametrize(
    "matrix", [[], 1, [[1, 2]], [[-1]], [[np.nan]], np.zeros((201, 201)), [["a"]]]
)
def test_matrices_that_are_none_are_refused(matrix: ArrayLike) -> None:
    """Not square, negative, not finite, too large."""
    with pytest.raises(LogError):
        flip_lab.confusion_matrix(matrix)


def test_labels_must_name_all_classes() -> None:
    """One label for two classes would shift all others."""
    with pytest.raises(LogError, match="1 labels"):
        flip_lab.confusion_matrix(np.eye(2), labels=["cat"])


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (True, 1.0),
        (3, 3.0),
        (np.float32(0.5), 0.5),
        (np.array([[2]]), 2.0),
        (10**400, np.inf),
        (-(10**400), -np.inf),
    ],
)
def test_single_numbers_of_any_kind_are_floats(value: object, kept: float) -> None:
    """Of Python and of NumPy; what a float cannot hold is infinite."""
    assert checked("x", value) == kept
    assert type(checked("x", value)) is float


@pytest.mark.parametrize("value", ["1", None, [1], np.zeros(2), np.zeros(0), 1j])
def test_what_is_no_single_number_is_refused(value: object) -> None:
    """The message says what to make of it."""
    with pytest.raises(LogError, match=r"histogram"):
        checked("x", value)


@pytest.mark.parametrize("name", ["", "x" * 201, 3])
def test_names_are_texts_of_bounded_length(name: object) -> None:
    """A name is a column's value, not a document."""
    with pytest.raises(LogError, match="name"):
        checked(name, 1)


def test_whoever_listens_hears_both_forms() -> None:
    """A mapping, keywords, or both; the newest value of a name stays."""
    notes = Notes()
    with listening(notes):
        flip_lab.log({"a": 1, "b": 2})
        flip_lab.log(a=3, h=flip_lab.histogram([1]))
    assert numbers_in(notes.facts) == {"a": 3.0, "b": 2.0}
    assert set(notes.facts) == {"a", "b", "h"}


def test_a_call_with_one_bad_value_tells_nothing() -> None:
    """Half a call would be a trap."""
    notes = Notes()
    with listening(notes), pytest.raises(LogError):
        flip_lab.log(good=1, bad="x")
    assert notes.facts == {}


def test_inner_listeners_hear_in_place_of_outer_ones() -> None:
    """A client in the server's process is a client; after it the server is heard again."""
    server, client = Notes(), Notes()
    with listening(server):
        with listening(client):
            flip_lab.log(a=1)
        flip_lab.log(b=1)
    assert (client.facts, server.facts) == ({"a": 1.0}, {"b": 1.0})


def test_threads_that_an_app_starts_belong_to_it() -> None:
    """A client may load its data in a thread of its own."""
    notes = Notes()
    with listening(notes):
        thread = Thread(target=lambda: flip_lab.log(a=1))
        thread.start()
        thread.join()
    assert notes.facts == {"a": 1.0}


def test_nobody_listens_and_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    """One line of Python's log, no warning, and the same errors as in a run."""
    room._say_that_nobody_listens.cache_clear()  # pyright: ignore[reportPrivateUsage]
    with caplog.at_level(logging.INFO, logger="flip_lab"):
        flip_lab.log(a=1)
        flip_lab.log(b=1)
    assert [record.name for record in caplog.records] == ["flip_lab"]
    with pytest.raises(LogError):
        flip_lab.log(a="x")


def test_logging_draws_no_random_number() -> None:
    """Bits must not depend on who looks."""
    random.seed(1)
    before = random.getstate(), repr(np.random.get_state())  # noqa: NPY002  # what apps draw from
    with listening(Notes()):
        flip_lab.log(
            h=flip_lab.histogram(np.arange(9.0)),
            i=flip_lab.image(np.zeros((2, 2))),
            c=flip_lab.confusion_matrix([[1]]),
        )
    assert before == (random.getstate(), repr(np.random.get_state()))  # noqa: NPY002  # as above


def test_what_was_logged_travels_between_processes() -> None:
    """Frozen values survive a pickle as they are."""
    facts: Mapping[str, Logged] = {
        "n": 1.0,
        "h": flip_lab.histogram([1, 2]),
        "i": flip_lab.image(np.zeros((2, 2))),
        "c": flip_lab.confusion_matrix([[1]]),
    }
    assert pickle.loads(pickle.dumps(facts)) == facts  # noqa: S301  # our own
