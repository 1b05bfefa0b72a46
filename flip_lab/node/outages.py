"""Why a node cannot reach its hub, with code and fix, and when to try again."""

from __future__ import annotations

import random

import httpx

from flip_lab.core.clock import at_utc, now_s
from flip_lab.core.errors import (
    ClockSkewError,
    DeviceError,
    FederationUnreachableError,
    FlipLabError,
    NodeRevokedError,
    VersionMismatchError,
)

_FIRST_S = 0.5
_LONGEST_S = 20.0
_TEXT = 300


def pause_s(failures: int) -> float:
    """Give the time to the next attempt: longer each time, and never all nodes at once.

    Args:
        failures: Attempts that failed one after another, at least 1.
    """
    longest = min(_FIRST_S * 2.0 ** min(failures - 1, 10), _LONGEST_S)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  # nothing secret about it


def explained(error: Exception, *, hub: str, name: str) -> FlipLabError:
    """Say what is wrong between a node and its hub.

    Args:
        error: What calling the hub raised.
        hub: ``host:port``.
        name: The site's name.
    """
    if isinstance(error, FlipLabError):
        return error
    if isinstance(error, httpx.HTTPStatusError):
        return _refused(error.response, hub=hub, name=name)
    if "certificate" in str(error).lower():
        return FederationUnreachableError(
            f"The certificate of {hub} is not the one that ca.crt vouches for ({error}).",
            fix="If the hub has new certificates, put its ca.crt into the node's "
            "directory; otherwise somebody else answers there.",
        )
    return FederationUnreachableError(
        f"The hub at {hub} does not answer ({type(error).__name__}: {error}).",
        fix="Nothing to do if it comes back; else check the address, and the firewall.",
    )


def _refused(response: httpx.Response, *, hub: str, name: str) -> FlipLabError:
    said = " ".join(response.text.split())[:_TEXT]
    if response.status_code in {401, 403}:
        if "clock" in said.lower() or "timestamp" in said.lower():
            here = at_utc(now_s()).isoformat(timespec="seconds")
            return ClockSkewError(
                f"The hub at {hub} does not take the time of this machine, {here}: {said}",
                fix="Set the clock, for example with `timedatectl set-ntp true`.",
            )
        return NodeRevokedError(
            f"The hub at {hub} does not let {name!r} in (HTTP {response.status_code}: "
            f"{said}).",
            fix="Ask the hub's administrator whether this node is enrolled; check the "
            "clock, too.",
        )
    if response.status_code in {412, 426}:
        return VersionMismatchError(
            f"The hub at {hub} does not understand this version: {said}",
            fix="Install the hub's version of FLIP Lab and Flower.",
        )
    return DeviceError(
        f"The hub at {hub} answered HTTP {response.status_code}: {said}",
        fix="Nothing to do if it recovers; else look into the hub's log.",
    )
