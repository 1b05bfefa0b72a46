"""What runs told of a fleet, in words: what was measured, what is bounded or assumed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from flip_lab.core.fleet import (
    NARROW,
    NodeProfile,
    PhaseProfile,
    ServerProfile,
    Shares,
)

_SAME = 0.1  # width of bounds up to which one number says as much as two
_ENOUGH = 5  # messages from which a node's own spread outweighs the fleet's
_LIKELY = 20  # messages without a failure that say little about 5 %


def diagnosis_of(
    nodes: Sequence[NodeProfile],
    server: ServerProfile,
    num_rounds: int,
    num_disturbed: int,
) -> pd.DataFrame:
    """Say of each thing that predictions rest on how well it is known.

    Args:
        nodes: The fleet's nodes.
        server: What rounds take besides.
        num_rounds: Rounds that were seen.
        num_disturbed: Messages left out because the hub was away.

    Returns:
        ``what``, ``known`` and ``because``, see ``Fleet.diagnosis``.
    """
    profiles = [phase for node in nodes for phase in node.phases.values()]
    largest = [  # the message that takes most of a round, mostly training
        max(node.phases.values(), key=lambda phase: phase.timing.median_s)
        for node in nodes
        if node.phases
    ]
    rows = [
        _times(profiles, num_disturbed),
        _part("computing", [each.compute_share for each in largest], _COMPUTING),
        _part("network", [each.transfer_share for each in largest], _NETWORK),
        _both_ways(),
        _shared(server),
        _failures(nodes),
        _outages(nodes),
        (
            "server",
            "measured",
            f"{server.overhead.median_s:.2g} s a round, from {num_rounds} rounds",
        ),
    ]
    return pd.DataFrame(rows, columns=["what", "known", "because"])


_Row = tuple[str, str, str]

_COMPUTING = "nodes of flip-lab node tell it, or runs with other numbers of examples"
_NETWORK = "a run of a larger model tells it"


def _times(profiles: Sequence[PhaseProfile], num_disturbed: int) -> _Row:
    fewest = min(each.timing.num_observed for each in profiles)
    told = f"at least {fewest} of each node and phase"
    if num_disturbed:
        told += f"; {num_disturbed} left out, the hub was away"
    if fewest >= _ENOUGH:
        return "time of a message", "measured", told
    return "time of a message", "bounded", f"{told}: spreads lean on the whole fleet"


def _part(what: str, shares: Sequence[Shares], remedy: str) -> _Row:
    widths = np.array([high - low for low, high in shares])
    low, high = (float(np.median([each[at] for each in shares])) for at in (0, 1))
    if high - low <= _SAME:
        told = f"about {(low + high) / 2:.0%} of a message's time"
    else:
        told = f"{low:.0%} to {high:.0%} of a message's time"
    if (widths <= NARROW).all():
        return what, "measured", told
    return what, "bounded", f"{told}; {remedy}"


def _both_ways() -> _Row:
    return (
        "down and up",
        "assumed",
        "a byte takes as long to a node as from it; an example's work is in proportion",
    )


def _shared(server: ServerProfile) -> _Row:
    told = ", ".join(
        f"{phase} ×{np.exp(sigma):.2f}" for phase, sigma in server.shared_log_sigma.items()
    )
    return (
        "slow together",
        "measured",
        f"usual factor that all nodes of a round share: {told}",
    )


def _failures(nodes: Sequence[NodeProfile]) -> _Row:
    asked = sum(node.availability.num_asked for node in nodes)
    failed = sum(node.availability.num_failed for node in nodes)
    told = f"{failed} of {asked} messages failed"
    if failed or min(node.availability.num_asked for node in nodes) >= _LIKELY:
        return "failures", "measured", told
    return "failures", "assumed", f"{told}; so none is foreseen"


def _outages(nodes: Sequence[NodeProfile]) -> _Row:
    outages = sum(node.availability.num_outages for node in nodes)
    if outages:
        return "availability", "measured", f"{outages} times a node was away"
    return "availability", "assumed", "no node went away; so none is foreseen to"
