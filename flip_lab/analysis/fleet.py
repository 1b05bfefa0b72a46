"""A fleet learned from runs on real devices: the noun of the digital twin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd

from flip_lab.analysis.fleet_diagnosis import diagnosis_of
from flip_lab.analysis.fleet_facts import FleetFacts, facts_of
from flip_lab.analysis.fleet_fit import fit_nodes, fit_server
from flip_lab.core.errors import TwinError
from flip_lab.core.fleet import NodeProfile, RecordedRun, ServerProfile, as_plain_data

_FORMAT = 1
_REACH = 1.6449  # of a normal distribution, 90 % lie within so many standard deviations
_FEWEST_ROUNDS = 2
_TIMES = ("median_s", "low_s", "high_s", "num_examples", "num_bytes")


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """How the nodes of a federation behave: plain data, as runs on them showed it.

    Attributes:
        nodes: One profile a node, by partition.
        server: What a round takes besides its nodes.
        run_ids: The runs that it was learned from.
        num_rounds: Their rounds.
        num_disturbed: Messages that were left out because the hub was away meanwhile.
    """

    nodes: tuple[NodeProfile, ...]
    server: ServerProfile
    run_ids: tuple[str, ...] = ()
    num_rounds: int = 0
    num_disturbed: int = 0

    @classmethod
    def from_run(cls, *runs: RecordedRun) -> Self:
        """Learn a fleet from runs on it; several are taken together.

        Args:
            runs: Runs on real devices, of one federation. The more they differ in model
                size and number of examples, the better can computing and network be told
                apart.

        Returns:
            The fleet; ``diagnosis()`` says what is known of it and what is not.

        Raises:
            TwinError: If a run was simulated, recorded whole rounds only or no times, has
                fewer than two rounds, or if no client answered.
        """
        return cls.from_facts(facts_of(runs))

    @classmethod
    def from_facts(cls, facts: FleetFacts) -> Self:
        """Learn a fleet from facts that are already frames; errors as ``from_run``."""
        _check(facts)
        return cls(
            nodes=fit_nodes(facts),
            server=fit_server(facts),
            run_ids=tuple(dict.fromkeys(map(str, facts.clients["run_id"]))),
            num_rounds=len(facts.rounds),
            num_disturbed=facts.num_disturbed,
        )

    @cached_property
    def by_partition(self) -> Mapping[int, NodeProfile]:
        """The nodes by the partition that they hold."""
        return {node.partition_id: node for node in self.nodes}

    def summary(self) -> pd.DataFrame:
        """Give one row for each node and phase.

        Returns:
            ``partition_id``, ``phase``, ``num_observed``, ``median_s``, ``low_s`` and
            ``high_s`` (90 % of single messages lie between), ``num_examples``,
            ``num_bytes``; ``compute_share_low`` and ``…_high``, ``transfer_share_low`` and
            ``…_high`` (what is known of the parts of ``median_s``, 0 to 1);
            ``compute_ms_per_example``, ``transfer_s_per_mib`` and ``fixed_s`` (what any
            message takes), NaN where only bounds are known;
            ``warm_up_s``, ``error_rate``, ``share_up`` (0 to 1), ``num_outages``,
            ``mean_up_s`` and ``mean_down_s`` (NaN when it never went away).
        """
        rows = [
            _row(node, phase)
            for node in self.nodes
            for phase in node.phases or [""]  # one that never answered has a row, too
        ]
        return pd.DataFrame(rows)

    def diagnosis(self) -> pd.DataFrame:
        """Say what the runs told of the fleet, and what is only assumed.

        Returns:
            ``what``, ``known`` (``"measured"``, ``"bounded"`` or ``"assumed"``) and
            ``because``, one row for each thing that predictions rest on.
        """
        return diagnosis_of(self.nodes, self.server, self.num_rounds, self.num_disturbed)

    def to_json(self) -> str:
        """Give the fleet as JSON that ``from_json`` reads back, number for number."""
        data = {
            "format": _FORMAT,
            "run_ids": list(self.run_ids),
            "num_rounds": self.num_rounds,
            "num_disturbed": self.num_disturbed,
            "server": as_plain_data(self.server),
            "nodes": [as_plain_data(node) for node in self.nodes],
        }
        return json.dumps(data, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` gave.

        Raises:
            TwinError: If it is something else, or of a newer version.
        """
        try:
            data: dict[str, Any] = {"format": None, **json.loads(text)}
            _require_format(data["format"])
            return cls(
                nodes=tuple(NodeProfile.from_dict(node) for node in data["nodes"]),
                server=ServerProfile.from_dict(data["server"]),
                run_ids=tuple(data["run_ids"]),
                num_rounds=int(data["num_rounds"]),
                num_disturbed=int(data["num_disturbed"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise TwinError(
                f"This is no fleet that this version wrote: {error!r}.",
                fix="Learn it again: Fleet.from_run(run).",
            ) from error


def _require_format(version: object) -> None:
    """Refuse what another version wrote.

    Raises:
        TwinError: If it did.
    """
    if version != _FORMAT:
        raise TwinError(
            f"This is no fleet in format {_FORMAT}; it says {version!r}.",
            fix="Learn it again: Fleet.from_run(run).",
        )


def _check(facts: FleetFacts) -> None:
    """Refuse facts that a fleet cannot be learned from.

    Raises:
        TwinError: The message names what is missing.
    """
    who = ", ".join(dict.fromkeys(map(str, facts.clients["run_id"]))) or "The run"
    answered = facts.answered
    if answered.empty:
        raise TwinError(
            f"{who}: none of {len(facts.clients)} messages was answered well.",
            fix="run.clients() has the error of each; learn from a run that worked.",
        )
    if not (answered["duration_s"] > 0).any():
        raise TwinError(
            f"{who}: no client has a duration.",
            fix="Take a run that this lab launched: other tools record no times.",
        )
    if len(facts.rounds) < _FEWEST_ROUNDS:
        raise TwinError(
            f"{who}: {len(facts.rounds)} rounds ended; {_FEWEST_ROUNDS} are the least to "
            "tell chance from habit.",
            fix="Run more rounds, or learn from several runs: Fleet.from_run(one, other).",
        )


def _row(node: NodeProfile, phase: str) -> dict[str, object]:
    there = node.availability
    profile = node.phases.get(phase)
    row: dict[str, object] = {"partition_id": node.partition_id, "phase": phase}
    row |= {"num_observed": 0}
    row |= dict.fromkeys(_TIMES, np.nan)
    row |= {
        f"{part}_share_{end}": np.nan
        for part in ("compute", "transfer")
        for end in ("low", "high")
    }
    row |= dict.fromkeys(
        ("compute_ms_per_example", "transfer_s_per_mib", "fixed_s"), np.nan
    )
    if profile is not None:
        timing = profile.timing
        reach = float(np.exp(_REACH * timing.log_sigma))
        row |= {
            "num_observed": timing.num_observed,
            "median_s": timing.median_s,
            "low_s": timing.median_s / reach,
            "high_s": timing.median_s * reach,
            "num_examples": profile.num_examples,
            "num_bytes": profile.num_bytes,
            "compute_share_low": profile.compute_share[0],
            "compute_share_high": profile.compute_share[1],
            "transfer_share_low": profile.transfer_share[0],
            "transfer_share_high": profile.transfer_share[1],
            "compute_ms_per_example": 1000 * profile.compute_s_per_example.value,
            "transfer_s_per_mib": profile.transfer_s_per_mib.value,
            "fixed_s": profile.fixed_s.value,
        }
    return row | {
        "warm_up_s": node.warm_up_s,
        "error_rate": there.error_rate,
        "share_up": there.share_up,
        "num_outages": there.num_outages,
        "mean_up_s": np.nan if there.mean_up_s is None else there.mean_up_s,
        "mean_down_s": np.nan if there.mean_down_s is None else there.mean_down_s,
    }
