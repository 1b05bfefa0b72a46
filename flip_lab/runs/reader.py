"""What can be asked of a lab; everything is answered by one query over its store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flip_lab.core.errors import FlipLabError
from flip_lab.runs import life_sign
from flip_lab.runs.conditions import Question
from flip_lab.runs.facts import USUAL_KEYS, FactFilter, Numbers, facts_question
from flip_lab.runs.finding import Selection, find_run, selected
from flip_lab.runs.relations import relation
from flip_lab.runs.run import Run
from flip_lab.runs.run_facts import Frame
from flip_lab.runs.search import Names, RunFilter, Where, runs_question
from flip_lab.store import query
from flip_lab.store.layout import LabDir, names_in
from flip_lab.store.manifest import read_manifest

if TYPE_CHECKING:
    import duckdb


Form = Literal["pandas", "arrow", "rows", "relation"]
"""A pandas frame, an Arrow table, a list of dicts, or a DuckDB relation to ask further."""


class LabReader:
    """Finds the runs of a lab and what they recorded. Deleted runs are nowhere.

    Wherever runs are asked for, ``runs`` names them: a handle, an id, a list of these, or
    a frame from ``lab.runs(…)``; and ``where`` chooses them: a condition in SQL over the
    table ``runs`` with ``?`` for each of ``parameters``, or values by name, such as
    ``{"strategy.name": ["FedAvg", "FedProx"], "seed": 3}``, where a name is a column of
    ``runs`` or a parameter and any of several values will do.

    Args:
        lab: The lab's directory.
    """

    def __init__(self, lab: LabDir) -> None:
        """Read nothing yet."""
        self._dir = lab

    @property
    def path(self) -> Path:
        """The lab's directory."""
        return self._dir.root

    def run(self, run_id: str) -> Run:
        """Find a run again.

        Args:
            run_id: Its id, or the beginning or end of it if only one run has that.

        Raises:
            RunNotFoundError: If there is none, or more than one.
        """
        return Run(self._dir, find_run(self._dir, run_id))

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
        """List runs, newest first: rows of the table ``runs``.

        Args:
            where: Which runs, see the class.
            parameters: Values for its ``?`` marks.
            experiment: Only those of this experiment, or of one of several.
            sweep: Only those of this sweep, or of one of several.
            tag: Only those with this tag, or with all of several.
            state: Only those in this state, or in one of several.
            archived: Whether archived runs are listed, too.
            limit: At most so many.
            as_: ``"pandas"``, ``"arrow"``, ``"rows"`` or ``"relation"``.

        Raises:
            QueryError: If the condition is wrong, or a name in it means nothing.
        """
        wanted = RunFilter(
            where=where,
            parameters=parameters,
            experiment=experiment,
            sweep=sweep,
            tag=tag,
            state=state,
            archived=archived,
        )
        self._bury_the_dead()
        return self._answer(runs_question(wanted, self._ask, limit=limit), as_)

    def metrics(  # noqa: PLR0913  # one parameter for each thing to choose by
        self,
        names: Names = None,
        *,
        runs: Selection | None = None,
        where: Where = None,
        parameters: Sequence[object] = (),
        phase: Names = None,
        scope: Names = None,
        keys: Sequence[str] = USUAL_KEYS,
        as_: Form = "pandas",
    ) -> Any:  # noqa: ANN401  # as Form says
        """Give numbers about whole federations: rows of ``metrics`` with keys joined on.

        Args:
            names: Only these metrics.
            runs: Only of these runs, archived or not, see the class.
            where: Only of such runs, see the class.
            parameters: Values for its ``?`` marks.
            phase: ``"train"``, ``"evaluate"``, or both.
            scope: ``"federated"``, ``"central"``, or both.
            keys: Columns of ``runs``, or parameters, to tell the rows apart by; a run
                without one has a missing value there.
            as_: ``"pandas"``, ``"arrow"``, ``"rows"`` or ``"relation"``.

        Raises:
            QueryError: If the condition is wrong, or a name means nothing.
            RunNotFoundError: If one of ``runs`` is not there.
        """
        facts = FactFilter(name=names, phase=phase, scope=scope)
        wanted = self._filter(runs, where, parameters)
        return self._facts("metrics", wanted, facts, keys, as_)

    def clients(  # noqa: PLR0913  # one parameter for each thing to choose by
        self,
        *,
        runs: Selection | None = None,
        where: Where = None,
        parameters: Sequence[object] = (),
        phase: Names = None,
        server_round: Numbers = None,
        partition_id: Numbers = None,
        keys: Sequence[str] = (),
        as_: Form = "pandas",
    ) -> Any:  # noqa: ANN401  # as Form says
        """Give what clients did: rows of ``clients``, one a run, round, phase and node.

        Args:
            runs: Only of these runs, archived or not, see the class.
            where: Only of such runs, see the class.
            parameters: Values for its ``?`` marks.
            phase: ``"train"``, ``"evaluate"``, ``"query"``, or several.
            server_round: Only these rounds: ``3``, ``range(1, 11)``, ``[1, 5, 9]``.
            partition_id: Only these partitions.
            keys: As for ``metrics``.
            as_: ``"pandas"``, ``"arrow"``, ``"rows"`` or ``"relation"``.

        Raises:
            QueryError: If the condition is wrong, or a name means nothing.
            RunNotFoundError: If one of ``runs`` is not there.
        """
        facts = FactFilter(
            phase=phase, server_round=server_round, partition_id=partition_id
        )
        wanted = self._filter(runs, where, parameters)
        return self._facts("clients", wanted, facts, keys, as_)

    def client_metrics(  # noqa: PLR0913  # one parameter for each thing to choose by
        self,
        names: Names = None,
        *,
        runs: Selection | None = None,
        where: Where = None,
        parameters: Sequence[object] = (),
        phase: Names = None,
        server_round: Numbers = None,
        partition_id: Numbers = None,
        keys: Sequence[str] = (),
        as_: Form = "pandas",
    ) -> Any:  # noqa: ANN401  # as Form says
        """Give the numbers that clients reported: rows of ``client_metrics``.

        Args:
            names: Only these metrics.
            runs: Only of these runs, archived or not, see the class.
            where: Only of such runs, see the class.
            parameters: Values for its ``?`` marks.
            phase: ``"train"``, ``"evaluate"``, ``"query"``, or several.
            server_round: Only these rounds: ``3``, ``range(1, 11)``, ``[1, 5, 9]``.
            partition_id: Only these partitions.
            keys: As for ``metrics``.
            as_: ``"pandas"``, ``"arrow"``, ``"rows"`` or ``"relation"``.

        Raises:
            QueryError: If the condition is wrong, or a name means nothing.
            RunNotFoundError: If one of ``runs`` is not there.
        """
        facts = FactFilter(
            name=names, phase=phase, server_round=server_round, partition_id=partition_id
        )
        wanted = self._filter(runs, where, parameters)
        return self._facts("client_metrics", wanted, facts, keys, as_)

    def sql(
        self,
        statement: str,
        parameters: Sequence[object] | Mapping[str, object] | None = None,
        *,
        as_: Form = "pandas",
    ) -> Any:  # noqa: ANN401  # as Form says
        """Ask the store in SQL; only reading is possible.

        Args:
            statement: One DuckDB query over the tables of ``docs/reference/tables.md``.
            parameters: Values for its ``?`` or ``$name`` marks.
            as_: ``"pandas"``, ``"arrow"``, ``"rows"`` or ``"relation"``.

        Raises:
            QueryError: If the query is wrong or wants more than to read the store.
        """
        self._bury_the_dead()
        if as_ == "relation":
            return relation(self._dir, statement, parameters)
        return query.sql(self._dir, statement, parameters, as_=as_)

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Give a database in memory with all tables as they are now, to work in.

        Tables that you make in it vanish when it is closed. It takes any statement: only a
        ``COPY`` to a file of the lab could do harm there.
        """
        self._bury_the_dead()
        return query.connect(self._dir)

    def table(self, name: str, *, as_: Frame = "pandas") -> Any:  # noqa: ANN401  # either
        """Give one whole table of the store.

        Raises:
            QueryError: If there is no such table; the message names the nearest.
        """
        self._bury_the_dead()
        return query.table(self._dir, name, as_=as_)

    def _chosen(
        self, runs: Selection | None, where: Where, parameters: Sequence[object]
    ) -> list[str]:
        """Give the ids of the runs that are asked for, newest first."""
        self._bury_the_dead()
        question = runs_question(self._filter(runs, where, parameters), self._ask)
        return [row["run_id"] for row in self._ask(question.text, question.values)]

    def _filter(
        self, runs: Selection | None, where: Where, parameters: Sequence[object]
    ) -> RunFilter:
        run_ids = None if runs is None else selected(self._dir, runs)
        return RunFilter(where=where, parameters=parameters, run_ids=run_ids)

    def _facts(
        self,
        table: str,
        runs: RunFilter,
        facts: FactFilter,
        keys: Sequence[str],
        as_: Form,
    ) -> Any:  # noqa: ANN401  # as Form says
        question = facts_question(table, runs, facts, self._ask, keys=keys)
        return self._answer(question, as_)

    def _ask(self, statement: str, values: Sequence[object]) -> list[dict[str, Any]]:
        return query.sql(self._dir, statement, list(values), as_="rows")

    def _answer(self, question: Question, as_: Form) -> Any:  # noqa: ANN401  # as above
        if as_ == "relation":
            return relation(self._dir, question.text, question.values)
        return query.sql(self._dir, question.text, list(question.values), as_=as_)

    def _bury_the_dead(self) -> None:
        """Let no run whose process died look alive in a table."""
        sealed = read_manifest(self._dir).closed_runs  # they ended
        for name in names_in(self._dir.runs):
            if name in sealed or name.startswith("."):
                continue
            run_dir = self._dir.run_dir(name)
            if life_sign.needs_a_look(run_dir):
                # A damaged one must not hide the others, nor a full disk all of them.
                with suppress(FlipLabError):
                    _ = Run(self._dir, run_dir.name).state  # looking at it writes its end
