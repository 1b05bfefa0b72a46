"""Frames with their types: any question that ``Lab`` answers with one, asked in one POST.

Lists give rows page by page; this gives whole frames, for programs. As Arrow they are what
a local ``Lab`` gives, value for value and type for type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import APIRouter, Body, Header, Response
from pydantic import BaseModel, Field

from flip_lab.api.documents import content, told
from flip_lab.api.replies import reply
from flip_lab.api.schemas.base import Asked, Number
from flip_lab.api.service import Reader, Serving
from flip_lab.core.errors import QueryError
from flip_lab.runs.conditions import Question
from flip_lab.runs.reader import LabReader
from flip_lab.store import query
from flip_lab.store.layout import LabDir
from flip_lab.store.query_limits import Limits

router = APIRouter(tags=["frames"])

ARROW = "application/vnd.apache.arrow.stream"
"""Media type of a frame in Arrow's streaming format."""

_LONGEST_S = 20.0
_MOST_ROWS = 5_000_000

Scalar: TypeAlias = bool | int | float | str | None
_Names: TypeAlias = str | list[str] | None
_Numbers: TypeAlias = int | list[int] | None
_Values: TypeAlias = list[Scalar | list[Scalar]]
_Where: TypeAlias = str | dict[str, Scalar | list[Scalar]] | None


class RunsWanted(Asked):
    """Rows of `runs`, newest first; the words are those of `Lab.runs`."""

    of: Literal["runs"]
    where: _Where = None
    parameters: _Values = Field(default_factory=list[Scalar | list[Scalar]])
    experiment: _Names = None
    sweep: _Names = None
    tag: _Names = None
    state: _Names = None
    archived: bool = False
    limit: Annotated[int, Field(ge=0)] | None = None


class _FactsWanted(Asked):
    runs: list[str] | None = None
    where: _Where = None
    parameters: _Values = Field(default_factory=list[Scalar | list[Scalar]])
    phase: _Names = None
    keys: list[str] | None = None


class MetricsWanted(_FactsWanted):
    """Numbers about whole federations; the words are those of `Lab.metrics`."""

    of: Literal["metrics"]
    names: _Names = None
    scope: _Names = None


class ClientsWanted(_FactsWanted):
    """What clients did; the words are those of `Lab.clients`."""

    of: Literal["clients"]
    server_round: _Numbers = None
    partition_id: _Numbers = None


class ClientMetricsWanted(_FactsWanted):
    """Numbers that clients reported; the words are those of `Lab.client_metrics`."""

    of: Literal["client_metrics"]
    names: _Names = None
    server_round: _Numbers = None
    partition_id: _Numbers = None


class TableWanted(Asked):
    """A whole table, or what it holds of some runs."""

    of: Literal["table"]
    name: str
    runs: list[str] | None = None


class SqlWanted(Asked):
    """The answer to a query that only reads."""

    of: Literal["sql"]
    statement: str
    parameters: _Values | dict[str, Scalar | list[Scalar]] | None = None


Wanted: TypeAlias = Annotated[
    RunsWanted
    | MetricsWanted
    | ClientsWanted
    | ClientMetricsWanted
    | TableWanted
    | SqlWanted,
    Field(discriminator="of"),
]


class FrameColumn(BaseModel):
    """A column: its name, and the type of its values in Arrow's words."""

    name: str
    type: str


class Frame(BaseModel):
    """A frame as JSON; times are texts, maps are objects."""

    columns: list[FrameColumn]
    rows: list[list[Number | Any]]


@router.post(
    "/frames",
    response_model=Frame,
    responses={
        200: content(ARROW, type="string", format="binary"),
        **told(404, changes=True),
    },
)
def frame(
    service: Serving,
    _person: Reader,
    wanted: Annotated[Wanted, Body()],
    accept: Annotated[str, Header()] = "application/json",
) -> Response:
    """Give a frame: as Arrow where that is accepted, else as JSON."""
    table = _ANSWERS[wanted.of](service.lab_dir, wanted)
    if ARROW in accept:
        return Response(_stream(table), media_type=ARROW)
    columns = [{"name": each.name, "type": str(each.type)} for each in table.schema]
    values = [column.to_pylist(maps_as_pydicts="strict") for column in table.columns]
    return reply({"columns": columns, "rows": [*zip(*values, strict=True)]})


class _Asked(LabReader):
    """A lab whose answers may not cost more than one question may."""

    def _answer(self, question: Question, as_: object) -> Any:  # noqa: ANN401  # Arrow
        del as_
        return _bounded(self._dir, question.text, list(question.values))


def _bounded(lab: LabDir, text: str, values: Any) -> Any:  # noqa: ANN401  # Arrow
    """Ask, unless that takes too long or gives too much."""
    limits = Limits(time_s=_LONGEST_S, rows=_MOST_ROWS + 1)
    table: Any = query.sql(lab, text, values, as_="arrow", limits=limits)
    if table.num_rows > _MOST_ROWS:
        raise QueryError(
            f"The answer has more than {_MOST_ROWS:,} rows.",
            fix="Ask for less at once: only some runs, rounds or metrics; or for sums.",
        )
    return table


def _rows(lab: LabDir, wanted: Any) -> Any:  # noqa: ANN401  # as _ANSWERS says
    ask = getattr(_Asked(lab), wanted.of)
    return ask(**wanted.model_dump(exclude={"of"}, exclude_unset=True))


def _table(lab: LabDir, wanted: Any) -> Any:  # noqa: ANN401  # as _ANSWERS says
    if wanted.runs is None:
        return LabReader(lab).table(wanted.name, as_="arrow")
    return query.table(lab, wanted.name, run_ids=wanted.runs, as_="arrow")


def _sql(lab: LabDir, wanted: Any) -> Any:  # noqa: ANN401  # as _ANSWERS says
    return _bounded(lab, wanted.statement, wanted.parameters)


_ANSWERS: Mapping[str, Callable[[LabDir, Any], Any]] = MappingProxyType(
    {
        "runs": _rows,
        "metrics": _rows,
        "clients": _rows,
        "client_metrics": _rows,
        "table": _table,
        "sql": _sql,
    }
)
"""How each question is answered: with an Arrow table."""


def _stream(table: Any) -> bytes:  # noqa: ANN401  # pyarrow has no types
    pa: Any = import_module("pyarrow")  # untyped
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()
