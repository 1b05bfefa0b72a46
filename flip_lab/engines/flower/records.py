"""Flower's records, read without type hints built and views written back at each access.

A view by kind (``content.array_records``) writes every record back and leaves a cycle for
the garbage collector; a strategy asks for a handful of them for each reply. What replaces
them here does the same, once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.app.message import recorddict
from flwr.app.message.typeddict import TypedDict

_Record = ArrayRecord | MetricRecord | ConfigRecord
_View: Any = vars(recorddict)["_SyncedDict"]  # not public


def install_fast_records() -> None:
    """Let every record of this process be quick to read; once is enough."""
    mapping: Any = TypedDict
    mapping.__setitem__ = _set_item
    mapping.__getitem__ = _get_item
    mapping.__contains__ = _contains
    mapping.__iter__ = _iter
    mapping.__len__ = _len
    mapping.get = _get
    mapping.keys = _keys
    mapping.items = _items
    mapping.values = _values
    content: Any = RecordDict
    content.array_records = _view_of(ArrayRecord)
    content.metric_records = _view_of(MetricRecord)
    content.config_records = _view_of(ConfigRecord)


def _set_item(self: TypedDict[Any, Any], key: object, value: object) -> None:
    """Stand in for ``TypedDict.__setitem__``, which builds type hints at each call.

    Its readers do so too; those are replaced by the same lines without the hints.
    """
    inside = vars(self)
    inside["_check_key_fn"](key)
    inside["_check_value_fn"](value)
    inside["_data"][key] = value


def _get_item(self: TypedDict[Any, Any], key: Any) -> Any:  # noqa: ANN401  # as Flower's
    return vars(self)["_data"][key]


def _contains(self: TypedDict[Any, Any], key: object) -> bool:
    return key in vars(self)["_data"]


def _iter(self: TypedDict[Any, Any]) -> Iterator[Any]:
    return iter(vars(self)["_data"])


def _len(self: TypedDict[Any, Any]) -> int:
    return len(vars(self)["_data"])


def _get(self: TypedDict[Any, Any], key: Any, default: Any = None) -> Any:  # noqa: ANN401  # as above
    return vars(self)["_data"].get(key, default)


def _keys(self: TypedDict[Any, Any]) -> Any:  # noqa: ANN401  # as above
    return vars(self)["_data"].keys()


def _items(self: TypedDict[Any, Any]) -> Any:  # noqa: ANN401  # as above
    return vars(self)["_data"].items()


def _values(self: TypedDict[Any, Any]) -> Any:  # noqa: ANN401  # as above
    return vars(self)["_data"].values()


def _view_of(kind: type[_Record]) -> property:
    """Stand in for a property of ``RecordDict`` that gives its records of one kind."""
    template: object = _View(RecordDict(), kind)
    same: dict[str, Any] = vars(template)

    def view(self: RecordDict) -> Any:  # noqa: ANN401  # as above
        found: object = _View.__new__(_View)
        records = cast("dict[str, _Record]", vars(self)["_data"])
        inside: dict[str, Any] = vars(found)
        inside.update(same)  # its check of values is bound to another view: no cycle
        inside["recorddict"] = self
        inside["_data"] = {
            name: record for name, record in records.items() if isinstance(record, kind)
        }
        return found

    return property(view)
