"""Kill -9 at random instants, again and again: nothing that was kept may go or come twice.

Whoever is killed is a forked process that writes, seals, merges or reads. What was
acknowledged is noted in a file beside the lab, after the store said so. After each kill
another process asks the lab for all events.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np

from flip_lab.core.errors import FlipLabError
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.store import kept, query
from flip_lab.store.compaction import compact
from flip_lab.store.journal import JournalWriter
from flip_lab.store.layout import LabDir, open_lab
from flip_lab.store.manifest import read_manifest

_BATCH = 20
_LONGEST_S = {"writer": 0.1, "compactor": 0.3, "merger": 0.8, "reader": 0.3}
_TRIALS_IN_A_LAB = 25
_START_S = 60.0


@dataclass(slots=True)
class Toll:
    """What the kills cost.

    Attributes:
        acknowledged: Rows that the store said it had kept, by lab.
        lost: Those of them that were not there afterwards.
        doubled: Rows that were there twice.
        unreadable: Labs that could not be read, with the reason.
        killed: How many were alive when the signal came, by what they did.
    """

    acknowledged: dict[Path, int] = field(default_factory=dict[Path, int])
    lost: int = 0
    doubled: int = 0
    unreadable: list[str] = field(default_factory=list[str])
    killed: dict[str, int] = field(default_factory=dict[str, int])


def measure(folder: Path, *, trials: int) -> dict[str, Any]:
    """Kill so many times, the roles in turn.

    Args:
        folder: Where the labs lie.
        trials: How many kills.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "store_kills", "pyarrow"])
    generator = np.random.default_rng()
    toll = Toll()
    labs: dict[str, LabDir] = {}
    for trial in range(trials):
        role = [*_ROLES][trial % len(_ROLES)]
        if trial // len(_ROLES) % _TRIALS_IN_A_LAB == 0:
            labs[role] = open_lab(folder / f"{role}-{trial}")
        lab = labs[role]
        prefix = f"t{trial:05}"
        _prepare(role, lab, prefix)
        is_at_it = context.Event()
        process = context.Process(target=_act, args=(role, lab, prefix, is_at_it))
        process.start()
        if not is_at_it.wait(_START_S):
            raise RuntimeError(f"The {role} ended with an error before it was killed.")
        time.sleep(float(generator.uniform(0.0, _LONGEST_S[role])))
        was_alive = process.is_alive()
        process.kill()
        process.join()
        process.close()
        toll.killed[role] = toll.killed.get(role, 0) + was_alive
        _check(lab, toll)
    return {
        "kill9_trials": sum(toll.killed.values()),
        "kill9_by_role": toll.killed,
        "kill9_rows_acknowledged": sum(toll.acknowledged.values()),
        "kill9_rows_lost": toll.lost,
        "kill9_rows_doubled": toll.doubled,
        "kill9_unreadable": len(toll.unreadable),
        "kill9_reasons": toll.unreadable[:3],
    }


def _act(role: str, lab: LabDir, prefix: str, is_at_it: Event) -> None:
    is_at_it.set()
    _ROLES[role](lab, prefix)


def _check(lab: LabDir, toll: Toll) -> None:
    """Ask for everything, as a process that has never looked before."""
    kept.forget(lab)
    try:
        rows = query.sql(lab, "SELECT run_id, sequence FROM events", as_="rows")
    except FlipLabError as error:
        toll.unreadable.append(str(error))
        return
    found = [(row["run_id"], row["sequence"]) for row in rows]
    told = _acknowledged(lab)
    toll.acknowledged[lab.root] = len(told)
    toll.lost += len(told - set(found))
    toll.doubled += len(found) - len(set(found))


def _note_path(lab: LabDir) -> Path:
    return lab.root / "acknowledged"


def _acknowledged(lab: LabDir) -> set[tuple[str, int]]:
    """Read what was noted: whole lines of a run and the sequences it has."""
    found: set[tuple[str, int]] = set()
    try:
        lines = _note_path(lab).read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        return found
    for line in lines:
        run_id, first, number = line.split()
        found |= {(run_id, int(first) + place) for place in range(int(number))}
    return found


def _keep(lab: LabDir, run_id: str, num_batches: int | None) -> None:
    """Write a run, and note each batch once it is kept."""
    body = {"phase": "train", "scope": "central", "name": "loss", "value": 1.5}
    note = os.open(_note_path(lab), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with closing(JournalWriter(lab, run_id)) as writer:
        for batch in count() if num_batches is None else range(num_batches):
            first = batch * _BATCH
            writer.append(
                RunEvent(
                    run_id=run_id,
                    sequence=sequence,
                    time_s=1.0,
                    server_round=sequence,
                    kind=EventKind.METRIC,
                    body=body,
                )
                for sequence in range(first, first + _BATCH)
            )
            os.write(note, f"{run_id} {first} {_BATCH}\n".encode())
    os.close(note)


def _unsealed(lab: LabDir) -> list[str]:
    closed = read_manifest(lab).closed_runs
    return sorted({path.name for path in lab.live.iterdir()} - closed)


def _prepare(role: str, lab: LabDir, prefix: str) -> None:
    """Give whoever will be killed something to do."""
    if role in {"compactor", "reader"}:
        for number in range(4):
            _keep(lab, f"{prefix}-{number}", 5)
    if role == "reader":
        compact(lab, _unsealed(lab), grace_s=0.0)


def _write(lab: LabDir, prefix: str) -> None:
    _keep(lab, prefix, None)


def _seal(lab: LabDir, prefix: str) -> None:
    for number in count(4):
        compact(lab, _unsealed(lab), grace_s=0.0)
        _keep(lab, f"{prefix}-{number}", 5)


def _merge(lab: LabDir, prefix: str) -> None:
    for number in count():
        _keep(lab, f"{prefix}-{number}", 1)
        compact(lab, _unsealed(lab), grace_s=0.0)


def _read(lab: LabDir, prefix: str) -> None:
    while True:
        kept.forget(lab)
        query.sql(
            lab, "SELECT count(*) FROM events WHERE run_id >= ?", [prefix], as_="rows"
        )


_ROLES: dict[str, Callable[[LabDir, str], None]] = {
    "writer": _write,
    "compactor": _seal,
    "merger": _merge,
    "reader": _read,
}
