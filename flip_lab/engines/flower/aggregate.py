"""Flower's averaging and sampling, faster and to the same bits.

Averaging goes over all replies block by block, so that the sum stays in the processor's
cache; each element still meets the same additions in the same order. Sampling takes nodes
from the list that the Grid gives, without a copy of a million of them in every round.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, cast

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import fedavg, fedxgb_cyclic, strategy_utils
from numpy.typing import NDArray

from flip_lab.engines.flower.arrays import backing

_BLOCK = 65_536  # elements; the sum and the product of float32 stay in 1 MB of cache
_NODES_EVERY_S = 1.0
_COUNTING = (fedavg, fedxgb_cyclic)  # they use `list` for `len(list(nodes))` and no more

Terms: TypeAlias = list[tuple[NDArray[Any], float]]


def aggregate_arrayrecords(
    records: list[RecordDict], weighting_metric_name: str
) -> ArrayRecord:
    """Average the arrays of all replies, weighted by one of their metrics.

    Args:
        records: The replies' contents, found consistent by the strategy.
        weighting_metric_name: The metric that holds a reply's weight, such as
            ``"num-examples"``.

    Returns:
        The weighted mean, to the bit what Flower's function of this name gives.
    """
    weights = [_weight(record, weighting_metric_name) for record in records]
    total = sum(weights)
    terms: dict[str, Terms] = {}
    for record, weight in zip(records, [w / total for w in weights], strict=True):
        for arrays in record.array_records.values():
            for name, array in arrays.items():
                terms.setdefault(name, []).append((backing(array), weight))
    return ArrayRecord(
        {name: Array(np.asarray(_weighted_sum(each))) for name, each in terms.items()}
    )


def _weight(record: RecordDict, name: str) -> float:
    return cast("float", next(iter(record.metric_records.values()))[name])


def _weighted_sum(terms: Terms) -> Any:  # noqa: ANN401  # NumPy gives a scalar for 0-d arrays
    first, weight = terms[0]
    if not all(_is_plain(values, first) for values, _ in terms):
        total = first * weight
        for values, factor in terms[1:]:
            total += values * factor
        return total
    total = np.empty(first.shape, first.dtype)
    flat = total.reshape(-1)
    inputs = [(values.reshape(-1), factor) for values, factor in terms]
    product = np.empty(min(_BLOCK, flat.size), first.dtype)
    for start in range(0, flat.size, _BLOCK):
        part = flat[start : start + _BLOCK]
        np.multiply(inputs[0][0][start : start + _BLOCK], weight, out=part)
        for values, factor in inputs[1:]:
            here = product[: part.size]
            np.multiply(values[start : start + _BLOCK], factor, out=here)
            np.add(part, here, out=part)
    return total


def _is_plain(values: NDArray[Any], first: NDArray[Any]) -> bool:
    """Whether the product with a Python number has the same type and lies in one piece."""
    return (
        values.dtype == first.dtype
        and values.dtype.kind == "f"
        and values.dtype.isnative
        and values.shape == first.shape
        and values.ndim > 0
        and values.flags.c_contiguous
    )


def sample_nodes(
    grid: Grid, min_available_nodes: int, sample_size: int
) -> tuple[list[int], Sequence[int]]:
    """Draw nodes, the same ones that Flower's function of this name draws.

    Args:
        grid: Lists the nodes.
        min_available_nodes: Waits until there are as many; those that the user leaves out
            count, or a strategy that wants them all would wait for ever.
        sample_size: Number of nodes to draw; fewer when real nodes were lost since.

    Returns:
        The drawn nodes and all nodes.
    """
    left_out = len(getattr(grid, "excluded", ()))
    while True:
        nodes = _sequence(grid.get_node_ids())
        num_lost: int = getattr(grid, "num_lost", 0)
        enough = max(min_available_nodes - left_out, sample_size) - num_lost
        if len(nodes) >= max(enough, 1):
            return random.sample(nodes, min(sample_size, len(nodes))), nodes
        time.sleep(_NODES_EVERY_S)


def _sequence(nodes: Any) -> Sequence[int]:  # noqa: ANN401  # any iterable of ids
    is_sequence = isinstance(nodes, range | tuple)
    return cast("Sequence[int]", nodes) if is_sequence else list(nodes)


@contextmanager
def fast_strategies() -> Generator[None]:
    """Let Flower's strategies use the functions above while the block runs."""
    replaced: list[tuple[Any, str, Callable[..., Any]]] = []
    for ours in (aggregate_arrayrecords, sample_nodes):
        name = ours.__name__
        original = getattr(strategy_utils, name)
        for module in _strategy_modules():
            if getattr(module, name, None) is original:
                replaced.append((module, name, original))
                setattr(module, name, ours)
    for module in _COUNTING:
        vars(module)["list"] = _sequence
    try:
        yield
    finally:
        for module, name, original in replaced:
            setattr(module, name, original)
        for module in _COUNTING:
            vars(module).pop("list", None)


def _strategy_modules() -> list[Any]:
    prefix = "flwr.serverapp.strategy"
    modules = list(sys.modules.items())  # another thread may be importing
    return [module for name, module in modules if name.startswith(prefix)]
