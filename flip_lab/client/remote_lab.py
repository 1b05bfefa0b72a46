"""A lab on another machine: finds its runs, launches new ones, asks what they show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from flip_lab.client.home import lab_here
from flip_lab.client.lab_labels import LabLabels
from flip_lab.client.launching import conditions_of, rule_of, source_of
from flip_lab.client.registry import RemoteModels
from flip_lab.client.remote_run import RemoteRun, launched
from flip_lab.client.uploads import send_path

if TYPE_CHECKING:
    from types import TracebackType

    from flip_lab.core.policy import RoundPolicy
    from flip_lab.core.scenario import Scenario
    from flip_lab.core.stopping import StopRule
    from flip_lab.runs.lab import Lab
    from flip_lab.runs.twin import Twin


class RemoteLab(LabLabels):
    """A lab elsewhere, with the verbs of ``Lab``; any number of threads may share it.

    It can be used in a ``with`` statement, which closes its connections.

    Args:
        wire: Whom to ask.
    """

    def launch(  # noqa: PLR0913  # one parameter for each thing a launch can settle
        self,
        what: Scenario | str | Path,
        *,
        on: str = "auto",
        num_nodes: int | None = None,
        workers: int | None = None,
        seed: int | None = None,
        overrides: Mapping[str, Any] | None = None,
        client_timeout_s: float | None = None,
        checkpoint_every: int = 1,
        experiment: str | None = None,
        sweep: str | None = None,
        tags: Iterable[str] = (),
        note: str = "",
        record_updates: bool = False,
        stop_when: str | StopRule | None = None,
        break_when: str | Iterable[str] | None = None,
        nodes: str | None = None,
        policy: RoundPolicy | None = None,
        detach: str | None = None,
        key: str | None = None,
    ) -> RemoteRun:
        """Start a run over there and return at once; see ``Lab.launch``.

        A launch whose answer got lost is asked for again, and starts no second run.

        Args:
            what: The name of a scenario over there; a Scenario, or its TOML file here; or
                a Flower App directory here, which is uploaded.
            on: ``"auto"``, an engine, or a federation; ``federations()`` lists them.
            num_nodes: Number of nodes; default: the input's.
            workers: Processes that train side by side; default: one a processor there.
            seed: The run's seed, 0 to 2**32 - 1; default: the scenario's, else 0.
            overrides: Scenario values (``{"train.num_rounds": 3}``), or keys of the app's
                run configuration.
            client_timeout_s: Longest time that one simulated client may take.
            checkpoint_every: Rounds from one checkpoint to the next; 0 writes none.
            experiment: What the run belongs to; default: an experiment named like it.
            sweep: The sweep that it is a point of, if any.
            tags: Its first tags.
            note: Its first note.
            record_updates: Also record how far each client moved the model.
            stop_when: Ends the run after a round: a condition, or a ``StopRule``.
            break_when: Pauses it before a round is aggregated: one condition in words, or
                several.
            nodes: Which nodes take part, see ``Lab.launch``.
            policy: When rounds close, see ``Lab.launch``.
            detach: ``"hub"`` if the run's process must live with the hub: it does with
                ``on="hub"`` in a hub's own lab, and is refused elsewhere. This machine may
                leave in any case.
            key: Names the launch for a week: again with the same key and the same input,
                also from another process, it gives the same run. Default: one of its own.

        Returns:
            A handle on the run.

        Raises:
            ScenarioError: If the scenario cannot be run as written.
            AppError: If the Flower App lacks a part.
            ConditionError: If a condition cannot be understood.
            CohortError: If the choice of nodes cannot be understood.
            InvalidValueError: If ``detach`` is no place, or the run would not live there.
            IdempotencyError: If the key was used for something else.
            FlipLabError: What else the lab has against it; see ``Lab.launch``.
        """
        asked = {
            **source_of(what, upload=self.upload),
            "on": on,
            "num_nodes": num_nodes,
            "workers": workers,
            "seed": seed,
            "overrides": dict(overrides or {}),
            "client_timeout_s": client_timeout_s,
            "checkpoint_every": checkpoint_every,
            "experiment": experiment,
            "sweep": sweep,
            "tags": list(tags),
            "note": note,
            "record_updates": record_updates,
            "stop_when": rule_of(stop_when),
            "break_when": conditions_of(break_when),
            "nodes": nodes,
            "policy": None if policy is None else policy.to_json(),
            "detach": detach,
        }
        return launched(self._wire, "/runs", asked, key)

    @property
    def models(self) -> RemoteModels:
        """The model registry: named models, their versions, which is in production."""
        return RemoteModels(self._wire)

    def twin(self, *runs: RemoteRun | str, into: Lab | str | Path | None = None) -> Twin:
        """Make the digital twin of a federation from runs of this lab, see ``Lab.twin``.

        Args:
            runs: Ended runs on one real federation, or their ids, at least one; they are
                fetched, see ``RemoteRun.fetch``.
            into: The lab here that keeps them, and what the twin replays, or its
                directory; default: as for ``Lab``.

        Raises:
            RunNotFoundError: If one of them is not there.
            TwinError: If they do not tell enough of their nodes.
            FlipLabError: As ``RemoteRun.fetch``.
        """
        home = lab_here(into)
        asked = [self.run(run) if isinstance(run, str) else run for run in runs]
        return home.twin(*[run.fetch(home) for run in asked])

    def upload(self, path: str | Path) -> str:
        """Bring a file or a Flower App directory over; what breaks off goes on.

        Args:
            path: A directory with a Flower App; or a scenario, a safetensors file, a table.

        Returns:
            The upload's id.

        Raises:
            UploadTypeError: If files of this kind are not taken.
            UploadError: If what arrived is not what was sent.
            AppError: If it is a directory, but no Flower App.
            TooLargeError: If the server takes nothing so large.
            LabUnreachableError: If the lab is away for longer than a request may take.
        """
        return send_path(self._wire, Path(path).expanduser())

    def close(self) -> None:
        """Close all connections."""
        self._wire.line.close()

    def __enter__(self) -> Self:
        """Give the lab."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all connections."""
        self.close()

    def __repr__(self) -> str:
        about = self._wire.about
        return f"<RemoteLab {self._wire.line.address.url}: {about.lab}>"
