"""A handle on one run: reads like a future, found again by id from any kernel."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import (
    FlipLabError,
    NoResultError,
    RunLostError,
    RunTimeoutError,
    SecondWriterError,
)
from flip_lab.core.events import EventKind, RunEvent, in_force
from flip_lab.core.state import RunLife, RunState
from flip_lab.runs import life_sign
from flip_lab.runs.checkpoint_files import CheckpointFolder
from flip_lab.runs.checkpoints import Checkpoint, Checkpoints
from flip_lab.runs.control import send_command
from flip_lab.runs.finding import selected
from flip_lab.runs.labelling import note_runs, tag_runs
from flip_lab.runs.leftovers import Home, end_leftovers
from flip_lab.runs.outcome import Outcome, RunResult, error_in, home_in, outcome_of
from flip_lab.runs.recorder import Recorder
from flip_lab.runs.spec import RunSpec
from flip_lab.store.audit_writer import append_audit
from flip_lab.store.blobs import Blobs
from flip_lab.store.events import EventTail
from flip_lab.store.journal import JournalWriter, last_sequence
from flip_lab.store.layout import LabDir
from flip_lab.store.query import table

if TYPE_CHECKING:
    import torch

    from flip_lab.core.ports import Artifact
    from flip_lab.core.scenario import Scenario
    from flip_lab.runs.artifacts import Arrays
    from flip_lab.runs.report_page import ReportTheme

Frame = Literal["pandas", "arrow"]
_POLL_S = 0.1


class Run:  # noqa: PLR0904  # a handle answers every question about a run
    """One run of a lab; any number of handles may look at it at once.

    Args:
        lab: The lab that keeps the run.
        run_id: The run's id.

    Raises:
        RunNotFoundError: If the lab keeps no such run.
    """

    def __init__(self, lab: LabDir, run_id: str) -> None:
        """Read the run's spec; events are read when asked for."""
        self._lab = lab
        self._dir = lab.run_dir(run_id)
        self._spec = RunSpec.load(self._dir)
        self._tail = EventTail(lab, run_id)
        self._life = RunLife()
        self._looking = Lock()  # a widget's thread asks while a cell waits
        self._reader: EventTail | None = None
        self._reading = Lock()
        self._error: Mapping[str, Any] = {}
        self._home: Home | None = None

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._spec.run_id

    @property
    def name(self) -> str:
        """The scenario's or the app's name."""
        return self._spec.name

    @property
    def spec(self) -> RunSpec:
        """The run as it was asked for."""
        return self._spec

    @property
    def working_dir(self) -> Path:
        """Where the app ran: relative paths that it wrote to are below."""
        return Path(self._spec.working_dir)

    @property
    def state(self) -> RunState:
        """Where the run stands now."""
        with self._looking:
            self._follow()
            if not self._life.state.is_final and not life_sign.is_alive(self._dir):
                self._follow()  # it may have ended between the two looks
                if not self._life.state.is_final:
                    self._bury()
            if self._life.state.is_final:
                life_sign.mark_ended(self._dir)
            return self._life.state

    def _follow(self) -> None:
        for event in self._tail.poll():
            if event.kind is EventKind.STATE:
                # Believed, not judged: a damaged journal may have lost a step.
                state = RunState(str(event.body["state"]))
                self._life = RunLife((*self._life.story, state))
                self._error = event.body
                if self._life.state is RunState.STARTING:
                    self._home = home_in(event.body)

    def _bury(self) -> None:
        """Write the end of a run whose process died without writing it."""
        error = RunLostError(
            f"The process of run {self.run_id} died in state {self._life.state}.",
            fix="Look at run.logs() for the last words, free memory if it was killed, "
            "and go on with run.resume_from_checkpoint(); all events so far are kept.",
        )
        try:
            writer = JournalWriter(self._lab, self.run_id, role="survivor")
        except SecondWriterError:
            return  # another kernel is writing the same
        self._follow()
        if self._life.state.is_final:  # another kernel was faster
            writer.close()
            return
        if self._home is not None:
            end_leftovers(self._home)
        first = last_sequence(self._lab, self.run_id) + 1
        recorder = Recorder(self.run_id, writer, first=first, life=self._life)
        try:
            recorder.enter(RunState.FAILED, error)
        finally:
            recorder.close()
        self._follow()

    @property
    def error(self) -> FlipLabError | None:
        """Why the run failed; ``None`` unless it did."""
        if self.state is not RunState.FAILED:
            return None
        return error_in(self._error)

    def wait(self, timeout_s: float | None = None) -> RunState:
        """Wait until the run has ended; an interrupt leaves the run going.

        Args:
            timeout_s: How long to wait, seconds; ``None`` waits as long as it takes.

        Returns:
            The final state.

        Raises:
            RunTimeoutError: If the run has not ended by then.
        """
        end_s = None if timeout_s is None else tick_s() + timeout_s
        while not (state := self.state).is_final:
            if end_s is not None and tick_s() > end_s:
                raise RunTimeoutError(
                    f"Run {self.run_id} is still {state} after {timeout_s} s.",
                    fix="Wait longer, or ask it to end with run.stop().",
                )
            time.sleep(_POLL_S)
        return state

    def stop(self) -> None:
        """Ask the run to end after the message under way; what it has is kept.

        Does nothing when the run has already ended.
        """
        if not self.state.is_final:
            send_command(self._dir, "stop")
            append_audit(self._lab, "stop", run_ids=[self.run_id])

    def tag(self, *tags: str) -> None:
        """Give the run tags, see ``Lab.tag``."""
        tag_runs(self._lab, selected(self._lab, self.run_id), tags)

    def note(self, text: str) -> None:
        """Note something about the run in place of the last note, see ``Lab.note``."""
        note_runs(self._lab, selected(self._lab, self.run_id), text)

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The rounds that the run can be taken up or forked from, oldest first."""
        folder = CheckpointFolder(self._dir)
        return [manifest.checkpoint() for manifest in folder.manifests()]

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

    def fork(
        self,
        at_round: int | None = None,
        *,
        seed: int | None = None,
        overrides: Mapping[str, Any] | None = None,
        on: str | None = None,
        workers: int | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> Run:
        """Launch a new run that goes on from one of this run's checkpoints.

        What is not changed is as it was at the checkpoint: the model, the strategy's
        state, the clients' states. A value that the overrides change stays changed.

        Args:
            at_round: The round to go on from; ``None`` takes the newest checkpoint.
            seed: Seed of the rounds that follow; ``None`` keeps this run's.
            overrides: Scenario values or the app's configuration, as at a launch: another
                learning rate, more rounds, options of the strategy.
            on: Where the fork runs; ``None``: where this run did.
            workers: Processes that train side by side; ``None`` keeps their number.
            checkpoints: The fork's checkpoints; ``None`` keeps this run's settings.

        Returns:
            A handle on the new run.

        Raises:
            NoCheckpointError: If there is no good checkpoint of that round; the message
                names the rounds that there are.
            InvalidValueError: If a change would not fit the checkpoint.
            FlipLabError: As ``Lab.launch``.
        """
        from flip_lab.runs.forks import fork_run, same_place
        from flip_lab.runs.inputs import Changes

        changes = Changes(num_nodes=None, seed=seed, overrides=overrides or {})
        run_id = fork_run(
            self._lab,
            self._spec,
            at_round=at_round,
            place=same_place(self._spec, on, workers),
            changes=changes,
            checkpoints=checkpoints,
        )
        return Run(self._lab, run_id)

    def events(self, *, after: int = -1) -> list[RunEvent]:
        """Give the events whose sequence is above ``after``, in order, without a gap.

        Asked for what follows its last answer, it reads only what is new.
        """
        with self._reading:
            reader, self._reader = self._reader, None  # one that fails is not asked again
            if reader is None or reader.reached != after:
                reader = EventTail(self._lab, self.run_id, after=after)
            found = reader.poll()
            self._reader = reader
            return found

    def logs(self, *, tail: int | None = None) -> str:
        """Give what the run's processes printed.

        Args:
            tail: Only that many last lines, 0 or more; ``None`` gives all.
        """
        file = self._dir / "output.log"
        text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
        return text if tail is None else "\n".join(deque(text.splitlines(), maxlen=tail))

    def metrics(self, *, as_: Frame = "pandas") -> Any:  # noqa: ANN401  # pandas or Arrow
        """Give the table ``metrics`` of this run: one row a round and aggregated metric."""
        return table(self._lab, "metrics", run_ids=[self.run_id], as_=as_)

    def clients(self, *, as_: Frame = "pandas") -> Any:  # noqa: ANN401  # pandas or Arrow
        """Give the table ``clients`` of this run: one row a round, phase and node."""
        return table(self._lab, "clients", run_ids=[self.run_id], as_=as_)

    def client_metrics(self, *, as_: Frame = "pandas") -> Any:  # noqa: ANN401  # either
        """Give the table ``client_metrics``: one row a round, node and reported number."""
        return table(self._lab, "client_metrics", run_ids=[self.run_id], as_=as_)

    def artifacts(self, *, as_: Frame = "pandas") -> Any:  # noqa: ANN401  # either
        """Give the table ``artifacts`` of this run: one row for each file that it keeps."""
        from flip_lab.runs.artifacts import list_artifacts

        return list_artifacts(self._lab, self.run_id, as_=as_)

    def artifact(self, name: str) -> bytes:
        """Give the content of a kept file.

        Args:
            name: What the run calls it; of several of one name, the newest.

        Raises:
            NoResultError: If the run keeps no file of this name; the names are listed.
            CorruptArtifactError: If it is gone, or no longer matches its hash.
        """
        from flip_lab.runs.artifacts import artifact_bytes

        return artifact_bytes(self._lab, self.run_id, name)

    def artifact_path(self, name: str) -> Path:
        """Say where a kept file lies; nobody may write to it. Errors as ``artifact``."""
        from flip_lab.runs.artifacts import artifact_path

        return artifact_path(self._lab, self.run_id, name)

    def arrays(self, name: str = "model") -> Arrays:
        """Give the arrays of a kept file by name; ``model`` is the final model.

        Raises:
            NoResultError: If the run keeps no file of this name, or it holds no arrays.
            CorruptArtifactError: If it is gone, or no longer matches its hash.
        """
        from flip_lab.runs.artifacts import artifact_arrays

        return artifact_arrays(self._lab, self.run_id, name)

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

    @cached_property
    def scenario(self) -> Scenario:
        """The scenario as it was run, overrides included.

        Raises:
            NoResultError: If the run was launched from an app, not a scenario.
        """
        from flip_lab.fl.scenarios import scenario_from_dict

        if self._spec.scenario is None:
            raise NoResultError(
                f"Run {self.run_id} was launched from the app {self.name!r}.",
                fix="Only runs of a scenario have one; see run.spec.run_config.",
            )
        return scenario_from_dict(self._spec.scenario)

    def model(self) -> torch.nn.Module:
        """Wait for the end and give the scenario's model with the final weights.

        Raises:
            NoResultError: If the run was no scenario, or kept no model.
            FlipLabError: If the run failed: its own error.
        """
        import torch

        from flip_lab.fl.data.catalog import load_dataset
        from flip_lab.fl.models import build_model

        scenario, arrays = self.scenario, self.result().arrays
        if not arrays:
            raise NoResultError(
                f"Run {self.run_id} ended before a model was aggregated.",
                fix="Let it finish at least one round.",
            )
        model = build_model(scenario, load_dataset(scenario.data.dataset))
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
