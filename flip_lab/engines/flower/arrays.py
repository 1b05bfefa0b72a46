"""Flower's ``Array`` backed by an ndarray, so that no bytes are written and read for it.

Flower keeps every array as the bytes of an ``.npy`` file: one in, one out for each client,
which costs more than the training of a small model. While a run is under way (in the run
process and in its workers) ``Array`` keeps the ndarray itself and writes those bytes only
when somebody asks for them: the bytes, and so the object ids, are the same.

A subclass would not do: ``Array.__init__`` copies what it finds into a plain ``Array``.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.common.constant import SType
from numpy.typing import NDArray

from flip_lab.engines.flower.records import install_fast_records

_BACKING = "_flip_lab_ndarray"
_FIELDS = frozenset({"dtype", "shape", "stype", "data"})
_PLAIN_KINDS = "biufc"  # numbers; anything else takes Flower's own way
_from_numpy_ndarray = Array.from_numpy_ndarray
_numpy = Array.numpy
_setattr = Array.__setattr__


def install_fast_arrays() -> None:
    """Let every ``Array`` of this process be backed by an ndarray; once is enough."""
    patched: Any = Array
    patched.from_numpy_ndarray = classmethod(_snapshot)
    patched.numpy = _copied
    patched.__getattr__ = _written
    patched.__setattr__ = _set
    patched.__reduce__ = _reduce
    record: Any = ArrayRecord
    record.from_array_dict = classmethod(_from_array_dict)
    record.from_numpy_ndarrays = classmethod(_from_ndarrays)
    record.to_numpy_ndarrays = _to_ndarrays
    install_fast_records()


def backing(array: Array) -> NDArray[Any]:
    """Give the values of an array, to read only; without a copy where there is one."""
    found = vars(array).get(_BACKING)
    return array.numpy() if found is None else found


def share(array: Array) -> Array:
    """Give another ``Array`` with the same values; neither can change the other's."""
    found = vars(array).get(_BACKING)
    if found is None:
        return Array(array.dtype, tuple(array.shape), array.stype, array.data)
    return backed(found)


def backed(values: NDArray[Any]) -> Array:
    """Give an ``Array`` on these very values, which nobody may change from now on.

    The class must have been made ready by ``install_fast_arrays``.
    """
    array = Array.__new__(Array)
    inside = vars(array)
    inside["dtype"] = _dtype_name(values.dtype)
    inside["shape"] = values.shape
    inside["stype"] = SType.NUMPY
    inside[_BACKING] = values
    return array


_dtype_name = lru_cache(maxsize=256)(str)  # NumPy takes microseconds to spell it


def detached(array: Array) -> Array:
    """Give the array with memory of its own, if it looks at a part of something larger."""
    found = vars(array).get(_BACKING)
    return array if found is None or found.flags.owndata else backed(_copy(found))


def array_bytes(array: Array) -> int:
    """Count the bytes that an array has on the wire, without writing them."""
    found = vars(array).get(_BACKING)
    if found is None or "data" in vars(array):
        return len(array.data)
    return len(_head_of(found)) + found.nbytes


def _is_fortran(values: NDArray[Any]) -> bool:
    return values.flags.f_contiguous and not values.flags.c_contiguous


def _head_of(values: NDArray[Any]) -> bytes:
    return _head(values.dtype, values.shape, _is_fortran(values))


@lru_cache(maxsize=4096)
def _head(dtype: np.dtype[Any], shape: tuple[int, ...], is_fortran: bool) -> bytes:  # noqa: FBT001  # a key
    """Give the head of an ``.npy`` file: 128 bytes for most arrays."""
    file = BytesIO()
    one = np.lib.stride_tricks.as_strided(np.zeros(1, dtype), shape, [0] * len(shape))
    head = np.lib.format.header_data_from_array_1_0(one) | {"fortran_order": is_fortran}
    np.lib.format.write_array_header_1_0(file, head)
    return file.getvalue()


def _snapshot(cls: type[Array], ndarray: NDArray[Any]) -> Array:
    """Stand in for ``Array.from_numpy_ndarray``: keep a copy of the values."""
    del cls
    if isinstance(ndarray, np.ndarray) and is_plain(ndarray.dtype):  # pyright: ignore[reportUnnecessaryIsInstance]  # apps err
        return backed(_copy(ndarray))
    return _from_numpy_ndarray(ndarray)


def is_plain(dtype: np.dtype[Any]) -> bool:
    """Whether pickling keeps it: of another machine's byte order it makes our own."""
    return dtype.kind in _PLAIN_KINDS and dtype.isnative


def _copied(self: Array) -> NDArray[Any]:
    """Stand in for ``Array.numpy``: a fresh array, which the caller may change."""
    found = vars(self).get(_BACKING)
    return _numpy(self) if found is None else _copy(found)


def _copy(values: NDArray[Any]) -> NDArray[Any]:
    """Copy in the order in which an ``.npy`` file would keep it."""
    flags = values.flags
    if flags.c_contiguous and type(values) is np.ndarray:
        return values.copy()
    order = "F" if flags.f_contiguous and not flags.c_contiguous else "C"
    return np.array(values, copy=True, order=order, subok=False)


def _from_array_dict(
    cls: type[ArrayRecord], array_dict: dict[str, Array], *, keep_input: bool = True
) -> ArrayRecord:
    """Stand in for ``ArrayRecord.from_array_dict``, which asks every array for bytes."""
    del cls  # as Flower, which gives an ArrayRecord to its subclasses too
    record = ArrayRecord()
    for name, array in array_dict.items():
        record[name] = share(array)
    if not keep_input:
        array_dict.clear()
    return record


def _from_ndarrays(
    cls: type[ArrayRecord], ndarrays: list[NDArray[Any]], *, keep_input: bool = True
) -> ArrayRecord:
    """Stand in for ``ArrayRecord.from_numpy_ndarrays``, which collects garbage each time.

    Collecting takes a tenth of a second once torch is loaded, and frees nothing of these.
    """
    record = cls()
    for number, values in enumerate(ndarrays):
        record[str(number)] = Array.from_numpy_ndarray(values)
    if not keep_input:
        ndarrays.clear()
    return record


def _to_ndarrays(self: ArrayRecord, *, keep_input: bool = True) -> list[NDArray[Any]]:
    """Stand in for ``ArrayRecord.to_numpy_ndarrays``, for the same reason."""
    found = [array.numpy() for array in self.values()]
    if not keep_input:
        self.clear()
    return found


def _written(self: Array, name: str) -> bytes:
    """Write the bytes when they are asked for; called for missing attributes only."""
    found = vars(self).get(_BACKING)
    if name != "data" or found is None:
        raise AttributeError(name)
    data = _npy(found)
    vars(self)["data"] = data
    return data


def _npy(values: NDArray[Any]) -> bytes:
    """Write an ``.npy`` file in one go; NumPy writes 8 KiB at a time into memory."""
    flat = np.ascontiguousarray(values.T if _is_fortran(values) else values).reshape(-1)
    return b"".join((_head_of(values), flat.view(np.uint8).data))


def _set(self: Array, name: str, value: object) -> None:
    """Become one of Flower's own when somebody replaces a field of it."""
    if name in _FIELDS and _BACKING in vars(self):
        vars(self)["data"] = self.data
        del vars(self)[_BACKING]
    _setattr(self, name, value)


def _reduce(self: Array) -> tuple[Any, ...]:
    """Pickle the values, not their bytes: they travel out of band without a copy."""
    found = vars(self).get(_BACKING)
    if found is None:
        return _rebuilt_plain, (self.dtype, self.shape, self.stype, self.data)
    return _rebuilt, (found,)


def _rebuilt(values: NDArray[Any]) -> Array:
    """Rebuild an array, also in a process that has no fast arrays."""
    ready = vars(Array).get("numpy") is _copied
    return backed(values) if ready else _from_numpy_ndarray(values)


def _rebuilt_plain(dtype: str, shape: tuple[int, ...], stype: str, data: bytes) -> Array:
    return Array(dtype, shape, stype, data)
