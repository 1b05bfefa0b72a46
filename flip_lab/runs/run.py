"""A handle on one run: reads like a future, found again by id from any kernel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flip_lab.core.errors import NoResultError
from flip_lab.core.events import in_force
from flip_lab.core.outcome import Outcome, RunResult, outcome_of
from flip_lab.runs.checkpoints import Checkpoints
from flip_lab.runs.finding import selected, visible_run_ids
from flip_lab.runs.groups import group_of
from flip_lab.runs.labelling import note_runs, tag_runs
from flip_lab.runs.steered_run import SteeredRun
from flip_lab.store.blobs import Blobs

if TYPE_CHECKING:
    import torch

    from flip_lab.core.ports import Artifact
    from flip_lab.runs.artifacts import Arrays
    from flip_lab.runs.report_page import ReportTheme


class Run(SteeredRun):
    """One run of a lab; any number of handles may look at it at once.

    Args:
        lab: The lab that keeps the run.
        run_id: The run's id.

    Raises:
        RunNotFoundError: If the lab keeps no such run.
    """

    def tag(self, *tags: str) -> None:
        """Give the run tags, see ``Lab.tag``."""
        tag_runs(self._lab, selected(self._lab, self.run_id), tags)

    def note(self, text: str) -> None:
        """Note something about the run in place of the last note, see ``Lab.note``."""
        note_runs(self._lab, selected(self._lab, self.run_id), text)

    def resume_from_checkpoint(
        self, *, on: str | None = None, workers: int | None = None
    ) -> Run:
        """Go on with a run that failed or was stopped, from its newest checkpoint.

        It stays the same run: its id, its events, its results, as if it had never been
        interrupted. What was recorded of rounds that are done again is superseded. A run
        that ended before its first round was done begins anew.

        Args:
            on: Where it goes on, see ``Lab.launch``; ``None`` keeps the engine. The
                results do not depend on it.
            workers: Processes that train side by side; ``None`` keeps their number.

        Returns:
            This handle; the run is under way again.

        Raises:
            IllegalTransitionError: If the run has completed, or is still under way.
            NoCheckpointError: If rounds were done, but no good checkpoint is left.
            UnknownFederationError: If ``on`` names no engine and no federation.
            EngineStartError: If the run process could not be started.
        """
        from flip_lab.runs.forks import same_place
        from flip_lab.runs.resume import resume_run

        _ = self.state  # looking at it writes the end of a run that was killed
        self._spec = resume_run(self._lab, self._spec, same_place(self._spec, on, workers))
        return self

    @property
    def parent(self) -> Run | None:
        """The run that it was forked from; ``None`` for others, or when that is gone."""
        parent = self._spec.parent_run_id
        known = parent is not None and parent in visible_run_ids(self._lab)
        return Run(self._lab, parent) if parent is not None and known else None

    @property
    def forks(self) -> list[Run]:
        """The runs that were forked from it, oldest first."""
        from flip_lab.runs.family import read_links

        return [
            Run(self._lab, run_id)
            for run_id, link in read_links(self._lab).items()
            if link is not None and link[0] == self.run_id
        ]

    def fork(  # noqa: PLR0913  # one parameter for each thing a fork can settle
        self,
        at_round: int | None = None,
        *,
        seed: int | None = None,
        num_nodes: int | None = None,
        overrides: Mapping[str, Any] | None = None,
        on: str | None = None,
        workers: int | None = None,
        checkpoints: Checkpoints | None = None,
        experiment: str | None = None,
        sweep: str | None = None,
        tags: Iterable[str] = (),
        note: str = "",
        **changes: Any,  # noqa: ANN401  # any setting
    ) -> Run:
        """Launch a new run that goes on from one of this run's checkpoints.

        What is not changed is as it was at the checkpoint: the model, the strategy's
        state, the clients' states, what users had set by then. What the fork changes
        stays changed. Another strategy starts fresh; options of the old one that it has,
        too, stay, and the others are dropped.

        Args:
            at_round: The round to go on from; ``None`` takes the newest checkpoint.
            seed: Seed of the rounds that follow; ``None`` keeps this run's.
            num_nodes: Number of nodes from now on, where clients keep no state; ``None``
                keeps this run's.
            overrides: Changes by key, as at a launch; for keys with dots or dashes.
            on: Where the fork runs; ``None``: where this run did.
            workers: Processes that train side by side; ``None`` keeps their number.
            checkpoints: The fork's checkpoints; ``None`` keeps this run's settings.
            experiment: What it belongs to; ``None``: this run's experiment.
            sweep: The sweep that it is a point of, if any.
            tags: Its first tags.
            note: Its first note.
            **changes: Values by a short name: ``learning_rate=0.01``, ``num_rounds=40``,
                ``strategy="FedProx"``, an option of the strategy (``proximal_mu=0.1``); of
                an app, keys of its run configuration, with ``_`` for ``-``.

        Returns:
            A handle on the new run.

        Raises:
            NoCheckpointError: If there is no good checkpoint of that round; the message
                names the rounds that there are.
            UnknownKeyError: If a name means nothing; the message names the nearest.
            InvalidValueError: If a change would not fit the checkpoint.
            FlipLabError: As ``Lab.launch``.
        """
        from flip_lab.runs.fork_changes import read_changes
        from flip_lab.runs.forks import Fork, fork_run, same_place

        wanted = read_changes(
            self._spec, changes, overrides=overrides, seed=seed, num_nodes=num_nodes
        )
        fork = Fork(
            at_round=at_round,
            place=same_place(self._spec, on, workers),
            changes=wanted,
            checkpoints=checkpoints,
            group=group_of(experiment, sweep, tags, note),
        )
        run_id = fork_run(self._lab, self._spec, fork)
        return Run(self._lab, run_id)

    def add_artifact(
        self, name: str, what: bytes | Path | Arrays, *, media_type: str | None = None
    ) -> Artifact:
        """Keep a file with the run, once it has ended: a figure, a table, another model.

        Args:
            name: What to call it; an earlier one of this name is not given any more.
            what: Its bytes; a file, which is copied without being read into memory; or
                arrays by name, which are kept as safetensors.
            media_type: What kind of file it is, such as ``"image/png"``.

        Returns:
            Hash and length of what was kept.

        Raises:
            InvalidValueError: If the name will not do.
            StoreBusyError: If the run is under way.
            StoreError: If the file cannot be read, or the lab cannot be written.
        """
        from flip_lab.runs.artifacts import add_artifact

        _ = self.state  # looking at it writes the end of a run that was killed
        return add_artifact(self._lab, self.run_id, name, what, media_type=media_type)

    def outcome(self, timeout_s: float | None = None) -> Outcome:
        """Wait for the end and say how it ended, whatever the end is.

        Raises:
            RunTimeoutError: If the run has not ended by then.
        """
        state = self.wait(timeout_s)
        events = in_force(self.events())
        return outcome_of(self.run_id, state, events)

    def result(self, timeout_s: float | None = None) -> RunResult:
        """Wait for the end and give what the run left.

        Raises:
            RunTimeoutError: If the run has not ended by then.
            FlipLabError: If the run failed: its own error, of the class with its code.
            CorruptArtifactError: If the kept model is gone, or no longer matches its hash.
        """
        import safetensors.numpy

        outcome = self.outcome(timeout_s)
        if (error := self.error) is not None:
            raise error
        sha256 = outcome.model_sha256
        arrays = safetensors.numpy.load(Blobs(self._lab).get(sha256)) if sha256 else {}
        return RunResult(**vars(outcome), arrays=arrays, history=self.metrics())

    def model(self) -> torch.nn.Module:
        """Wait for the end and give the scenario's model with the final weights.

        Raises:
            NoResultError: If the run was no scenario, or kept no model.
            FlipLabError: If the run failed: its own error.
        """
        import torch

        from flip_lab.fl.data.catalog import scenario_dataset
        from flip_lab.fl.models import build_model

        scenario, arrays = self.scenario, self.result().arrays
        if not arrays:
            raise NoResultError(
                f"Run {self.run_id} ended before a model was aggregated.",
                fix="Let it finish at least one round.",
            )
        model = build_model(scenario, scenario_dataset(scenario.data))
        model.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
        return model

    def report(self, path: str | Path, *, theme: ReportTheme = "auto") -> Path:
        """Write what is known of the run to a file to read, print and send.

        Args:
            path: Ends in ``.html`` (one file that needs no network) or ``.pdf`` (printed
                by a Chrome or Chromium of this machine).
            theme: ``"auto"`` (as the reader's device), ``"light"`` or ``"dark"``; paper is
                always light.

        Returns:
            The file's absolute path.

        Raises:
            InvalidValueError: If the name ends otherwise, or there is no such theme.
            MissingExtraError: If a PDF is asked for and no browser is found.
            ViewError: If the browser fails.
            StoreNotWritableError: If the file cannot be written.
        """
        from flip_lab.runs.report import write_report  # loads plotly

        _ = self.state  # looking at it writes the end of a run that was killed
        return write_report(self._lab, [self.run_id], path, theme=theme)

    def __repr__(self) -> str:
        return f"<Run {self.run_id} {self.name!r}: {self.state}>"
