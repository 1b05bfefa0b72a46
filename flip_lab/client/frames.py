"""Frames of a remote lab, with the values and the types that a local one gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from importlib import import_module
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from flip_lab.client.answers import FrameAnswer
from flip_lab.client.wire import Wire
from flip_lab.core.errors import MissingExtraError, QueryError, nearest

Form: TypeAlias = Literal["pandas", "arrow", "rows"]
"""A pandas frame, an Arrow table, or a list of dicts, which needs no further package."""

_ARROW = "application/vnd.apache.arrow.stream"


def ask_frame(wire: Wire, question: Mapping[str, object], as_: Form) -> Any:  # noqa: ANN401  # pandas, Arrow or plain
    """Ask for a frame.

    Args:
        wire: Whom to ask.
        question: What, in the words of ``POST /frames``; ``None`` is left out.
        as_: ``"pandas"``, ``"arrow"`` or ``"rows"``.

    Raises:
        QueryError: If the question is wrong, or ``as_`` is none of these.
        MissingExtraError: If the form needs a package that is not installed.
        FlipLabError: What else the lab has against it.
    """
    if as_ not in _FORMS:
        raise QueryError(f"as_ is {as_!r}.", fix=nearest(as_, _FORMS))
    given = {name: value for name, value in question.items() if value is not None}
    if as_ == "rows":
        return _rows(wire.send("POST", "/frames", FrameAnswer, given, is_safe=True))
    arrow = _package("pyarrow")
    response = wire.ask(
        "POST", "/frames", body=given, headers={"Accept": _ARROW}, is_safe=True
    )
    return _FORMS[as_](arrow.ipc.open_stream(response.content).read_all())


def _to_pandas(table: Any) -> Any:  # noqa: ANN401  # Arrow in, pandas out
    """Give a table as ``flip_lab.store.results.to_pandas`` does; a test compares them."""
    pd, pa = _package("pandas"), _package("pyarrow")
    always = {pa.string(): pd.StringDtype(na_value=float("nan"))}
    nullable = always | {
        pa.bool_(): pd.BooleanDtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.uint64(): pd.UInt64Dtype(),
    }
    series = [
        column.to_pandas(
            types_mapper=(nullable if column.null_count else always).get,
            maps_as_pydicts="strict",
        )
        for column in table.columns
    ]
    frame = pd.concat(series, axis=1) if series else pd.DataFrame()
    return frame.set_axis(table.column_names, axis=1)


def _same(table: Any) -> Any:  # noqa: ANN401  # Arrow
    return table


_FORMS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {"pandas": _to_pandas, "arrow": _same, "rows": _same}
)


def _rows(frame: FrameAnswer) -> list[dict[str, Any]]:
    names = [column.name for column in frame.columns]
    read = [_reader(column.type) for column in frame.columns]
    return [
        {
            name: None if value is None else give(value)
            for name, give, value in zip(names, read, row, strict=True)
        }
        for row in frame.rows
    ]


def _reader(kind: str) -> Callable[[Any], Any]:
    """Say how a value of an Arrow type is read from JSON."""
    if kind.startswith("timestamp"):
        return datetime.fromisoformat
    if kind in {"double", "float"}:
        return float
    if kind.startswith("map<") and "double" in kind:
        return lambda table: {name: float(value) for name, value in table.items()}
    return _as_it_is


def _as_it_is(value: Any) -> Any:  # noqa: ANN401  # JSON
    return value


def _package(name: str) -> Any:  # noqa: ANN401  # a module
    """Load a package that only frames need.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"Frames need {name}, which is not installed.",
            fix='Install it with: pip install "flip-lab[client]"; or take as_="rows".',
        ) from error
