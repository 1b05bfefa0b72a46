"""``run.json``: all that a run process needs to know, written before it starts.

Written once, and again only when the run is resumed on another engine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from flip_lab.core.errors import FlipLabError, RunNotFoundError
from flip_lab.core.policy import RoundPolicy
from flip_lab.engines.apps import DirectoryApp, PickledApp, ScenarioApp
from flip_lab.engines.base import AppSource
from flip_lab.runs.checkpoints import Checkpoints

Kind = Literal["scenario", "app", "notebook", "imported"]


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One run as it was asked for.

    Attributes:
        run_id: The run's id.
        name: The scenario's, the app's or the notebook app's name.
        kind: Which of the three inputs it is, or that it was run elsewhere.
        created_s: When it was launched, seconds since the Unix epoch.
        seed: The run's seed.
        num_rounds: Rounds it will run; ``None`` when only the app knows.
        num_nodes: Nodes, simulated or waited for.
        engine: Name of the engine.
        federation: Name of the real federation; ``None`` in simulation.
        workers: Processes that train side by side.
        run_config: Flower's run configuration.
        overrides: What the launcher changed.
        scenario: The scenario as plain data; ``None`` for other inputs.
        scenario_fingerprint: Hash of the scenario's numbers.
        server_ref: ``module:attribute`` of the ServerApp of a Flower App directory.
        client_ref: ``module:attribute`` of the ClientApp.
        launched_from: The launcher's working directory.
        working_dir: Directory the app runs in.
        client_timeout_s: Longest time that one client may take; ``None`` for no limit.
        search_path: The launcher's ``sys.path``.
        lineage: Versions and hashes behind the run.
        checkpoints: When checkpoints are written, and which are kept.
        parent_run_id: The run that this one was forked from; ``None`` for others.
        forked_at_round: The parent's round that it goes on from.
        experiment: The experiment that it belongs to; ``None`` in files of a version that
            knew none.
        sweep: The sweep that it is a point of; ``None`` for none.
        tags: Its tags at launch; the lab's log says which it has now.
        note: Its note at launch; may be empty.
        record_updates: Whether the norm of each client's update is recorded.
        edits: What users change in it while it runs, as it was known at the launch: a
            run that is repeated or forked does it again.
        nodes: Which of the nodes take part, see ``flip_lab.core.cohort``; empty for all.
        policy: When its rounds close; ``None`` waits for every reply.
        late_before: Of a run that repeats another: who was late there, see
            ``flip_lab.runs.late_before``; ``None`` for other runs.
    """

    run_id: str
    name: str
    kind: Kind
    created_s: float
    seed: int
    num_rounds: int | None
    num_nodes: int
    engine: str
    federation: str | None
    workers: int
    run_config: dict[str, bool | int | float | str]
    overrides: dict[str, Any]
    scenario: dict[str, Any] | None = None
    scenario_fingerprint: str | None = None
    server_ref: str = ""
    client_ref: str = ""
    launched_from: str = ""
    working_dir: str = ""
    client_timeout_s: float | None = None
    search_path: list[str] = field(default_factory=list[str])
    lineage: dict[str, Any] = field(default_factory=dict[str, Any])
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    parent_run_id: str | None = None
    forked_at_round: int | None = None
    experiment: str | None = None
    sweep: str | None = None
    tags: list[str] = field(default_factory=list[str])
    note: str = ""
    record_updates: bool = False
    edits: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    nodes: str = ""
    policy: RoundPolicy | None = None
    late_before: list[dict[str, Any]] | None = None

    def to_json(self) -> dict[str, Any]:
        """Give the spec as plain data, fit for JSON."""
        config = {key: _to_json(value) for key, value in self.run_config.items()}
        return asdict(self) | {"run_config": config}

    @classmethod
    def load(cls, run_dir: Path) -> RunSpec:
        """Read the spec of a run's directory.

        Raises:
            RunNotFoundError: If there is none, or it is damaged.
        """
        try:
            data = json.loads((run_dir / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunNotFoundError(
                f"{run_dir} holds no readable run.json: {error}.",
                fix="lab.runs() lists the runs of this lab.",
            ) from error
        return cls.from_json(data)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunSpec:
        """Read a spec; keys of a newer version are ignored.

        Raises:
            RunNotFoundError: If the data lacks what a run needs.
        """
        known = {item.name for item in fields(cls)}
        try:
            values: dict[str, Any] = {k: v for k, v in data.items() if k in known}
            values["run_config"] = {k: _from_json(v) for k, v in data["run_config"].items()}
            values["checkpoints"] = Checkpoints(**data.get("checkpoints", {}))
            if (policy := data.get("policy")) is not None:
                values["policy"] = RoundPolicy.from_json(policy)
            return cls(**values)
        except (AttributeError, KeyError, TypeError, FlipLabError) as error:
            raise RunNotFoundError(
                f"A run.json is incomplete: {error}. It says {str(data)[:200]!r}.",
                fix="Restore the file from a backup, or delete the run's directory.",
            ) from error

    def app(self, run_dir: Path) -> AppSource:
        """Say where the run's apps come from."""
        if self.kind == "scenario":
            return ScenarioApp(scenario_json=str(self.run_config["scenario"]))
        if self.kind == "notebook":
            return PickledApp(directory=run_dir / "app")
        return DirectoryApp(
            directory=run_dir / "app",
            server_ref=self.server_ref,
            client_ref=self.client_ref,
        )


def _to_json(value: bool | float | str) -> Any:  # noqa: ANN401, FBT001  # JSON's values
    """Write numbers that JSON lacks; ``max-norm = inf`` is a setting like others."""
    finite = not isinstance(value, float) or math.isfinite(value)
    return value if finite else {"float": str(value)}


def _from_json(value: Any) -> Any:  # noqa: ANN401  # JSON's values
    return float(value["float"]) if isinstance(value, dict) else value  # pyright: ignore[reportUnknownArgumentType]  # JSON has no types
