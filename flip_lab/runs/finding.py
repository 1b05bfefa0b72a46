"""Which runs a lab shows, and which of them somebody means."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from flip_lab.core.errors import InvalidValueError, RunNotFoundError, nearest
from flip_lab.store.audit import audited
from flip_lab.store.layout import LabDir, names_in

if TYPE_CHECKING:
    from flip_lab.runs.run import Run

Selection: TypeAlias = "Run | str | Iterable[Run | str]"
"""One run or several: handles, ids, beginnings or ends of ids, or a frame of runs."""

_SHOWN = 20


def visible_run_ids(lab: LabDir) -> list[str]:
    """Give the ids of all runs that were not deleted, sorted: the newest last."""
    hidden = hidden_run_ids(lab)
    folders = f"{lab.runs}{os.sep}"
    return sorted(
        name
        for name in names_in(lab.runs)
        if name not in hidden
        and not name.startswith(".")
        and os.path.exists(f"{folders}{name}{os.sep}run.json")  # noqa: PTH110  # of a thousand runs: Path takes four times as long
    )


def hidden_run_ids(lab: LabDir) -> set[str]:
    """Give the ids of the runs that were deleted."""
    _, said = audited(lab)
    return {run_id for run_id, label in said.items() if label.is_hidden}


def find_run(lab: LabDir, run_id: str) -> str:
    """Find the one run that is called so.

    Args:
        lab: The lab.
        run_id: Its id, or the beginning or end of it if only one run has that.

    Returns:
        Its whole id.

    Raises:
        RunNotFoundError: If there is none, or more than one.
    """
    return _find(lab, run_id, visible_run_ids(lab))


def selected(
    lab: LabDir, runs: Selection, *, among: Sequence[str] | None = None
) -> list[str]:
    """Give the ids of the runs that somebody means, each once, in the order given.

    Args:
        lab: The lab.
        runs: Which runs; of a frame, the column ``run_id`` counts.
        among: The ids that they may have; ``None``: those of all runs not deleted.

    Raises:
        RunNotFoundError: If one of them is not there, or is named ambiguously.
        InvalidValueError: If it is no selection of runs.
    """
    given = getattr(runs, "run_id", runs)  # a handle's id, or a frame's column
    several: Sequence[Any] = [given] if isinstance(given, str) else _listed(given)
    known = visible_run_ids(lab) if among is None else among
    found = [_find(lab, getattr(each, "run_id", each), known) for each in several]
    return list(dict.fromkeys(found))


def _listed(given: object) -> list[Any]:
    if isinstance(given, Iterable):
        return list(cast("Iterable[Any]", given))
    raise InvalidValueError(
        f"{given!r} is no selection of runs.",
        fix="Give a run, its id, a list of these, or a frame from lab.runs(…).",
    )


def _find(lab: LabDir, run_id: object, known: Sequence[str]) -> str:
    if not isinstance(run_id, str):
        raise InvalidValueError(
            f"{run_id!r} is no id of a run.", fix="Give a text, or a handle: lab.run(…)."
        )
    if run_id in known:
        return run_id
    found = [name for name in known if name.startswith(run_id) or name.endswith(run_id)]
    if len(found) == 1 and run_id:
        return found[0]
    if found and run_id:
        raise RunNotFoundError(
            f"{len(found)} runs are called like {run_id!r}.",
            fix=f"Say which: {', '.join(found[-_SHOWN:])}.",
        )
    if run_id in hidden_run_ids(lab):
        raise RunNotFoundError(
            f"Run {run_id} was deleted.",
            fix=f"lab.undelete({run_id!r}) takes it out of the trash if it is there.",
        )
    raise RunNotFoundError(
        f"{lab.root} keeps no run {run_id!r}.",
        fix=nearest(run_id, known[-_SHOWN:]) + " lab.runs() lists all.",
    )
