"""Fields of the launch form where real nodes train: who, how long, driven from where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flip_lab.boards.launcher.values import Values, is_same
from flip_lab.core.errors import FlipLabError
from flip_lab.core.policy import RoundPolicy
from flip_lab.engines.catalogue import ENGINES
from flip_lab.engines.federations import load_federation
from flip_lab.fl.form_field import FormField

POLICY = "policy."
"""What the paths of a policy's parts begin with."""

_NODES = FormField(
    path="nodes",
    label="Nodes",
    kind="text",
    of="text",
    words="names and tags, or partitions",
    help="Tags and names, as eu and not slow; or partitions, as 0-3, 7.",
    is_optional=True,
    empty="all",
)
_DEADLINE = FormField(
    path=f"{POLICY}deadline_s",
    label="Deadline of a round",
    kind="number",
    of="number",
    words="a number > 0, or nothing",
    help="How long a round waits for replies.",
    unit="s",
    above=0,
    is_optional=True,
    empty="none",
)
_QUORUM = FormField(
    path=f"{POLICY}quorum",
    label="Quorum",
    kind="scalar",
    of="scalar",
    words="a share such as 0.8, a number of nodes such as 3, or nothing",
    help="Good replies a round needs: a share as 0.8, or a number as 3.",
    is_optional=True,
    empty="one reply",
)
_OVER_SELECTION = FormField(
    path=f"{POLICY}over_selection",
    label="Over-selection",
    kind="number",
    of="number",
    words="a number from 0 to 10",
    help="Ask more to train, count the first: 0.3 asks 30 % more.",
    default=0.0,
    least=0,
    most=10,
)
_LATE = FormField(
    path=f"{POLICY}late",
    label="Stragglers",
    kind="text",
    of="text",
    words="drop",
    help="What becomes of replies after the close.",
    about="Late replies are on record, and count nowhere.",
    default="drop",
    choices=("drop",),
    is_closed=True,
)
_DETACH = FormField(
    path="detach",
    label="Run on the hub",
    kind="boolean",
    of="boolean",
    words="true or false",
    help="This machine may leave; lab.detached() finds the run.",
    default=False,
)


def device_fields(on: object) -> list[FormField]:
    """Give the fields that a place has beside those of every launch.

    Args:
        on: What ``on=`` says.

    Returns:
        None for an engine; of a stock SuperLink, which runs nothing by itself, all but
        whether the run's process lives there.
    """
    if not isinstance(on, str) or on in ENGINES:
        return []
    try:
        federation = load_federation(on, Path.cwd())
    except FlipLabError:  # the check of a launch says so
        return []
    fields = [_NODES, _DEADLINE, _QUORUM, _OVER_SELECTION, _LATE]
    return fields if federation.token is None else [*fields, _DETACH]


def device_arguments(values: Values) -> dict[str, Any]:
    """Give the arguments of the launch that these fields come to, where not the defaults.

    Args:
        values: What was put in, by path.

    Returns:
        ``nodes``, ``policy`` (its parts by name, right or wrong) and ``detach``, those of
        them that differ from the defaults.
    """
    changed = {
        each.path: values[each.path]
        for each in device_fields(values.get("on"))
        if each.path in values and not is_same(values[each.path], each.default)
    }
    policy = {
        path.removeprefix(POLICY): value
        for path, value in changed.items()
        if path.startswith(POLICY)
    }
    found: dict[str, Any] = {}
    if "nodes" in changed:
        found["nodes"] = changed["nodes"]
    if policy:
        found["policy"] = policy
    if changed.get("detach"):
        found["detach"] = "hub"
    return found


def policy_of(parts: Mapping[str, Any] | None) -> RoundPolicy | None:
    """Make a policy of its parts; ``None`` of none.

    Raises:
        InvalidValueError: If one of them is out of its range.
    """
    return None if parts is None else RoundPolicy.from_json(parts)
