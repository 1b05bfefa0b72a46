"""Which runs somebody looks for, as a question in SQL."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from flip_lab.core.errors import QueryError, nearest
from flip_lab.runs.arguments import whole_number
from flip_lab.runs.conditions import Ask, Question, all_of, among, any_of, several
from flip_lab.store.schema import TABLES

Where: TypeAlias = "str | Mapping[str, Any] | None"
"""A condition in SQL over ``runs``, or values by column or parameter; any of several."""

Names: TypeAlias = "str | Collection[str] | None"
"""A name, or several of which any will do; None takes all."""

RUN_COLUMNS = frozenset(column.name for column in TABLES["runs"].columns)
"""The columns of ``runs``; other names that people give are parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs are asked for; what is left out does not matter.

    Attributes:
        where: Condition over ``runs``, see ``Where``.
        parameters: Values for the ``?`` of a condition in SQL.
        experiment: Their experiment, or one of several.
        sweep: Their sweep, or one of several.
        tag: Tags that they all must have.
        state: Their state, or one of several.
        archived: Whether archived ones are asked for, too.
        run_ids: Nothing but these, archived or not; the rest counts nevertheless.
    """

    where: Where = None
    parameters: Sequence[object] = ()
    experiment: Names = None
    sweep: Names = None
    tag: Names = None
    state: Names = None
    archived: bool = False
    run_ids: Sequence[str] | None = None

    @property
    def is_list(self) -> bool:
        """Whether the runs are just those of ``run_ids``."""
        return self == RunFilter(run_ids=self.run_ids, archived=self.archived)


def runs_question(wanted: RunFilter, ask: Ask, *, limit: int | None = None) -> Question:
    """Ask for rows of ``runs``, newest first.

    Args:
        wanted: Which runs.
        ask: Answers what must be known before, such as the names of parameters.
        limit: At most so many.

    Raises:
        QueryError: If a name is neither a column nor a parameter of any run.
        InvalidValueError: If the limit is no whole number from 0.
    """
    rows = run_condition(wanted, ask)
    most = "" if limit is None else f"LIMIT {whole_number('limit', limit, at_least=0)}"
    text = f"FROM runs WHERE {rows.text} ORDER BY created_at DESC, run_id DESC {most}"
    return replace(rows, text=text)


def run_condition(wanted: RunFilter, ask: Ask) -> Question:
    """Give the condition that rows of ``runs`` must meet.

    Raises:
        QueryError: If a name is neither a column nor a parameter of any run.
    """
    parts = [*_by_where(wanted, ask)]
    if wanted.run_ids is not None:
        parts.append(among("run_id", wanted.run_ids))
    elif not wanted.archived:
        parts.append(Question(text="NOT is_archived"))
    groups = {
        "experiment": wanted.experiment,
        "sweep": wanted.sweep,
        "state": wanted.state,
    }
    parts += [
        among(name, several(values))
        for name, values in groups.items()
        if values is not None
    ]
    if wanted.tag is not None:
        tags = [str(tag) for tag in several(wanted.tag)]
        parts.append(Question(text="list_has_all(tags, ?::VARCHAR[])", values=(tags,)))
    return all_of(parts)


def _by_where(wanted: RunFilter, ask: Ask) -> Iterator[Question]:
    if wanted.parameters and not isinstance(wanted.where, str):
        raise QueryError(
            f"There is no condition in SQL for the parameters {wanted.parameters!r}.",
            fix="Give one with a ? for each: lab.runs('seed < ?', parameters=[3]).",
        )
    if wanted.where is None:
        return
    if isinstance(wanted.where, str):
        # Lines of its own: a comment at its end must not swallow ours.
        text = f"(\n{wanted.where}\n)"
        yield Question(text=text, values=tuple(wanted.parameters))
        return
    if not isinstance(wanted.where, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # users err
        raise QueryError(
            f"where is {wanted.where!r}.",
            fix="Give SQL, such as \"state = 'failed'\", or values by name: {'seed': 3}.",
        )
    require_known([*wanted.where.keys() - RUN_COLUMNS], ask)
    for name, value in wanted.where.items():
        values = several(value)
        yield (
            _in_column(name, values) if name in RUN_COLUMNS else _in_parameter(name, values)
        )


def require_known(names: Sequence[str], ask: Ask) -> None:
    """Refuse names that no run has a parameter of.

    Args:
        names: Names that are no columns of ``runs``.
        ask: Answers which parameters there are.

    Raises:
        QueryError: With the nearest name there is.
    """
    if not names:
        return
    rows = ask("SELECT DISTINCT name FROM parameters", ())
    known = {row["name"] for row in rows}
    for name in names:
        if name not in known:
            raise QueryError(
                f"{name!r} is neither a column of runs nor a parameter of any run here.",
                fix=nearest(str(name), known | RUN_COLUMNS),
            )


def _in_column(name: str, values: Sequence[object]) -> Question:
    if name == "tags":
        texts = [str(value) for value in values]
        return Question(text="list_has_any(tags, ?::VARCHAR[])", values=(texts,))
    return among(name, values)


def _in_parameter(name: str, values: Sequence[object]) -> Question:
    """Ask for runs with one of these values; text and numbers are kept apart there."""
    texts = [_text(value) for value in values if isinstance(value, str | bool)]
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    found = any_of([among("value", texts), among("number", numbers)])
    has = "run_id IN (SELECT run_id FROM parameters WHERE name = ? AND"
    parts = [Question(text=f"{has} {found.text})", values=(name, *found.values))]
    if None in values:
        lacks = "run_id NOT IN (SELECT run_id FROM parameters WHERE name = ?)"
        parts.append(Question(text=lacks, values=(name,)))
    return any_of(parts)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
