"""What all schemas share: strict requests, numbers that JSON lacks, pages, problems."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Number: TypeAlias = Annotated[
    float | Literal["NaN", "Infinity", "-Infinity"],
    Field(description="A number; one that is not finite is a text."),
]
"""A number; JSON has none that is not finite."""

Value: TypeAlias = bool | int | float | str
"""What a setting can be."""

Values: TypeAlias = dict[str, Value | list[Value]]
"""Settings by name."""

T = TypeVar("T")


class Asked(BaseModel):
    """A request's body: keys that mean nothing are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Page(BaseModel, Generic[T]):
    """A part of a list.

    Attributes:
        items: In the list's order.
        next_cursor: What `cursor` says to go on; null at the end.
    """

    items: list[T]
    next_cursor: str | None


class Problem(BaseModel):
    """What went wrong (RFC 9457), with FLIP Lab's own code.

    Attributes:
        type: `urn:flip-lab:error:` and the code.
        title: The kind of error, in one sentence.
        status: The HTTP status.
        code: Such as `FLIP-704`; `docs/errors/` has a page for each.
        detail: What happened, with the offending value.
        fix: What to do next.
        evidence: Longer evidence; may be empty.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:flip-lab:error:FLIP-301",
                    "title": "No run of this id is kept in the lab.",
                    "status": 404,
                    "code": "FLIP-301",
                    "detail": "/labs/mine keeps no run '261122-nope'.",
                    "fix": "Valid: 261122-091500-q7xd. lab.runs() lists all.",
                    "evidence": "",
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    code: str
    detail: str
    fix: str
    evidence: str


Body: TypeAlias = dict[str, Any]
"""An object whose keys depend on something else."""
