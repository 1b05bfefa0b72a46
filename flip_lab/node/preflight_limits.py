"""Preflight, what the site lets a client use: does it hold?"""

from __future__ import annotations

from flip_lab.node.preflight_report import Check
from flip_lab.node.settings import NodeConfig, NodeLimits


def check_limits(config: NodeConfig) -> Check:
    """See that limits which the site has set can be kept.

    Args:
        config: The node's settings.
    """
    told = _told(config.limits)
    if config.workers:
        found = f"{config.workers} worker{'s' * (config.workers > 1)}, a call: {told}"
        return Check(name="limits", verdict="good", found=found)
    found = "clients run in the node's own process (workers = 0)"
    if not _are_set(config.limits):
        return Check(name="limits", verdict="good", found=f"none: {found}")
    return Check(
        name="limits",
        verdict="warning",
        found=f"{found}: these do not hold: {told}",
        fix="Set workers = 1 in the [node] of node.toml, and start the node again.",
    )


def _are_set(limits: NodeLimits) -> bool:
    """Say whether the site has limited what only a worker can be held to."""
    plain = NodeLimits(message_mb=limits.message_mb)  # that one holds everywhere
    return limits != plain


def _told(limits: NodeLimits) -> str:
    """Write down what one call may use."""
    parts = [f"{limits.call_timeout_s:g} s"]
    if limits.cpu_s is not None:
        parts.append(f"{limits.cpu_s:g} s of a processor")
    if limits.memory_mb is not None:
        parts.append(f"{limits.memory_mb} MiB")
    return ", ".join(parts)
