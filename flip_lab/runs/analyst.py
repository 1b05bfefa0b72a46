"""What a lab's runs show together: comparisons over seeds, and reports."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flip_lab.runs.facts import FactFilter
from flip_lab.runs.finding import Selection, selected
from flip_lab.runs.reader import LabReader
from flip_lab.runs.search import RunFilter, Where, runs_question

if TYPE_CHECKING:
    import pandas as pd

    from flip_lab.analysis.comparison import Comparison
    from flip_lab.analysis.scores import At
    from flip_lab.core.goals import Goal
    from flip_lab.runs.difference import RunDiff
    from flip_lab.runs.report_page import ReportTheme
    from flip_lab.runs.run import Run
    from flip_lab.runs.twin import Twin


class LabAnalyst(LabReader):
    """Compares runs of a lab, and reports on them; see ``LabReader`` for who is meant."""

    def compare(  # noqa: PLR0913  # what to compare, and choices with a default
        self,
        runs: Selection | None = None,
        *,
        where: Where = None,
        parameters: Sequence[object] = (),
        by: str | Sequence[str] = ("strategy.name",),
        metric: str = "eval_accuracy",
        phase: str | None = None,
        scope: str | None = None,
        goal: Goal | None = None,
        seed: str = "seed",
        states: Collection[str] = ("completed",),
    ) -> Comparison:
        """Compare groups of runs over their seeds: bands, tests, leaderboard, costs.

        Args:
            runs: Only these runs, archived or not, see ``LabReader``.
            where: Only such runs, see ``LabReader``.
            parameters: Values for its ``?`` marks.
            by: What makes a group: columns of ``runs``, or parameters.
            metric: The metric to compare.
            phase: Its phase; default: the one that most runs have.
            scope: Its scope; default: likewise.
            goal: ``"max"`` or ``"min"``; default: guessed from the metric's name.
            seed: What makes the difference within a group.
            states: States that a run may have to count.

        Raises:
            AnalysisError: If no run is left, or a name means nothing.
            QueryError: If the condition is wrong.
            RunNotFoundError: If one of ``runs`` is not there.
        """
        from flip_lab.analysis.comparison import compare  # loads pandas and scipy

        wanted = self._filter(runs, where, parameters)
        self._bury_the_dead()
        chosen = self._answer(runs_question(wanted, self._ask), "pandas")
        ids = [*chosen["run_id"]]
        these = RunFilter(run_ids=ids)
        return compare(
            chosen,
            self._facts("metrics", these, FactFilter(name=metric), (), "pandas"),
            self._facts("parameters", these, FactFilter(), (), "pandas"),
            by=by,
            metric=metric,
            phase=phase,
            scope=scope,
            goal=goal,
            seed=seed,
            states=states,
            rounds=self._facts("rounds", these, FactFilter(), (), "pandas"),
        )

    def diff(self, first: Run | str, second: Run | str) -> RunDiff:
        """Say how two runs differ: in settings, edits, code and packages.

        Of runs that share rounds, because one is a fork of the other or both are of a
        third, the metrics are compared from there on.

        Args:
            first: One run, or its id.
            second: The other.

        Raises:
            RunNotFoundError: If one of them is not there.
            CorruptArtifactError: If a kept file is gone, or no longer matches its hash.
        """
        from flip_lab.runs.difference import diff_runs  # loads pandas

        return diff_runs(
            self._dir, *(selected(self._dir, each)[0] for each in (first, second))
        )

    def family(self, run: Run | str, *, metric: str | None = None) -> pd.DataFrame:
        """Describe a run's family: what it was forked from, and all forks of these.

        Args:
            run: Any run of the family, or its id.
            metric: Whose best and last value are given; default: the evaluated accuracy,
                or else what most of the runs recorded.

        Returns:
            One row a run, each parent before its forks: ``run_id``, ``name``,
            ``parent_run_id``, ``forked_at_round``, ``depth`` (0 for the first one),
            ``changed`` (the settings in which it differs from its parent), ``state``,
            ``rounds_done``, ``num_rounds``, ``metric``, ``best``, ``last``, ``num_edits``
            and ``marks`` (a list: the ``server_round``, ``kind`` and ``text`` of each
            edit, pause and break).

        Raises:
            RunNotFoundError: If there is no such run.
        """
        from flip_lab.runs.family import family_frame  # loads pandas

        self._bury_the_dead()
        return family_frame(self._dir, selected(self._dir, run)[0], metric=metric)

    def twin(self, *runs: Run | str) -> Twin:
        """Make the digital twin of a federation from what runs on it recorded.

        It learns how fast each node answers and how often it does not; then it replays a
        run in simulation with these times, or says how long rounds would take otherwise.

        Args:
            runs: Runs on one real federation, or their ids, at least one; the first is
                the one that is replayed.

        Raises:
            RunNotFoundError: If one of them is not there.
            TwinError: If they do not tell enough of their nodes: simulated, imported
                without clients, fewer than two rounds, or no client that answered.
        """
        from flip_lab.runs.twin import Twin  # loads pandas

        return Twin(self._dir, [self.run(each) for each in selected(self._dir, runs)])

    def report(  # noqa: PLR0913  # what to report on, and what to ask of it
        self,
        path: str | Path,
        runs: Selection | None = None,
        *,
        where: Where = None,
        parameters: Sequence[object] = (),
        by: str | Sequence[str] | None = None,
        metric: str | None = None,
        at: At = "final",
        target: float | None = None,
        goal: Goal | None = None,
        theme: ReportTheme = "auto",
    ) -> Path:
        """Write what runs show as one file to read, print and send.

        Of one run it is the report of that run, of several their comparison.

        Args:
            path: Ends in ``.html`` or ``.pdf``; an old file is replaced.
            runs: Only these runs, archived or not, see ``LabReader``.
            where: Only such runs, see ``LabReader``.
            parameters: Values for its ``?`` marks.
            by: What makes a group; default: the settings in which the runs differ.
            metric: The metric to compare; default: the evaluated accuracy, if there is one.
            at: ``"final"``, ``"best"``, or a round.
            target: Value whose time of arrival is compared; default: none.
            goal: ``"max"`` or ``"min"``; default: guessed from the metric's name.
            theme: ``"auto"`` (as the reader's device), ``"light"`` or ``"dark"``.

        Returns:
            The file's absolute path.

        Raises:
            RunNotFoundError: If there is no run to report on.
            AnalysisError: If the runs cannot be compared as asked.
            InvalidValueError: If the name ends otherwise, or there is no such theme.
            MissingExtraError: If a PDF is asked for and no browser is found.
            StoreNotWritableError: If the file cannot be written.
        """
        from flip_lab.runs.report import Question, write_report  # loads plotly

        question = Question(
            by=by if by is None else (by,) if isinstance(by, str) else tuple(by),
            metric=metric,
            at=at,
            target=target,
            goal=goal,
        )
        run_ids = self._chosen(runs, where, parameters)
        return write_report(self._dir, run_ids, path, question=question, theme=theme)
