"""A handle on one run of a remote lab, with the verbs of ``Run``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from flip_lab.client.answers import WholeRun
from flip_lab.client.files import write_whole
from flip_lab.client.home import lab_here
from flip_lab.client.run_steering import RunSteering
from flip_lab.client.wire import Wire
from flip_lab.core.errors import (
    InvalidValueError,
    LabUnreachableError,
    RunNotFoundError,
    StaleError,
)
from flip_lab.core.events import in_force
from flip_lab.core.outcome import Outcome, RunResult, outcome_of

if TYPE_CHECKING:
    from flip_lab.client.files import Arrays
    from flip_lab.runs.lab import Lab
    from flip_lab.runs.run import Run

_ATTEMPTS = 20


class RemoteRun(RunSteering):
    """One run of a remote lab; any number of handles may look at it at once.

    ``flip_lab.watch(run)`` shows and steers it in a notebook, as it does a local one.

    Args:
        wire: Whom to ask.
        spec: The run, as it was told last.
    """

    def tag(self, *tags: str) -> None:
        """Give the run tags; it keeps those it has.

        Raises:
            InvalidValueError: If a tag will not do.
        """
        self._label(lambda run: {"tags": sorted({*run.tags, *tags})})

    def untag(self, *tags: str) -> None:
        """Take tags off the run."""
        self._label(lambda run: {"tags": [tag for tag in run.tags if tag not in tags]})

    def note(self, text: str) -> None:
        """Note something about the run in place of the last note; "" takes that away."""
        self._change({"note": text})

    def archive(self) -> None:
        """Put the run away from the usual lists."""
        self._change({"is_archived": True})

    def unarchive(self) -> None:
        """Take the run back into the usual lists."""
        self._change({"is_archived": False})

    def delete(self) -> None:
        """Put the run into the trash of its lab, where ``lab.undelete`` finds it.

        Raises:
            IllegalTransitionError: If it is under way.
        """
        self._wire.ask("DELETE", self._place)

    def _label(self, change: Callable[[WholeRun], Mapping[str, object]]) -> None:
        """Change what depends on what is there; again, if that changes meanwhile."""
        for attempt in range(_ATTEMPTS):
            seen, tag = self._wire.get_tagged(self._place, WholeRun)
            try:
                self._change(change(seen), headers={"If-Match": tag})
            except StaleError:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    def _change(
        self, what: Mapping[str, object], *, headers: Mapping[str, str] | None = None
    ) -> None:
        self._spec = self._wire.send(
            "PATCH", self._place, WholeRun, what, headers=headers, is_safe=not headers
        )

    # --- going on ------------------------------------------------------------------

    def resume_from_checkpoint(
        self, *, on: str | None = None, workers: int | None = None
    ) -> RemoteRun:
        """Go on with a run that failed or was stopped, from its newest checkpoint.

        Args:
            on: Where it goes on, see ``Lab.launch``; ``None`` keeps the engine.
            workers: Processes that train side by side; ``None`` keeps their number.

        Returns:
            This handle; the run is under way again.

        Raises:
            IllegalTransitionError: If the run has completed, or is still under way.
            NoCheckpointError: If rounds were done, but no good checkpoint is left.
            FlipLabError: What else the lab has against it.
        """
        asked = {"on": on, "workers": workers}
        self._spec = self._wire.send("POST", f"{self._place}/resume", WholeRun, asked)
        return self

    @property
    def parent(self) -> RemoteRun | None:
        """The run that it was forked from; ``None`` for others, or when that is gone."""
        if self._spec.parent_run_id is None:
            return None
        try:
            return run_of(self._wire, self._spec.parent_run_id)
        except RunNotFoundError:
            return None

    @property
    def forks(self) -> list[RemoteRun]:
        """The runs that were forked from it, oldest first."""
        return [run_of(self._wire, run_id) for run_id in self.refresh().forks]

    def fork(  # noqa: PLR0913  # one parameter for each thing a fork can settle
        self,
        at_round: int | None = None,
        *,
        seed: int | None = None,
        num_nodes: int | None = None,
        overrides: Mapping[str, Any] | None = None,
        on: str | None = None,
        workers: int | None = None,
        checkpoint_every: int | None = None,
        experiment: str | None = None,
        sweep: str | None = None,
        tags: Iterable[str] = (),
        note: str = "",
        key: str | None = None,
        **changes: Any,  # noqa: ANN401  # any setting
    ) -> RemoteRun:
        """Launch a new run that goes on from one of this run's checkpoints.

        Args:
            at_round: The round to go on from; ``None`` takes the newest checkpoint.
            seed: Seed of the rounds that follow; ``None`` keeps this run's.
            num_nodes: Number of nodes from now on; ``None`` keeps this run's.
            overrides: Changes by key, as at a launch; for keys with dots or dashes.
            on: Where the fork runs; ``None``: where this run did.
            workers: Processes that train side by side; ``None`` keeps their number.
            checkpoint_every: Rounds from one checkpoint to the next; ``None`` keeps it.
            experiment: What it belongs to; ``None``: this run's experiment.
            sweep: The sweep that it is a point of, if any.
            tags: Its first tags.
            note: Its first note.
            key: As for ``RemoteLab.launch``.
            **changes: Values by a short name, see ``Run.fork``.

        Returns:
            A handle on the new run.

        Raises:
            NoCheckpointError: If there is no good checkpoint of that round.
            FlipLabError: What else the lab has against it; see ``Run.fork``.
        """
        asked = {
            "at_round": at_round,
            "seed": seed,
            "num_nodes": num_nodes,
            "overrides": dict(overrides or {}),
            "on": on,
            "workers": workers,
            "checkpoint_every": checkpoint_every,
            "experiment": experiment,
            "sweep": sweep,
            "tags": list(tags),
            "note": note,
            "changes": changes,
        }
        return launched(self._wire, f"{self._place}/fork", asked, key)

    # --- what it left --------------------------------------------------------------

    def outcome(self, timeout_s: float | None = None) -> Outcome:
        """Wait for the end and say how it ended, whatever the end is.

        Raises:
            RunTimeoutError: If the run has not ended by then.
        """
        state = self.wait(timeout_s)
        return outcome_of(self.run_id, state, in_force(self.events()))

    def result(self, timeout_s: float | None = None) -> RunResult:
        """Wait for the end and give what the run left.

        Raises:
            RunTimeoutError: If the run has not ended by then.
            FlipLabError: If the run failed: its own error, of the class with its code.
            CorruptArtifactError: If the model that came does not match its hash.
            MissingExtraError: If safetensors or pandas is not installed.
        """
        outcome = self.outcome(timeout_s)
        if (error := self.error) is not None:
            raise error
        arrays: Arrays = self.arrays() if outcome.model_sha256 else {}
        return RunResult(**vars(outcome), arrays=dict(arrays), history=self.metrics())

    def fetch(self, into: Lab | str | Path | None = None) -> Run:
        """Bring the run into a lab here: events, checkpoints, model, files, app.

        It keeps its id. What was fetched already is not sent again, and whoever is
        interrupted goes on by fetching again. A checkpoint holds Python objects of its
        strategy: fork from it only if you trust that lab as much as your own.

        Args:
            into: The lab, or its directory; default: as for ``Lab``.

        Returns:
            A handle on the run here.

        Raises:
            IllegalTransitionError: If the run is under way.
            RunExistsError: If the lab here keeps another run of this id.
            CorruptArtifactError: If a file does not arrive as it is there.
            LabUnreachableError: If the other lab is away for too long.
            StoreError: If the lab here cannot be written.
            MissingExtraError: If the packages of a lab are not installed here.
        """
        lab = lab_here(into)
        from flip_lab.client.fetching import fetch_run  # its packages are here, then
        from flip_lab.store.layout import LabDir

        return lab.run(fetch_run(self._wire, self._place, LabDir(lab.path)))

    def report(self, path: str | Path, *, theme: str = "auto") -> Path:
        """Write what is known of the run to a file to read, print and send.

        Args:
            path: Ends in ``.html``; one file that needs no network.
            theme: ``"auto"`` (as the reader's device), ``"light"`` or ``"dark"``.

        Returns:
            The file's absolute path.

        Raises:
            InvalidValueError: If the name ends otherwise, or there is no such theme.
            StoreNotWritableError: If the file cannot be written.
        """
        target = Path(path).expanduser().absolute()
        if target.suffix != ".html":
            raise InvalidValueError(
                f"A report of a remote run cannot be written to {target.name!r}.",
                fix="Give a name that ends in .html, and print it from a browser.",
            )
        response = self._wire.ask("GET", f"{self._place}/report", theme=theme)
        return write_whole(target, response.content)

    def __repr__(self) -> str:
        try:
            now = str(self.state)
        except LabUnreachableError:  # to show a handle must not fail
            now = f"{self._spec.state} when the lab was last heard of"
        return f"<RemoteRun {self.run_id} {self.name!r}: {now}>"


def run_of(wire: Wire, run_id: str) -> RemoteRun:
    """Find a run of a lab.

    Args:
        wire: Whom to ask.
        run_id: Its id, or the beginning or end of it if only one run has that.

    Raises:
        RunNotFoundError: If there is none, or more than one.
    """
    return RemoteRun(wire, wire.get(f"/runs/{quote(run_id, safe='')}", WholeRun))


def launched(
    wire: Wire, place: str, asked: Mapping[str, object], key: str | None
) -> RemoteRun:
    """Launch a run, once: also where the request has to be sent again.

    Args:
        wire: Whom to ask.
        place: Where launches go: the path after ``/v1``.
        asked: What to launch.
        key: Names the launch; ``None`` makes one up.
    """
    headers = {"Idempotency-Key": key or str(uuid4())}
    spec = wire.send("POST", place, WholeRun, asked, headers=headers, is_safe=True)
    return RemoteRun(wire, spec)
