"""One question in SQL; only the lab's own tables can be asked."""

from __future__ import annotations

from typing import Any, TypeAlias

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from flip_lab.api.documents import told
from flip_lab.api.replies import reply
from flip_lab.api.schemas.base import Asked
from flip_lab.api.service import Reader, Serving
from flip_lab.store import query
from flip_lab.store.query_limits import Limits

router = APIRouter(prefix="/sql", tags=["sql"])

Parameter: TypeAlias = bool | int | float | str | None

_LONGEST_S = 20.0


class SqlAsked(Asked):
    """A query.

    Attributes:
        statement: One DuckDB query over the tables of `docs/reference/tables.md`.
        parameters: Values for its `?` or `$name` marks.
        limit: The most rows of the answer.
    """

    statement: str = Field(min_length=1, max_length=100_000)
    parameters: list[Parameter] | dict[str, Parameter] | None = None
    limit: int = Field(default=1000, ge=1, le=10_000)


class SqlColumn(BaseModel):
    """A column of the answer.

    Attributes:
        name: Its name; two may have the same.
        type: Its type, in Arrow's words.
    """

    name: str
    type: str


class SqlAnswer(BaseModel):
    """The answer to a query.

    Attributes:
        columns: Its columns.
        rows: Its rows, each with a value for each column.
        is_cut: Whether there were more rows than the limit.
    """

    columns: list[SqlColumn]
    rows: list[list[Any]]
    is_cut: bool


@router.post("", response_model=SqlAnswer, responses=told(changes=True))
def ask_sql(service: Serving, person: Reader, asked: SqlAsked) -> Response:
    """Ask the store in SQL; only reading is possible, and no file can be reached.

    A query may take 20 s.
    """
    del person
    table: Any = query.sql(
        service.lab_dir,
        asked.statement,
        asked.parameters,
        as_="arrow",
        limits=Limits(time_s=_LONGEST_S, rows=asked.limit + 1),
    )
    columns = [{"name": each.name, "type": str(each.type)} for each in table.schema]
    lists = [each.to_pylist(maps_as_pydicts="lossy") for each in table.columns]
    rows = [list(row) for row in zip(*lists, strict=True)]
    return reply(
        {
            "columns": columns,
            "rows": rows[: asked.limit],
            "is_cut": len(rows) > asked.limit,
        }
    )
