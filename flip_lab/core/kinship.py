"""Which run came of which: pure functions over parents and the rounds of forks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Link: TypeAlias = tuple[str, int]
"""A run, and the last of its rounds that counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trunk:
    """The rounds that two runs have in common.

    Attributes:
        run_id: The run that made them.
        last_round: The last of them.
    """

    run_id: str
    last_round: int


def ancestors(links: Mapping[str, Link | None], run_id: str) -> list[Link]:
    """List a run and those before it, with the last round that each made of its course.

    Args:
        links: The parent and the round of each run, see ``read_links``.
        run_id: The run; its own last round is given as -1, for all that it has.
    """
    found: list[Link] = [(run_id, -1)]
    while (link := links.get(found[-1][0])) is not None:
        if any(link[0] == known for known, _ in found):
            break  # a damaged lab must not keep us for ever
        last = found[-1][1]
        found.append((link[0], link[1] if last < 0 else min(last, link[1])))
    return found


def common_trunk(links: Mapping[str, Link | None], first: str, second: str) -> Trunk | None:
    """Say which rounds two runs share: one is a fork of the other, or both of a third.

    Args:
        links: The parent and the round of each run, see ``read_links``.
        first: One run.
        second: The other.

    Returns:
        ``None`` if they share none.
    """
    ours = dict(ancestors(links, first))
    for run_id, last in ancestors(links, second):
        if run_id in ours and first != second:
            ends = [each for each in (ours[run_id], last) if each >= 0]
            return Trunk(run_id=run_id, last_round=min(ends, default=0))
    return None


def kin_of(links: Mapping[str, Link | None], run_id: str) -> list[tuple[str, int]]:
    """List the family of a run, each parent before its forks, with their depth.

    Args:
        links: The parent and the round of each run, see ``read_links``.
        run_id: Any run of the family.
    """
    children: dict[str, list[str]] = {}
    for child, link in links.items():
        if link is not None:
            children.setdefault(link[0], []).append(child)
    found: dict[str, int] = {}
    waiting = [(ancestors(links, run_id)[-1][0], 0)]
    while waiting:
        each, depth = waiting.pop()
        if each not in found:
            found[each] = depth
            younger = sorted(children.get(each, []), reverse=True)
            waiting += [(child, depth + 1) for child in younger]
    return list(found.items())
