"""Averaging and sampling give Flower's bits, whatever clients send."""

from __future__ import annotations

import inspect
import random
import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import strategy as strategies
from flwr.serverapp.strategy import FedAvg, fedavg, fedxgb_cyclic, strategy_utils
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from flip_lab.engines.flower import aggregate
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.flower.messages import become_server

_BLOCK = aggregate._BLOCK
DTYPES = ("f2", "f4", "f8", "i8", "?", ">f4", "c8")
SHAPES = arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
WEIGHTS = st.one_of(st.integers(0, 10_000), st.floats(0.0, 100.0))


@pytest.fixture(autouse=True)
def fast() -> None:
    """Take the place of a run process."""
    install_fast_arrays()
    become_server(5)


def reply(arrays: dict[str, Any], weight: float, **more: dict[str, Any]) -> RecordDict:
    """Give what a client sends back; ``more`` are further array records."""
    records = {"arrays": arrays, **more}
    content = RecordDict(
        {
            name: ArrayRecord({key: Array(values) for key, values in record.items()})
            for name, record in records.items()
        }
    )
    content["metrics"] = MetricRecord({"num-examples": weight})
    return content


def same(records: list[RecordDict]) -> None:
    """Compare bytes, names and their order."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        expected = strategy_utils.aggregate_arrayrecords(records, "num-examples")
        found = aggregate.aggregate_arrayrecords(records, "num-examples")
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].data == array.data, name


@st.composite
def cohorts(draw: st.DrawFn) -> list[RecordDict]:
    """Give replies of one model: mixed types, orders of memory and weights."""
    layers = draw(
        st.lists(st.tuples(st.sampled_from(DTYPES), SHAPES), min_size=1, max_size=4)
    )
    replies: list[RecordDict] = []
    for _ in range(draw(st.integers(1, 5))):
        arrays: dict[str, Any] = {}
        for number, (dtype, shape) in enumerate(layers):
            values = draw(arrays_of.arrays(dtype=np.dtype(dtype), shape=shape))
            is_fortran = draw(st.booleans())
            arrays[f"layer{number}"] = np.array(values, order="F" if is_fortran else "C")
        replies.append(reply(arrays, draw(WEIGHTS)))
    return replies


@given(records=cohorts())
def test_the_mean_has_flowers_bits(records: list[RecordDict]) -> None:
    """Halves to doubles, counters, flags, complex numbers, nan and inf, any order."""
    assume(sum(record["metrics"]["num-examples"] for record in records) > 0)  # pyright: ignore[reportArgumentType, reportCallIssue]  # numbers
    same(records)


@pytest.mark.parametrize("size", [_BLOCK - 1, _BLOCK, _BLOCK + 1, 2 * _BLOCK + 17])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_blocks_leave_no_trace(size: int, dtype: str) -> None:
    """Sizes around the block, with values that are not numbers at its ends."""
    generator = np.random.default_rng(size)
    records: list[RecordDict] = []
    for weight in (3, 0, 11.5, 7):
        values = generator.normal(size=size).astype(dtype)
        values[[0, -1]] = np.nan
        values[generator.integers(0, size, 5)] = np.inf
        values[generator.integers(0, size, 5)] = -np.inf
        records.append(reply({"w": values}, weight))
    same(records)


def test_several_records_and_layers_that_some_lack() -> None:
    """Names are added up wherever they stand, in the order in which they come."""
    one = reply({"w": np.ones(3)}, 1, more={"w": np.full(3, 0.1), "b": np.array(2)})
    two = reply({"b": np.array(5), "w": np.full(3, 0.3)}, 2)
    same([one, two])
    same([two, one])


def test_types_that_differ_between_replies() -> None:
    """Whatever NumPy makes of them, also where shapes must be stretched."""
    single, double = np.ones((2, 3), dtype="f4"), np.full((2, 3), 0.1)
    same([reply({"w": double}, 1), reply({"w": single}, 2)])
    same([reply({"w": single}, 1), reply({"w": double}, 2)])
    same([reply({"w": double}, 1), reply({"w": np.full(3, 0.7)}, 2)])


def test_replies_are_left_as_they_are() -> None:
    """The strategy may use them again."""
    records = [reply({"w": np.arange(5.0)}, weight) for weight in (1, 2)]
    before = [record["arrays"].object_id for record in records]
    same(records)
    assert [record["arrays"].object_id for record in records] == before


def test_no_weight_at_all_is_flowers_error() -> None:
    """Whoever weighs nothing cannot be averaged."""
    with pytest.raises(ZeroDivisionError):
        aggregate.aggregate_arrayrecords([reply({"w": np.ones(2)}, 0)], "num-examples")


# --- sampling --------------------------------------------------------------------------


@given(total=st.integers(1, 60), part=st.floats(0, 1), seed=st.integers(0, 2**32))
@pytest.mark.parametrize("kind", [tuple, list, iter])
def test_the_same_nodes_are_drawn(
    kind: Callable[[range], Any], total: int, part: float, seed: int
) -> None:
    """From a tuple, from a range, from anything that can be gone through."""
    size = int(total * part)
    random.seed(seed)
    grid: Any = SimpleNamespace(get_node_ids=lambda: kind(range(5, 5 + total)))
    expected = strategy_utils.sample_nodes(grid, 1, size)
    after = random.getstate()
    random.seed(seed)
    drawn, nodes = aggregate.sample_nodes(grid, 1, size)
    assert (drawn, list(nodes)) == (expected[0], list(expected[1]))
    assert random.getstate() == after


def test_sampling_waits_for_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real devices come one after another."""
    monkeypatch.setattr(aggregate, "_NODES_EVERY_S", 0.0)
    coming = iter([[1], [1, 2], [1, 2, 3]])
    grid: Any = SimpleNamespace(get_node_ids=lambda: next(coming))
    assert sorted(aggregate.sample_nodes(grid, 1, 3)[0]) == [1, 2, 3]


# --- strategies ------------------------------------------------------------------------


def test_every_strategy_gets_them_and_loses_them_again() -> None:
    """Each module that has imported the functions; a raised exception changes nothing."""
    names = ("sample_nodes", "aggregate_arrayrecords")
    places = [
        (module, name)
        for module in aggregate._strategy_modules()
        for name in names
        if name in vars(module)
    ]
    before = [getattr(*place) for place in places]
    assert {fedavg, strategy_utils} <= {module for module, _ in places}
    with suppress(KeyError), aggregate.fast_strategies():
        with aggregate.fast_strategies():
            pass
        assert [getattr(*place) for place in places] == [
            getattr(aggregate, name) for _, name in places
        ]
        raise KeyError
    assert [getattr(*place) for place in places] == before


STRATEGIES: dict[str, Callable[[], FedAvg]] = {
    "FedAvg": strategies.FedAvg,
    "FedAvgM": lambda: strategies.FedAvgM(server_momentum=0.9),
    "FedAdam": strategies.FedAdam,
    "FedYogi": strategies.FedYogi,
    "FedAdagrad": strategies.FedAdagrad,
    "FedMedian": strategies.FedMedian,
    "FedTrimmedAvg": strategies.FedTrimmedAvg,
    "FedProx": lambda: strategies.FedProx(proximal_mu=0.1),
    "Krum": lambda: strategies.Krum(num_malicious_nodes=1),
    "MultiKrum": lambda: strategies.MultiKrum(num_malicious_nodes=1, num_nodes_to_select=3),
    "Bulyan": lambda: strategies.Bulyan(num_malicious_nodes=1),
    "QFedAvg": lambda: strategies.QFedAvg(client_learning_rate=0.1),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_gives_the_same_model(name: str) -> None:
    """Two rounds of each, with Flower's functions and with ours."""
    plain = rounds(STRATEGIES[name]())
    with aggregate.fast_strategies():
        fast = rounds(STRATEGIES[name]())
    assert plain == fast
    assert len(plain) == 2


def rounds(strategy: FedAvg) -> list[dict[str, bytes]]:
    """Let a strategy work for two rounds with the same cohort and give its models."""
    generator = np.random.default_rng(1)
    model = ArrayRecord(
        {
            name: Array(generator.normal(size=shape).astype("f4"))
            for name, shape in (("w", (20, 3)), ("b", (3,)))
        }
    )
    nodes = list(range(100, 108))
    grid: Any = SimpleNamespace(get_node_ids=lambda: nodes)
    models: list[dict[str, bytes]] = []
    for server_round in (1, 2):
        random.seed(server_round)
        messages = strategy.configure_train(server_round, model, ConfigRecord(), grid)
        replies = [_trained(message, generator) for message in messages]
        found, _ = strategy.aggregate_train(server_round, replies)
        assert found is not None
        model = found
        models.append({key: array.data for key, array in model.items()})
    return models


def _trained(message: Message, generator: np.random.Generator) -> Message:
    arrays = {
        name: array.numpy() + generator.normal(size=array.shape).astype("f4") / 10
        for name, array in next(iter(message.content.array_records.values())).items()
    }
    content = reply(arrays, int(generator.integers(1, 50)))
    content.metric_records["metrics"]["train_loss"] = float(generator.random())
    content.metric_records["metrics"]["loss"] = float(generator.random())
    return Message(content, reply_to=message)


@pytest.mark.parametrize("module", [fedavg, fedxgb_cyclic])
def test_nodes_are_counted_without_a_list_of_them(module: ModuleType) -> None:
    """These modules make lists of nothing else; a new Flower that does would show here."""
    source = inspect.getsource(module)
    counting = source.count("len(list(grid.get_node_ids()))")
    assert len(re.findall(r"\blist\(", source)) == counting > 0
    nodes = range(10**12)  # a list of these would not fit into any memory
    with aggregate.fast_strategies():
        assert vars(module)["list"](nodes) is nodes
        assert vars(module)["list"](iter((1, 2))) == [1, 2]
    assert "list" not in vars(module)
