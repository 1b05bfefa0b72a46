"""Registered models on their way to the nodes of a federation."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import DeliveryError
from flip_lab.core.scenario import Scenario
from flip_lab.fl.scenarios import scenario_to_json
from flip_lab.runs.deliver_line import ModelLine
from flip_lab.runs.deliver_schema import input_schema_of, scenario_of
from flip_lab.store.blobs import Blobs
from flip_lab.store.layout import LabDir
from flip_lab.store.registered import ModelVersion

NodesAsked: TypeAlias = "str | Sequence[str] | None"
"""Which nodes: a choice by tags such as ``"eu and not slow"``, names, or ``None``: all."""

State: TypeAlias = Literal["pending", "installed", "withdrawn", "refused"]

COLUMNS = (
    "delivery",
    "action",
    "model",
    "version",
    "stage",
    "node",
    "state",
    "why",
    "delivered_at",
    "delivered_by",
    "told_at",
    "sha256",
)
"""What is told of a delivery to one node."""

_PLACE = "hub/deliveries"
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, kw_only=True)
class NodeAnswer:
    """What a node made of a delivery.

    Attributes:
        state: ``"pending"`` until it says.
        why: Why it refused; else empty.
    """

    state: State
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A version on its way to nodes, or off them, as it stood when it was looked at.

    Attributes:
        number: Its number at the hub.
        action: ``"install"`` or ``"withdraw"``.
        model: The model.
        version: The version.
        to: The federation.
        nodes: What each node made of it.
    """

    number: int
    action: str
    model: str
    version: int
    to: str
    nodes: Mapping[str, NodeAnswer] = field(default_factory=dict[str, NodeAnswer])

    @property
    def is_over(self) -> bool:
        """Whether every node has answered."""
        return all(answer.state != "pending" for answer in self.nodes.values())

    def look(self) -> Delivery:
        """Ask the hub how it stands now.

        Raises:
            FederationUnreachableError: If the hub does not answer.
        """
        with ModelLine(self.to) as line:
            rows = line.ask("GET", _PLACE)["items"]
        mine = [row for row in rows if row["delivery"] == self.number]
        return replace(self, nodes=_answers(mine))

    def wait(self, timeout_s: float = 120.0) -> Delivery:
        """Wait until every node has answered.

        Args:
            timeout_s: How long; nodes that are away get it when they are back.

        Returns:
            The delivery as it is then; nodes may have refused it.

        Raises:
            DeliveryError: If some have not answered by then.
        """
        end_s = tick_s() + timeout_s
        now = self.look()
        while not now.is_over:
            if tick_s() > end_s:
                open_ = [n for n, answer in now.nodes.items() if answer.state == "pending"]
                raise DeliveryError(
                    f"After {timeout_s:.0f} s no answer came from {', '.join(open_)}.",
                    fix="Nothing need be done: they get it when they are back.",
                )
            time.sleep(_LOOK_EVERY_S)
            now = self.look()
        return now

    def __str__(self) -> str:
        told = ", ".join(f"{name} {each.state}" for name, each in self.nodes.items())
        return f"{self.model} {self.version} → {self.to}: {told}"


def deliver_model(
    lab: LabDir,
    version: ModelVersion,
    *,
    to: str,
    nodes: NodesAsked = None,
    stage: str = "production",
    scenario: Scenario | str | None = None,
) -> Delivery:
    """Deliver a version; arguments and errors as of ``Models.deliver``."""
    path = Blobs(lab).check(version.sha256)
    found = scenario_of(lab, version, scenario)
    lineage = asdict(version.lineage)
    del lineage["input_schema"]
    told: dict[str, Any] = {
        "name": version.name,
        "version": version.version,
        "stage": stage,
        "sha256": version.sha256,
        "scenario": scenario_to_json(found),
        "lineage": {**lineage, "registered_by": version.registered_by},
        "input_schema": input_schema_of(version, found),
        "nodes": _plain(nodes),
    }
    with ModelLine(to) as line:
        if not line.ask("GET", f"{_PLACE}/files/{version.sha256}")["is_here"]:
            name = f"{version.name}-{version.version}.safetensors"
            told["upload"] = line.upload(path, name, version.sha256)
        return _delivery(to, line.ask("POST", _PLACE, told)["items"])


def withdraw_model(name: str, version: int, *, to: str, nodes: NodesAsked) -> Delivery:
    """Take a version off nodes; arguments and errors as of ``Models.withdraw``."""
    told = {"name": name, "version": version, "nodes": _plain(nodes)}
    with ModelLine(to) as line:
        return _delivery(to, line.ask("POST", f"{_PLACE}/withdraw", told)["items"])


def deliveries_of(to: str, name: str | None) -> list[dict[str, Any]]:
    """Give a row for each delivery and node, the newest delivery first."""
    with ModelLine(to) as line:
        rows: list[dict[str, Any]] = line.ask("GET", _PLACE)["items"]
    return [row for row in rows if name in {None, row["model"]}]


def _plain(nodes: NodesAsked) -> str | list[str] | None:
    return nodes if nodes is None or isinstance(nodes, str) else list(nodes)


def _delivery(to: str, rows: Sequence[Mapping[str, Any]]) -> Delivery:
    first = rows[0]
    return Delivery(
        number=first["delivery"],
        action=first["action"],
        model=first["model"],
        version=first["version"],
        to=to,
        nodes=_answers(rows),
    )


def _answers(rows: Sequence[Mapping[str, Any]]) -> dict[str, NodeAnswer]:
    return {row["node"]: NodeAnswer(state=row["state"], why=row["why"]) for row in rows}
