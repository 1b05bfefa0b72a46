"""A lab: a directory with a store; no server is needed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flip_lab.core.errors import IllegalTransitionError, RunNotFoundError
from flip_lab.runs.away import launch_away
from flip_lab.runs.checkpoints import Checkpoints
from flip_lab.runs.edits import edits_at_launch
from flip_lab.runs.finding import Selection, selected, visible_run_ids
from flip_lab.runs.forks import repeat_run, same_place
from flip_lab.runs.groups import group_of
from flip_lab.runs.inputs import Changes, Launchable
from flip_lab.runs.lab_away import LabAway
from flip_lab.runs.launch import launch_prepared, prepared_run
from flip_lab.runs.places import place_of, with_cohorts
from flip_lab.runs.registry import Models
from flip_lab.runs.rerun import Rerun, Told, compare
from flip_lab.runs.run import Run
from flip_lab.runs.search import Where
from flip_lab.store import query
from flip_lab.store.layout import open_lab

if TYPE_CHECKING:
    from flip_lab.core.callback import Callback
    from flip_lab.core.policy import RoundPolicy
    from flip_lab.core.stopping import StopRule
    from flip_lab.fl.expectations import Verdict
    from flip_lab.runs.edits import Break


class Lab(LabAway):
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
        super().__init__(open_lab(home))

    @property
    def models(self) -> Models:
        """The model registry: named models, their versions, which is in production."""
        return Models(self._dir)

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
        callbacks: Sequence[Callback] = (),
        record_updates: bool = False,
        stop_when: str | StopRule | None = None,
        break_when: Break | Iterable[Break] | None = None,
        nodes: str | None = None,
        policy: RoundPolicy | None = None,
        detach: str | None = None,
        debug: bool = False,
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
            callbacks: Objects whose methods are called at the run's rounds and replies;
                they travel by value, and a rerun or fork has them, too.
            record_updates: Also record how far each client moved the model in training,
                as its metric ``update_norm``; costs about 1 % of a round of small models.
            stop_when: Ends the run after a round, see ``Run.stop_when``: a condition such
                as ``"eval_accuracy >= 0.95"``, or a ``StopRule``.
            break_when: Pauses it before a round's replies are aggregated, see
                ``Run.break_when``: a condition, a function, or several of them.
            nodes: Which nodes take part: by the names and tags that a hub knows
                (``"eu and not slow"``, ``"name:north-*"``), or by partition
                (``"0-3, 7"``); default: all.
            policy: When rounds close: a deadline, a quorum, more nodes than are needed;
                default: when every reply is in.
            detach: ``"hub"`` lets the run's process live with the federation's hub, so
                that this machine may leave; ``wait`` brings the run home, see
                ``detached``. For scenarios and Flower App directories.
            debug: Run in this very thread and return at the end, so that breakpoints work
                in ClientApp and strategy code. What the first of them raises is on
                record, and raised here. Without ``client_timeout_s``.

        Returns:
            A handle on the run; the run outlives this kernel.

        Raises:
            ScenarioError: If the scenario cannot be run as written.
            AppError: If the Flower App lacks a part.
            ConditionError: If a condition to stop or to break on cannot be understood.
            InvalidValueError: If a name, a tag or the note will not do.
            UnknownFederationError: If ``on`` names no engine and no federation.
            CohortError: If the choice of nodes cannot be understood.
            MissingExtraError: If the input needs a package that is not installed.
            StoreNotWritableError: If the run's directory cannot be written.
            EngineStartError: If the run process could not be started.
        """
        if detach is not None:
            given = {"callbacks": callbacks, "debug=True": debug}
            return launch_away(
                self._dir,
                what,
                detach,
                on,
                refused=[name for name, value in given.items() if value],
                checkpoints=checkpoints,
                asked={
                    "num_nodes": num_nodes,
                    "workers": workers,
                    "seed": seed,
                    "overrides": overrides,
                    "client_timeout_s": client_timeout_s,
                    "experiment": experiment,
                    "sweep": sweep,
                    "tags": tags,
                    "note": note,
                    "record_updates": record_updates,
                    "stop_when": stop_when,
                    "break_when": break_when,
                    "nodes": nodes,
                    "policy": policy,
                },
            )
        changes = Changes(num_nodes=num_nodes, seed=seed, overrides=overrides or {})
        ready = partial(
            prepared_run,
            what,
            changes=changes,
            checkpoints=checkpoints or Checkpoints(),
            group=group_of(experiment, sweep, tags, note),
            callbacks=callbacks,
            record_updates=record_updates,
            edits=edits_at_launch(stop_when, break_when),
        )
        if not debug:
            place = place_of(on, workers, client_timeout_s, beside=self._dir.root)
            prepared = ready(place=with_cohorts(place, nodes, policy))
            return Run(self._dir, launch_prepared(self._dir, prepared))
        from flip_lab.runs.debugging import debug_place, debug_run  # loads torch

        place = with_cohorts(debug_place(on), nodes, policy)
        return Run(self._dir, debug_run(self._dir, ready(place=place)))

    def fork(self, run: Run | str, at_round: int | None = None, **changes: Any) -> Run:  # noqa: ANN401  # as Run.fork
        """Launch a new run that goes on from a checkpoint of another one.

        Args:
            run: The parent, or its id.
            at_round: The round to go on from; ``None`` takes the newest checkpoint.
            **changes: What is changed, and where it runs, see ``Run.fork``.

        Returns:
            A handle on the new run.

        Raises:
            RunNotFoundError: If there is no such run.
            FlipLabError: As ``Run.fork``.
        """
        return self.run(selected(self._dir, run)[0]).fork(at_round, **changes)

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

    def export(
        self,
        path: str | Path,
        runs: Selection | None = None,
        *,
        where: Where = None,
        parameters: Sequence[object] = (),
        format: str = "parquet",  # noqa: A002  # the word that users look for
    ) -> Path:
        """Write ended runs in a format that others read.

        Args:
            path: Where the export goes; it appears there whole or not at all.
            runs: Only these runs, archived or not; default: all but archived ones.
            where: Only such runs, see ``runs``.
            parameters: Values for its ``?`` marks.
            format: ``"parquet"``, ``"ro-crate"``, ``"mlflow"``, ``"tensorboard"``,
                ``"wandb"``, or ``"flip"`` (another lab, which may be there already).

        Returns:
            The absolute path.

        Raises:
            ForeignFormatError: If there is no such format.
            IllegalTransitionError: If one of the runs is still under way.
            ExportExistsError: If there is something at the path already.
            MissingExtraError: If the format needs a package that is not installed.
            StoreNotWritableError: If the path cannot be written.
        """
        from flip_lab.runs.exports import export_runs

        run_ids = self._chosen(runs, where, parameters)
        return export_runs(self._dir, run_ids, path, format=format)

    def import_(
        self,
        path: str | Path,
        *,
        format: str | None = None,  # noqa: A002  # the word that users look for
    ) -> list[Run]:
        """Bring runs into this lab: all of them, or none when one will not do.

        Args:
            path: What ``export`` or another tool wrote, or another lab.
            format: As for ``export``; ``None`` looks what it is.

        Returns:
            The runs, those that were here already included.

        Raises:
            ForeignFormatError: If the path holds nothing that can be imported.
            DamagedSourceError: If it is damaged or cut short.
            RunExistsError: If this lab keeps another run of one of the ids.
            MissingExtraError: If the format needs a package that is not installed.
            StoreNotWritableError: If this lab cannot be written.
        """
        from flip_lab.runs.imports import import_runs

        found = import_runs(self._dir, path, format=format)
        return [Run(self._dir, run_id) for run_id in found]

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
        return f"<Lab {self.path}: {len(visible_run_ids(self._dir))} runs>"
