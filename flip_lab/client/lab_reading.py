"""What can be asked of a remote lab: its runs, and what they recorded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast

from flip_lab.client.answers import About, Page
from flip_lab.client.answers_lab import (
    Alert,
    Node,
    Place,
    Places,
    ScenarioCard,
    ScenarioCards,
)
from flip_lab.client.frames import Form, ask_frame
from flip_lab.client.remote_run import RemoteRun, run_of
from flip_lab.client.wire import Wire
from flip_lab.core.errors import InvalidValueError

Where: TypeAlias = "str | Mapping[str, Any] | None"
"""A condition in SQL over ``runs``, or values by column or parameter; any of several."""

Names: TypeAlias = "str | Collection[str] | None"
"""A name, or several of which any will do; ``None`` takes all."""

Numbers: TypeAlias = "int | Collection[int] | None"
"""A number, or several of which any will do; ``None`` takes all."""


class LabReading:
    """Finds the runs of a remote lab and what they recorded, as ``Lab`` does.

    Every frame has the values and the types that it has over there. ``as_`` is
    ``"pandas"``, ``"arrow"``, or ``"rows"`` (a list of dicts, which needs no further
    package).

    Args:
        wire: Whom to ask.
    """

    def __init__(self, wire: Wire) -> None:
        """Ask nothing yet."""
        self._wire = wire

    def about(self) -> About:
        """Say what is served, by which version, and as whom it knows us."""
        return self._wire.get("/about", About)

    @property
    def url(self) -> str:
        """The lab's address, without the token."""
        return self._wire.line.address.url

    def run(self, run_id: str) -> RemoteRun:
        """Find a run again.

        Args:
            run_id: Its id, or the beginning or end of it if only one run has that.

        Raises:
            RunNotFoundError: If there is none, or more than one.
        """
        return run_of(self._wire, run_id)

    def runs(  # noqa: PLR0913  # one parameter for each thing to choose runs by
        self,
        where: Where = None,
        *,
        parameters: Sequence[object] = (),
        experiment: Names = None,
        sweep: Names = None,
        tag: Names = None,
        state: Names = None,
        archived: bool = False,
        limit: int | None = None,
        as_: Form = "pandas",
    ) -> Any:  # noqa: ANN401  # as Form says
        """List runs, newest first: rows of the table ``runs``; see ``Lab.runs``.

        Args:
            where: Which runs: a condition in SQL over ``runs`` with ``?`` for each of
                ``parameters``, or values by name.
            parameters: Values for its ``?`` marks.
            experiment: Only those of this experiment, or of one of several.
            sweep: Only those of this sweep, or of one of several.
            tag: Only those with this tag, or with all of several.
            state: Only those in this state, or in one of several.
            archived: Whether archived runs are listed, too.
            limit: At most so many.
            as_: The form of the answer.

        Raises:
            QueryError: If the condition is wrong, or a name in it means nothing.
        """
        return self._ask(
            "runs",
            as_,
            where=where,
            parameters=list(parameters),
            experiment=experiment,
            sweep=sweep,
            tag=tag,
            state=state,
            archived=archived,
            limit=limit,
        )

    def metrics(  # noqa: PLR0913  # one parameter for each thing to choose by
        self,
        names: Names = None,
        *,
        runs: object = None,
        where: Where = None,
        parameters: Sequence[object] = (),
        phase: Names = None,
        scope: Names = None,
        keys: Sequence[str] | None = None,
        as_: Form = "pandas",
    ) -> Any:  # noqa: ANN401  # as Form says
        """Give numbers about whole federations; see ``Lab.metrics``.

        Args:
            names: Only these metrics.
            runs: Only of these runs: a handle, an id, a list of these, or a frame of runs.
            where: Only of such runs, see ``runs``.
            parameters: Values for its ``?`` marks.
            phase: ``"train"``, ``"evaluate"``, or both.
            scope: ``"federated"``, ``"central"``, or both.
            keys: Columns of ``runs``, or parameters, to tell the rows apart by.
            as_: The form of the answer.

        Raises:
            QueryError: If the condition is wrong, or a name means nothing.
            RunNotFoundError: If one of ``runs`` is not there.
        """
        return self._ask(
            "metrics",
            as_,
            names=names,
            runs=None if runs is None else ids_of(runs),
            where=where,
            parameters=list(parameters),
            phase=phase,
            scope=scope,
            keys=keys,
        )

    def clients(  # noqa: PLR0913  # one parameter for each thing to choose by
        self,
        *,
        runs: object = None,
        where: Where = None,
        parameters: Sequence[object] = (),
        phase: Names = None,
        server_round: Numbers = None,
        partition_id: Numbers = None,
        keys: Sequence[str] = (),
        as_: Form = "pandas",
    ) -> Any:  # noqa: ANN401  # as Form says
        """Give what clients did; see ``Lab.clients``, and ``metrics`` for the arguments.

        Raises:
            QueryError: If the condition is wrong, or a name means nothing.
            RunNotFoundError: If one of ``runs`` is not there.
        """
        return self._ask(
            "clients",
            as_,
            runs=None if runs is None else ids_of(runs),
            where=where,
            parameters=list(parameters),
            phase=phase,
            server_round=server_round,
            partition_id=partition_id,
            keys=keys,
        )

    def client_metrics(  # noqa: PLR0913  # one parameter for each thing to choose by
        self,
        names: Names = None,
        *,
        runs: object = None,
        where: Where = None,
        parameters: Sequence[object] = (),
        phase: Names = None,
        server_round: Numbers = None,
        partition_id: Numbers = None,
        keys: Sequence[str] = (),
        as_: Form = "pandas",
    ) -> Any:  # noqa: ANN401  # as Form says
        """Give the numbers that clients reported; see ``Lab.client_metrics``.

        Raises:
            QueryError: If the condition is wrong, or a name means nothing.
            RunNotFoundError: If one of ``runs`` is not there.
        """
        return self._ask(
            "client_metrics",
            as_,
            names=names,
            runs=None if runs is None else ids_of(runs),
            where=where,
            parameters=list(parameters),
            phase=phase,
            server_round=server_round,
            partition_id=partition_id,
            keys=keys,
        )

    def sql(
        self,
        statement: str,
        parameters: Sequence[object] | Mapping[str, object] | None = None,
        *,
        as_: Form = "pandas",
    ) -> Any:  # noqa: ANN401  # as Form says
        """Ask the store over there in SQL; only reading is possible.

        Args:
            statement: One DuckDB query over the tables of ``docs/reference/tables.md``.
            parameters: Values for its ``?`` or ``$name`` marks.
            as_: The form of the answer.

        Raises:
            QueryError: If the query is wrong or wants more than to read the store.
        """
        return self._ask("sql", as_, statement=statement, parameters=parameters)

    def table(self, name: str, *, as_: Form = "pandas") -> Any:  # noqa: ANN401  # as Form says
        """Give one whole table of the store.

        Raises:
            QueryError: If there is no such table; the message names the nearest.
        """
        return self._ask("table", as_, name=name)

    def experiments(self, *, as_: Form = "pandas") -> Any:  # noqa: ANN401  # as Form says
        """Give the table ``experiments``: one row for each."""
        return self.table("experiments", as_=as_)

    def sweeps(self, *, as_: Form = "pandas") -> Any:  # noqa: ANN401  # as Form says
        """Give the table ``sweeps``: one row for each."""
        return self.table("sweeps", as_=as_)

    def federations(self) -> list[Place]:
        """List where runs can happen over there: engines, and federations of real nodes."""
        return self._wire.get("/federations", Places).items

    def nodes(self, run: RemoteRun | str | None = None) -> list[Node]:
        """List nodes with what they did.

        Args:
            run: Those of this run; ``None``: of all runs under way.

        Raises:
            RunNotFoundError: If there is no such run.
        """
        run_id = getattr(run, "run_id", run)
        return [*self._wire.pages("/nodes", Page[Node], run_id=run_id)]

    def alerts(self, *, limit: int | None = 100) -> list[Alert]:
        """List failed and lost runs and warnings, newest first.

        Args:
            limit: At most so many; ``None`` gives all.
        """
        return [*self._wire.pages("/alerts", Page[Alert], limit=limit)]

    def scenarios(self) -> list[ScenarioCard]:
        """List the scenarios that can be launched by name over there."""
        return self._wire.get("/scenarios", ScenarioCards).items

    def _ask(self, of: str, as_: Form, **question: object) -> Any:  # noqa: ANN401  # as Form says
        return ask_frame(self._wire, {"of": of, **question}, as_)


def ids_of(runs: object) -> list[str]:
    """Give the ids of the runs that somebody means: whole, or their beginnings or ends.

    Args:
        runs: A handle, an id, a list of these, or a frame of runs.

    Raises:
        InvalidValueError: If it is no selection of runs.
    """
    given = getattr(runs, "run_id", runs)  # a handle's id, or a frame's column
    several = [given] if isinstance(given, str) else given
    if not isinstance(several, Iterable):
        raise InvalidValueError(
            f"{runs!r} is no selection of runs.",
            fix="Give a run, its id, a list of these, or a frame from lab.runs(…).",
        )
    named = cast("Iterable[object]", several)
    return [str(getattr(each, "run_id", each)) for each in named]
