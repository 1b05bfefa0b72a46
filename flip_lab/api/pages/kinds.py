"""The kinds of boards that there are, and what their address asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from starlette.datastructures import QueryParams

from flip_lab.api.access import Person
from flip_lab.boards.board import Board
from flip_lab.boards.comparer.board import ComparerBoard
from flip_lab.boards.fleet.board import FleetBoard
from flip_lab.boards.launcher.board import LauncherBoard, first_scenario, starts_in
from flip_lab.boards.launcher.source import source_of
from flip_lab.boards.partitions.board import PartitionsBoard
from flip_lab.core.errors import RequestError, UnknownNameError, nearest
from flip_lab.fl.scenarios import scenario_names
from flip_lab.runs.lab import Lab

_Make: TypeAlias = Callable[[Lab, QueryParams, Person], Board]


def make_board(kind: str, lab: Lab, query: QueryParams, person: Person) -> Board:
    """Make a board that is one page's own; may take a second.

    Args:
        kind: One of ``KINDS``.
        lab: The lab.
        query: What the page's address asks for.
        person: Who looks.

    Raises:
        FlipLabError: If what is asked for cannot be shown.
    """
    return _MAKERS[kind](lab, query, person)


def _comparer(lab: Lab, query: QueryParams, _person: Person) -> Board:
    where = {name: query[name] for name in ("experiment", "sweep") if name in query}
    more: dict[str, Any] = {name: query[name] for name in ("x", "draw") if name in query}
    return ComparerBoard(
        lab,
        _several(query, "runs") or None,
        where=where or None,
        metric=_several(query, "metric") or None,
        by=_several(query, "by"),
        smoothing=_whole(query, "smoothing", 1),
        log=query.get("log") == "true",
        **more,
    )


def _launcher(lab: Lab, query: QueryParams, person: Person) -> Board:
    what = _scenario(query, person)
    return LauncherBoard(source_of(what), start=starts_in(lab))


def _partitions(_lab: Lab, query: QueryParams, person: Person) -> Board:
    more: dict[str, Any] = {
        name: query[name] for name in ("distance", "order") if name in query
    }
    return PartitionsBoard(_scenario(query, person), **more)


def _fleet(lab: Lab, query: QueryParams, _person: Person) -> Board:
    run_id = query.get("run_id", "")
    return FleetBoard(
        lab,
        lab.run(run_id).run_id if run_id else "",
        federation=query.get("federation"),
        metric=query.get("metric"),
    )


_MAKERS: Mapping[str, _Make] = MappingProxyType(
    {
        "comparer": _comparer,
        "launcher": _launcher,
        "partitions": _partitions,
        "fleet": _fleet,
    }
)

KINDS = ("run", *_MAKERS)
"""What ``/boards/<kind>`` shows; a run's board is the only one that pages share."""


def _several(query: QueryParams, name: str) -> list[str]:
    """Read a list: the name again for each value, or commas between them."""
    told = [part.strip() for each in query.getlist(name) for part in each.split(",")]
    return [part for part in told if part]


def _whole(query: QueryParams, name: str, default: int) -> int:
    told = query.get(name, str(default))
    try:
        return int(told)
    except ValueError as error:
        raise RequestError(
            f"{name} is {told!r:.40}, no whole number.", fix="Leave it out, or give one."
        ) from error


def _scenario(query: QueryParams, person: Person) -> str:
    """Give the scenario that is asked for; only writers may name a file.

    Raises:
        UnknownNameError: If there is no such scenario.
    """
    what = query.get("scenario") or first_scenario()
    names = scenario_names()
    if what not in names and "write" not in person.scopes:
        raise UnknownNameError(
            f"There is no scenario {what!r:.60}.", fix=nearest(what, names)
        )
    return what
