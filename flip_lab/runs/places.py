"""Where a run happens, with whom, and how long its rounds wait."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from flip_lab.core.cohort import NodeChoice
from flip_lab.core.errors import (
    CohortError,
    InvalidValueError,
    UnknownFederationError,
    nearest,
)
from flip_lab.core.policy import RoundPolicy
from flip_lab.engines.catalogue import ENGINES
from flip_lab.engines.federations import federation_names
from flip_lab.runs.arguments import seconds_or_none, whole_number


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run happens.

    Attributes:
        engine: Name of the engine.
        federation: Name of the real federation; ``None`` in simulation.
        workers: Processes that train side by side.
        client_timeout_s: Longest time that one client may take; ``None`` for no limit.
        found_from: Directory that the federation's ``flip-lab.toml`` is looked for from;
            ``None``: the working directory.
        nodes: Which nodes take part, see ``flip_lab.core.cohort``; empty for all.
        policy: When rounds close; ``None`` waits for every reply.
    """

    engine: str
    federation: str | None
    workers: int
    client_timeout_s: float | None = None
    found_from: Path | None = None
    nodes: str = ""
    policy: RoundPolicy | None = None


def place_of(
    on: str,
    workers: int | None,
    client_timeout_s: float | None = None,
    *,
    beside: Path | None = None,
) -> Place:
    """Say where a run happens.

    Args:
        on: An engine's name, or a federation named in ``flip-lab.toml``.
        workers: Processes that train side by side; ``None`` takes one per processor.
        client_timeout_s: Longest time that one client may take; ``None`` for no limit.
        beside: The lab's directory: federations named there are known, too.

    Raises:
        UnknownFederationError: If ``on`` names neither.
        InvalidValueError: If the number of workers or the time will not do.
    """
    simulated = on in ENGINES
    if workers is None:
        workers = len(os.sched_getaffinity(0))
    return Place(
        engine=on if simulated else "deployment",
        federation=None if simulated else on,
        workers=whole_number("The number of workers", workers, at_least=1),
        client_timeout_s=seconds_or_none("The client time-out", client_timeout_s),
        found_from=None if simulated else found_from(on, beside),
    )


def found_from(federation: str, beside: Path | None) -> Path:
    """Say from which directory a federation's ``flip-lab.toml`` is found.

    Args:
        federation: The federation.
        beside: The lab's directory, looked at after the working directory.

    Raises:
        UnknownFederationError: If no file names it.
    """
    known: list[str] = []
    for directory in (Path.cwd(), *([] if beside is None else [beside])):
        names = federation_names(directory)
        if federation in names:
            return directory
        known += names
    raise UnknownFederationError(
        f"There is no engine or federation {federation!r}.",
        fix=nearest(str(federation), [*ENGINES.names(), *known])
        + " Real federations are named in flip-lab.toml.",
    )


def with_cohorts(place: Place, nodes: str | None, policy: RoundPolicy | None) -> Place:
    """Say who takes part there, and how long rounds wait.

    Args:
        place: Where.
        nodes: Which nodes, see ``flip_lab.core.cohort``; ``None`` takes all.
        policy: When rounds close; ``None`` waits for every reply.

    Raises:
        CohortError: If the choice cannot be understood, or names what no simulation knows.
        InvalidValueError: If the policy is none.
    """
    if nodes is not None:
        choice = NodeChoice.parse(nodes)
        if place.federation is None and choice.words:
            raise CohortError(
                f"Simulated nodes have no names or tags such as {choice.words[0]!r}.",
                fix="Name partitions, such as nodes='0-3, 7', or launch on a hub.",
            )
    if not isinstance(policy, RoundPolicy | None):  # pyright: ignore[reportUnnecessaryIsInstance]  # users err
        raise InvalidValueError(
            f"{policy!r:.200} is no policy.",
            fix="Give flip_lab.RoundPolicy(deadline_s=60, quorum=0.8).",
        )
    return replace(place, nodes=nodes or "", policy=policy)
