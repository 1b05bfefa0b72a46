"""Arrays without bytes behave as Flower's own, which a process without them describes."""

from __future__ import annotations

import copy
import hashlib
import pickle
import subprocess
import sys
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, RecordDict
from flwr.common.constant import SType
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from flip_lab.engines.flower.arrays import (
    array_bytes,
    backed,
    backing,
    detached,
    install_fast_arrays,
    share,
)

PLAIN = ("f2", "f4", "f8", "i1", "i8", "u4", "?", "c8", "c16", ">f4", ">i8")
VALUES = arrays_of.arrays(
    dtype=st.sampled_from(PLAIN).map(np.dtype),
    shape=arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)

# What Flower itself makes of the same arrays; it runs without any of our code.
_FLOWER = """
import hashlib, io, sys
import numpy as np
from flwr.app import Array, ArrayRecord
for name, values in np.load(io.BytesIO(sys.stdin.buffer.read())).items():
    array = Array(values)
    record = ArrayRecord({"one": array, "two": array})
    facts = (array.object_id, hashlib.sha256(array.deflate()).hexdigest(),
             hashlib.sha256(array.data).hexdigest(), array.dtype, array.shape,
             record.object_id, record.count_bytes(), array.numpy().flags.f_contiguous)
    print(name, facts, sep="|")
"""
_FLOWER_READS = """
import pickle, sys
array = pickle.load(sys.stdin.buffer)
print(type(array).__module__, "data" in vars(array), array.numpy().tolist(), array.shape)
"""


@pytest.fixture(autouse=True)
def fast() -> None:
    """Make this process one that runs clients; there is no way back, and needs none."""
    install_fast_arrays()


def saved(values: Any) -> bytes:  # noqa: ANN401  # any array
    """Write an ``.npy`` file, as Flower does for each array."""
    file = BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


def samples() -> dict[str, Any]:
    """Give arrays of every kind that apps send."""
    random = np.random.default_rng(3)
    matrix = random.random((6, 4))
    return {
        "float32": matrix.astype("f4"),
        "half": np.array([1.5, np.nan, np.inf, -0.0], dtype="f2"),
        "long": np.array([[2**62, -(2**62)]]),
        "flags": np.array([True, False]),
        "complex": matrix[:2].astype("c16"),
        "fortran": np.asfortranarray(matrix),
        "transposed": matrix.T,
        "strided": matrix[::2, ::-1],
        "scalar": np.array(3.5),
        "empty": np.zeros((0, 3), dtype="f4"),
        "big-endian": matrix.astype(">f4"),
        "many-chunks": random.random(700_000),
    }


def python(program: str, stdin: bytes) -> str:
    """Run a program in a fresh interpreter and give what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", program], input=stdin, capture_output=True, check=True
    )
    return done.stdout.decode()


def test_flower_cannot_tell_the_difference() -> None:
    """Ids, deflated bytes, data, sizes and order of memory, against a bare Flower."""
    file = BytesIO()
    np.savez(file, **samples())
    printed = python(_FLOWER, file.getvalue())
    expected = dict(line.split("|") for line in printed.splitlines())
    assert list(expected) == list(samples())
    for name, values in samples().items():
        array = Array(values)
        record = ArrayRecord({"one": array, "two": array})
        facts = (
            array.object_id,
            hashlib.sha256(array.deflate()).hexdigest(),
            hashlib.sha256(array.data).hexdigest(),
            array.dtype,
            array.shape,
            record.object_id,
            record.count_bytes(),
            array.numpy().flags.f_contiguous,
        )
        assert str(facts) == expected[name], name


@given(values=VALUES)
def test_bytes_and_sizes_are_those_of_an_npy_file(values: Any) -> None:  # noqa: ANN401
    """The size is known before, and stays the same after, the bytes are written."""
    array, expected = Array(values), saved(values)
    before = array_bytes(array)
    assert ("data" in vars(array)) is not values.dtype.isnative
    assert array.data == expected
    assert before == array_bytes(array) == len(expected)
    assert (array.dtype, array.shape) == (str(values.dtype), values.shape)


@given(values=VALUES)
def test_values_come_back_and_belong_to_the_caller(values: Any) -> None:  # noqa: ANN401
    """Neither the source nor what ``numpy`` gives is tied to the array."""
    kept = values.copy()
    array = Array(values)
    values[...] = np.ones((), values.dtype)
    first = array.numpy()
    assert first.flags.writeable
    assert saved(first) == saved(kept)
    first[...] = np.ones((), first.dtype)
    assert saved(array.numpy()) == saved(kept)


@pytest.mark.parametrize("values", samples().values(), ids=samples())
def test_copies_are_equal_and_independent(values: Any) -> None:  # noqa: ANN401
    """``copy``, ``deepcopy``, ``pickle`` in and out of band, ``share``, ``detached``."""
    array = Array(values)
    buffers: list[pickle.PickleBuffer] = []
    outside = pickle.dumps(array, protocol=5, buffer_callback=buffers.append)
    copies = [
        copy.copy(array),
        copy.deepcopy(array),
        pickle.loads(pickle.dumps(array)),  # noqa: S301  # our own
        pickle.loads(outside, buffers=[bytes(b.raw()) for b in buffers]),  # noqa: S301  # our own
        share(array),
        detached(array),
    ]
    for each in copies:
        assert type(each) is Array
        assert each == array
        assert repr(each) == repr(array)
        assert saved(backing(each)) == saved(values)
    assert Array(values) != Array(np.array([7.0]))


def test_a_pickle_is_read_by_a_process_without_fast_arrays() -> None:
    """There it is Flower's own array, with its bytes."""
    said = python(_FLOWER_READS, pickle.dumps(Array(np.array([[1.0, 2.0]], dtype="f4"))))
    assert said.split() == [
        "flwr.app.message.array",
        "True",
        "[[1.0,",
        "2.0]]",
        "(1,",
        "2)",
    ]


def test_a_view_gets_memory_of_its_own() -> None:
    """A state must not keep the memory of a whole reply."""
    large = np.arange(1000.0)
    view = backed(large[10:20])
    own = detached(view)
    assert backing(own).flags.owndata
    assert not np.shares_memory(backing(own), large)
    assert own == view
    assert detached(own) is own


# --- what an app may do to an array ----------------------------------------------------


def test_other_bytes_are_other_values() -> None:
    """Assigning ``data`` replaces the values, the id and the chunks."""
    array = Array(np.array([1.0, 2.0]))
    before = array.object_id
    assert array.children
    assert not array.is_dirty
    array.data = saved(np.array([3.0, 4.0]))
    assert array.is_dirty
    assert array.object_id != before
    assert array.object_id == Array(np.array([3.0, 4.0])).object_id
    assert array.numpy().tolist() == backing(array).tolist() == [3.0, 4.0]
    assert share(array) == array
    assert pickle.loads(pickle.dumps(array)) == array  # noqa: S301  # our own


@pytest.mark.parametrize(
    ("field", "value"), [("shape", (2, 1)), ("dtype", "float64 "), ("stype", "mine")]
)
def test_other_fields_keep_the_bytes(field: str, value: object) -> None:
    """Flower keeps what it is told, in copies too, whether it fits the bytes or not."""
    values = np.array([1.0, 2.0])
    array = Array(values)
    setattr(array, field, value)
    assert array.data == saved(values)
    for each in (array, share(array), copy.deepcopy(array), ArrayRecord({"a": array})["a"]):
        assert getattr(each, field) == value
        assert each.data == saved(values)


def test_a_serialisation_of_the_apps_own_stays_as_it_is() -> None:
    """Only NumPy's is known here; whoever asks for values hears Flower's error."""
    array = Array("int", (1,), "mine", b"\x01")
    assert array_bytes(array) == 1
    assert detached(share(array)) == array
    with pytest.raises(TypeError, match="mine"):
        array.numpy()


@pytest.mark.parametrize(
    "values",
    [
        np.array(["a"], dtype=object),
        np.array(["text"]),
        np.array([1], dtype="M8[s]"),
        np.zeros(2, dtype=[("x", "f4")]),
        [1.0, 2.0],
    ],
    ids=["object", "text", "time", "fields", "list"],
)
def test_anything_but_numbers_takes_flowers_way(values: Any) -> None:  # noqa: ANN401
    """The same bytes where Flower has some, the same errors where it raises."""
    try:
        expected: object = saved(values) if isinstance(values, np.ndarray) else TypeError
    except ValueError as error:
        expected = type(error)
    if isinstance(expected, bytes):
        assert Array(values).data == expected
    else:
        with pytest.raises(expected):  # pyright: ignore[reportArgumentType, reportCallIssue]  # a type
            Array(values)


def test_attributes_that_do_not_exist_do_not() -> None:
    """``__getattr__`` stands in for ``data`` alone."""
    assert not hasattr(Array(np.zeros(1)), "datum")


# --- records ---------------------------------------------------------------------------


def test_records_are_made_of_all_that_flower_takes() -> None:
    """Arrays, ndarrays, a state dict; the input may be given up."""
    values = {"w": np.ones((2, 3), dtype="f4"), "b": np.array(2, dtype="i8")}
    tensors = {name: torch.from_numpy(each.copy()) for name, each in values.items()}
    arrays = {name: Array(each) for name, each in values.items()}
    ndarrays = list(values.values())
    kept = ArrayRecord(arrays)
    assert kept == ArrayRecord(tensors)
    assert [each.data for each in ArrayRecord(ndarrays).values()] == [
        saved(each) for each in ndarrays
    ]
    assert kept["w"] is not arrays["w"]
    for given_up in (arrays, tensors):
        assert ArrayRecord(given_up, keep_input=False) == kept
        assert not given_up
    listed = ArrayRecord(ndarrays, keep_input=False)
    assert list(listed) == ["0", "1"]
    assert not ndarrays
    for given_up in (False, True):
        back = listed.to_numpy_ndarrays(keep_input=not given_up)
        assert [each.tobytes() for each in back] == [
            each.tobytes() for each in values.values()
        ]
        assert len(listed) == (0 if given_up else 2)
    with pytest.raises(TypeError, match="Key must be"):
        kept[1] = kept["w"]  # pyright: ignore[reportArgumentType]  # an app errs
    with pytest.raises(TypeError, match="Value must be"):
        kept["x"] = 1  # pyright: ignore[reportArgumentType]  # an app errs


def test_a_model_can_train_what_it_loads() -> None:
    """Tensors of ``to_torch_state_dict`` are writable and the caller's own."""
    record = ArrayRecord(torch.nn.Linear(3, 2).state_dict())
    before = {name: array.data for name, array in record.items()}
    state = record.to_torch_state_dict()
    for tensor in state.values():
        tensor.add_(1.0)
    assert {name: array.data for name, array in record.items()} == before
    assert list(record.to_torch_state_dict(keep_input=False)) == ["weight", "bias"]
    assert not record


def test_half_a_kind_of_float_is_not_numpys() -> None:
    """bfloat16 fails as it does with Flower: NumPy has no such type."""
    with pytest.raises(TypeError, match="BFloat16"):
        ArrayRecord({"w": torch.zeros(2, dtype=torch.bfloat16)})


def test_records_travel_as_flower_sends_them() -> None:
    """By protobuf, and taken apart into objects and put together again."""
    content = RecordDict(
        {"arrays": ArrayRecord({n: Array(v) for n, v in samples().items()})}
    )
    back = recorddict_from_proto(recorddict_to_proto(content))
    assert back == content
    objects = get_all_nested_objects(content)
    contents = {object_id: each.deflate() for object_id, each in objects.items()}
    again = inflate_object_from_contents(content.object_id, contents)
    assert again == content
    assert get_object_tree(content).object_id == content.object_id
    for name, values in samples().items():
        found = again["arrays"][name]  # pyright: ignore[reportIndexIssue]  # a RecordDict
        assert saved(found.numpy()) == saved(values)
        assert found.stype == SType.NUMPY
