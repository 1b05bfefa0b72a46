"""A lab: a directory with a store; no server is needed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flip_lab.core.errors import IllegalTransitionError, RunNotFoundError, nearest
from flip_lab.runs import life_sign
from flip_lab.runs.checkpoints import Checkpoints
from flip_lab.runs.forks import repeat_run, same_place
from flip_lab.runs.groups import group_of
from flip_lab.runs.inputs import Changes, Launchable
from flip_lab.runs.launch import launch_run, place_of
from flip_lab.runs.rerun import Rerun, Told, compare
from flip_lab.runs.run import Frame, Run
from flip_lab.store import query
from flip_lab.store.layout import open_lab

if TYPE_CHECKING:
    from flip_lab.fl.expectations import Verdict


class Lab:
    """Launches runs and finds them again; any number of kernels may share one.

    Args:
        path: The lab's directory, ``~`` understood; made if it does not exist. Default:
            ``FLIP_LAB_HOME``, else ``.flip-lab`` beside the notebook.

    Raises:
        StoreNotWritableError: If the directory cannot be made or written.
        StoreFormatError: If a newer version of FLIP Lab made it.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        """Open the lab, or make it."""
        home = path or os.environ.get("FLIP_LAB_HOME") or ".flip-lab"
        self._dir = open_lab(home)

    @property
    def path(self) -> Path:
        """The lab's directory."""
        return self._dir.root

    def launch(  # noqa: PLR0913  # one parameter for each thing a launch can settle
        self,
        what: Launchable,
        *,
        on: str = "auto",
        num_nodes: int | None = None,
        workers: int | None = None,
        seed: int | None = None,
        overrides: Mapping[str, Any] | None = None,
        client_timeout_s: float | None = None,
        checkpoints: Checkpoints | None = None,
        experiment: str | None = None,
        sweep: str | None = None,
        tags: Iterable[str] = (),
        note: str = "",
    ) -> Run:
        """Start a run in a process of its own and return at once.

        Args:
            what: A Scenario, its name or its TOML file; a Flower App directory; or an
                ``App`` with apps from notebook cells.
            on: ``"auto"`` (in this machine's run process, and in worker processes once
                they are worth their start), ``"in_process"``, ``"processes"``,
                ``"vectorised"``, ``"ray"``, or a federation named in ``flip-lab.toml``.
            num_nodes: Number of nodes; default: the input's.
            workers: Processes that train side by side; default: one a processor. The
                results do not depend on it.
            seed: The run's seed, 0 to 2**32 - 1; default: the scenario's, else 0.
            overrides: Scenario values (``{"train.num_rounds": 3}``), or keys of the
                app's run configuration.
            client_timeout_s: Longest time that one simulated client may take; one that
                takes longer is stopped and counts as failed. Default: no limit.
            checkpoints: When checkpoints are written, and which are kept; default: after
                each round, the last two.
            experiment: What the run belongs to; default: an experiment named like it.
            sweep: The sweep that it is a point of, if any.
            tags: Its first tags, see ``tag``.
            note: Its first note, see ``note``.

        Returns:
            A handle on the run; the run outlives this kernel.

        Raises:
            ScenarioError: If the scenario cannot be run as written.
            AppError: If the Flower App lacks a part.
            InvalidValueError: If a name, a tag or the note will not do.
            UnknownFederationError: If ``on`` names no engine and no federation.
            MissingExtraError: If the input needs a package that is not installed.
            StoreNotWritableError: If the run's directory cannot be written.
            EngineStartError: If the run process could not be started.
        """
        changes = Changes(num_nodes=num_nodes, seed=seed, overrides=overrides or {})
        run_id = launch_run(
            self._dir,
            what,
            place=place_of(on, workers, client_timeout_s),
            changes=changes,
            checkpoints=checkpoints or Checkpoints(),
            group=group_of(experiment, sweep, tags, note),
        )
        return Run(self._dir, run_id)

    def run(self, run_id: str) -> Run:
        """Find a run again.

        Args:
            run_id: Its id, or the beginning or end of it if only one run has that.

        Raises:
            RunNotFoundError: If there is none, or more than one.
        """
        known = self._run_ids()
        found = [name for name in known if name.startswith(run_id) or name.endswith(run_id)]
        if run_id in known:
            return Run(self._dir, run_id)
        if len(found) == 1 and run_id:
            return Run(self._dir, found[0])
        if found and run_id:
            raise RunNotFoundError(
                f"{len(found)} runs are called like {run_id!r}.",
                fix=f"Say which: {', '.join(found)}.",
            )
        raise RunNotFoundError(
            f"{self.path} keeps no run {run_id!r}.",
            fix=nearest(run_id, known[-20:]) + " lab.runs() lists all.",
        )

    def _run_ids(self) -> list[str]:
        folders = self._dir.runs.glob("[!.]*/run.json")
        return sorted(file.parent.name for file in folders)

    def runs(self) -> Any:  # noqa: ANN401  # a pandas frame
        """List all runs, newest first: the table ``runs``."""
        frame = self.table("runs")
        return frame.sort_values("created_at", ascending=False, ignore_index=True)

    def sql(
        self,
        statement: str,
        parameters: Sequence[Any] | None = None,
        *,
        as_: Frame = "pandas",
    ) -> Any:  # noqa: ANN401  # pandas or Arrow
        """Ask the store in SQL; only reading is possible.

        Args:
            statement: One DuckDB query over the tables of ``docs/reference/tables.md``.
            parameters: Values for its ``?`` marks.
            as_: ``"pandas"`` or ``"arrow"``.

        Raises:
            QueryError: If the query is wrong or wants more than to read the store.
        """
        self._bury_the_dead()
        return query.sql(self._dir, statement, parameters, as_=as_)

    def table(self, name: str, *, as_: Frame = "pandas") -> Any:  # noqa: ANN401  # either
        """Give one whole table of the store.

        Raises:
            QueryError: If there is no such table; the message names the nearest.
        """
        self._bury_the_dead()
        return query.table(self._dir, name, as_=as_)

    def _bury_the_dead(self) -> None:
        """Let no run whose process died look alive in a table."""
        for run_id in self._run_ids():
            if life_sign.needs_a_look(self._dir.run_dir(run_id)):
                with suppress(RunNotFoundError):  # a damaged one must not hide the others
                    _ = Run(self._dir, run_id).state  # looking at it writes its end

    def rerun(
        self,
        run_id: str,
        *,
        on: str | None = None,
        workers: int | None = None,
        timeout_s: float | None = None,
    ) -> Rerun:
        """Launch a run again as it was, wait, and compare every number and hash.

        Args:
            run_id: The run, or the beginning or end of its id; it must have ended.
            on: Where it is repeated; ``None``: where it ran. In simulation the numbers do
                not depend on it.
            workers: Processes that train side by side; ``None`` keeps their number.
            timeout_s: How long to wait for the second run, seconds; ``None`` waits.

        Returns:
            What differs, if anything; ``ok`` when nothing does. The second run stays in the
            lab.

        Raises:
            RunNotFoundError: If there is no such run.
            IllegalTransitionError: If the run is still under way.
            RunTimeoutError: If the second run has not ended by then.
            FlipLabError: If the second run cannot be launched.
        """
        original = self.run(run_id)
        if not (state := original.state).is_final:
            raise IllegalTransitionError(
                f"Run {original.run_id} is {state}; only an ended run can be compared.",
                fix="Wait until it has ended, or end it with run.stop().",
            )
        place = same_place(original.spec, on, workers)
        again = self.run(repeat_run(self._dir, original.spec, place))
        again.wait(timeout_s)
        return compare(
            Told(spec=original.spec, events=original.events()),
            Told(spec=again.spec, events=again.events()),
        )

    def check(self, run: Run) -> list[Verdict]:
        """Check what the run's scenario must show.

        Baselines are trained here (seconds); another scenario's numbers come from its
        latest completed run in this lab.

        Args:
            run: A completed run of a scenario.

        Raises:
            NoResultError: If the run was launched from an app.
            RunNotFoundError: If an expectation compares with a scenario not yet run here.
            FlipLabError: If the run failed: its own error.
        """
        from flip_lab.fl.expectations import check  # loads torch; finding a run must not

        return check(run.scenario, run.result().metrics, other=self._metrics_of)

    def _metrics_of(self, scenario: str) -> Mapping[str, float]:
        rows = query.sql(
            self._dir,
            "SELECT run_id FROM runs WHERE name = ? AND state = 'completed' "
            "ORDER BY created_at DESC LIMIT 1",
            [scenario],
            as_="rows",
        )
        if not rows:
            raise RunNotFoundError(
                f"No completed run of the scenario {scenario!r} to compare with.",
                fix=f'Launch it first: lab.launch("{scenario}").wait()',
            )
        return self.run(rows[0]["run_id"]).result().metrics

    def __repr__(self) -> str:
        return f"<Lab {self.path}: {len(self._run_ids())} runs>"
