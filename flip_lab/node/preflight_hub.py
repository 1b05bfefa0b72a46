"""Preflight, what only the hub can say: is it there, is it the one, and does it know us."""

from __future__ import annotations

from collections.abc import Iterator

from flip_lab.core.clock import now_s
from flip_lab.core.errors import FlipLabError, VersionMismatchError
from flip_lab.node.config import NodeConfig
from flip_lab.node.hub_line import HubLine
from flip_lab.node.identity import NodeIdentity
from flip_lab.node.messages import Health
from flip_lab.node.preflight_report import Check, refused
from flip_lab.node.reporting import report
from flip_lab.node.trust import AUTHORITY_FILE, bundle_hash, context_for
from flip_lab.node.versions import see_that_versions_agree, versions_here

MOST_SKEW_S = 5.0
"""How far a node's clock may be from its hub's."""


def check_hub(config: NodeConfig, identity: NodeIdentity | None) -> Iterator[Check]:
    """Ask the hub; nothing more of it when it cannot be reached.

    Args:
        config: The node's settings.
        identity: Its key, if it can be read.
    """
    try:
        context = context_for(config.directory / AUTHORITY_FILE)
        with HubLine(config.hub, context) as line:
            begin_s = now_s()
            health = line.ask("GET", "/health", Health)
            end_s = now_s()
            yield _there(config, end_s - begin_s)
            yield _clock((begin_s + end_s) / 2 - health.time_s, (end_s - begin_s) / 2)
            yield from _versions(health)
            if identity is None:
                yield Check(name="admission", verdict="skipped", found="there is no key")
            else:
                yield from _admission(config, identity, line)
    except FlipLabError as error:
        yield refused("hub and TLS", error)
        for name in ("clock", "versions", "admission"):
            yield Check(name=name, verdict="skipped", found="the hub cannot be asked")


def _there(config: NodeConfig, took_s: float) -> Check:
    found = f"{config.hub} answers in {1000 * took_s:.0f} ms; its certificate is good"
    return Check(name="hub and TLS", verdict="good", found=found)


def _clock(ahead_s: float, within_s: float) -> Check:
    """Judge the clock, by as much as the way to the hub leaves sure."""
    word = "ahead of" if ahead_s > 0 else "behind"
    found = f"{abs(ahead_s):.1f} s {word} the hub's, give or take {within_s:.1f} s"
    if abs(ahead_s) - within_s <= MOST_SKEW_S:
        return Check(name="clock", verdict="good", found=found)
    fix = "Set the clock that is wrong, best by NTP (timedatectl set-ntp true)."
    return Check(name="clock", verdict="wrong", found=found, fix=fix)


def _versions(health: Health) -> Iterator[Check]:
    here = versions_here()
    found = f"Flower {here.flower} here, {health.flower} there"
    try:
        see_that_versions_agree(here.flower, health.flower)
    except VersionMismatchError as error:
        yield refused("versions", error)
        return
    if here.flip_lab == health.version:
        yield Check(name="versions", verdict="good", found=found)
    else:
        found = f"FLIP Lab {here.flip_lab} here, {health.version} there"
        fix = (
            "Install the hub's version when you can: not all of a newer one is known here."
        )
        yield Check(name="versions", verdict="warning", found=found, fix=fix)


def _admission(
    config: NodeConfig, identity: NodeIdentity, line: HubLine
) -> Iterator[Check]:
    """Report to the hub, as a running node does: does it know the key?"""
    try:
        answer = report(config, identity, line)
    except FlipLabError as error:
        yield refused("admission", error)
        return
    tags = ", ".join(answer.tags) or "no tags"
    yield Check(name="admission", verdict="good", found=f"the hub knows this key; {tags}")
    if answer.bundle != bundle_hash((config.directory / AUTHORITY_FILE).read_bytes()):
        found = "the hub has a new authority"
        fix = "The node fetches it by itself when it runs."
        yield Check(name="authority", verdict="warning", found=found, fix=fix)
