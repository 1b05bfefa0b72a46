"""Why a node cannot reach its hub, with code and fix, and when to try again."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import suppress

import httpx

from flip_lab.core.clock import at_utc, now_s
from flip_lab.core.errors import (
    ClockSkewError,
    DeviceError,
    FederationUnreachableError,
    FlipLabError,
    HubBusyError,
    NodeRevokedError,
    VersionMismatchError,
)

_KINDS: Mapping[object, type[FlipLabError]] = {
    kind.code: kind
    for kind in (ClockSkewError, HubBusyError, NodeRevokedError, VersionMismatchError)
}
_FIRST_S = 0.5
_LONGEST_S = 10.0  # a run goes on within 30 s of a hub's return
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
    with suppress(ValueError, KeyError, TypeError):  # a hub of ours says it itself
        problem = response.json()
        told, fix, code = str(problem["detail"]), str(problem["fix"]), problem["code"]
        return _KINDS.get(code, DeviceError)(f"{hub}: {told}", fix=fix)
    if response.status_code in {401, 403}:
        return NodeRevokedError(
            f"{hub} does not let {name!r} in (HTTP {response.status_code}: {said}).",
            fix="Let its administrator register this node's key, and set the clock of this "
            f"machine: it says {at_utc(now_s()).isoformat(timespec='seconds')}.",
        )
    return DeviceError(
        f"{hub} answered HTTP {response.status_code}: {said}",
        fix="Nothing to do if it recovers; else look into the hub's log.",
    )
