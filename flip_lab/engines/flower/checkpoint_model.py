"""A model's arrays as safetensors, and back: any tool can read what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.common.constant import SType
from numpy.typing import NDArray

from flip_lab.engines.flower.arrays import backing

_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "bool": "BOOL",
        "int8": "I8",
        "int16": "I16",
        "int32": "I32",
        "int64": "I64",
        "uint8": "U8",
        "uint16": "U16",
        "uint32": "U32",
        "uint64": "U64",
        "float16": "F16",
        "float32": "F32",
        "float64": "F64",
    }
)
_DTYPES = MappingProxyType({name: dtype for dtype, name in _NAMES.items()})


@dataclass(frozen=True, kw_only=True)
class Tensors:
    """Arrays in the form of safetensors.

    Attributes:
        header: What the file's header says of them, by name and in order.
        buffers: Their values, in the same order and in C order.
    """

    header: Mapping[str, Any]
    buffers: list[NDArray[Any]]


def to_tensors(arrays: ArrayRecord) -> Tensors | None:
    """Give a model's arrays as safetensors keeps them.

    Args:
        arrays: The model.

    Returns:
        The arrays; ``None`` when safetensors cannot keep them to the last bit: another
        serialisation than NumPy's, another byte order, or columns first.
    """
    if any(array.stype != SType.NUMPY for array in arrays.values()):
        return None
    values = {name: backing(array) for name, array in arrays.items()}
    if not all(_fits(name, each) for name, each in values.items()):
        return None
    header: dict[str, Any] = {}
    start = 0
    for name, each in values.items():
        end = start + each.nbytes
        header[name] = {
            "dtype": _NAMES[str(each.dtype)],
            "shape": list(each.shape),
            "data_offsets": [start, end],
        }
        start = end
    return Tensors(header=header, buffers=list(values.values()))


def _fits(name: str, values: NDArray[Any]) -> bool:
    if name == "__metadata__" or str(values.dtype) not in _NAMES:
        return False
    return bool(values.flags.c_contiguous)


def from_tensors(header: Mapping[str, Any], data: NDArray[np.uint8]) -> ArrayRecord:
    """Give the model back, with its arrays in their old order.

    Args:
        header: The header of the file.
        data: The data behind it.
    """
    record = ArrayRecord()
    for name, tensor in header.items():
        start, end = tensor["data_offsets"]
        values = data[start:end].view(_DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
        record[name] = Array(values)
    return record
