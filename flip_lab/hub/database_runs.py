"""Which person started which run at a hub: only they may drive it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select, update

from flip_lab.core.clock import now_s
from flip_lab.hub.database_core import Connections
from flip_lab.hub.database_log import Log
from flip_lab.hub.database_schema import runs


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRunRecord:
    """What the hub knows of one run.

    Attributes:
        flower_run_id: Flower's id of it; unique since the active hub was started.
        fab_sha256: Hash of its FAB, 64 hexadecimal digits.
        run_id: Our id of it; empty for what other drivers start.
        person: Who started it.
        is_detached: Whether its driver runs on the hub's machine.
        started_s: When, seconds since the Unix epoch.
        ended_s: When it ended; ``None`` while it goes on.
        outcome: How it ended, such as ``"completed"``; ``None`` while it goes on.
    """

    flower_run_id: int
    fab_sha256: str
    run_id: str
    person: str
    is_detached: bool
    started_s: float
    ended_s: float | None
    outcome: str | None


class Runs:
    """The table of runs.

    Args:
        connections: The database.
        log: Where what people do is written down.
    """

    def __init__(self, connections: Connections, log: Log) -> None:
        """Read nothing yet."""
        self._connections = connections
        self._log = log

    def started(
        self,
        *,
        flower_run_id: int,
        fab_sha256: str,
        person: str,
        run_id: str = "",
        is_detached: bool = False,
    ) -> None:
        """Keep that somebody started a run."""
        told = {
            "flower_run_id": str(flower_run_id),
            "fab_sha256": fab_sha256,
            "run_id": run_id,
            "person": person,
            "is_detached": is_detached,
        }
        with self._connections.writing() as connection:
            connection.execute(insert(runs).values(started_s=now_s(), **told))
            self._log("run_start", told)

    def ended(self, flower_run_id: int, outcome: str) -> None:
        """Keep how a run ended; the first end counts."""
        mine = (runs.c.flower_run_id == str(flower_run_id)) & runs.c.ended_s.is_(None)
        end = {"ended_s": now_s(), "outcome": outcome}
        with self._connections.writing() as connection:
            connection.execute(update(runs).where(mine).values(end))

    def end_all(self, outcome: str) -> None:
        """Keep that no run of an earlier start goes on: a hub forgets them when it ends."""
        end = {"ended_s": now_s(), "outcome": outcome}
        with self._connections.writing() as connection:
            connection.execute(update(runs).where(runs.c.ended_s.is_(None)).values(end))

    def of_fab(self, fab_sha256: str) -> HubRunRecord | None:
        """Give the newest run of a FAB; ``None`` if nobody started one."""
        return self._newest(runs.c.fab_sha256 == fab_sha256)

    def of_flower_run(self, flower_run_id: int) -> HubRunRecord | None:
        """Give the newest run with Flower's id; ``None`` if nobody started one."""
        return self._newest(runs.c.flower_run_id == str(flower_run_id))

    def list(self, *, limit: int = 100) -> list[HubRunRecord]:
        """Give the newest runs, the newest first."""
        wanted = select(runs).order_by(runs.c.id.desc()).limit(limit)
        with self._connections.reading() as connection:
            return [_record(row) for row in connection.execute(wanted)]

    def _newest(self, which: Any) -> HubRunRecord | None:  # noqa: ANN401  # a condition
        wanted = select(runs).where(which).order_by(runs.c.id.desc()).limit(1)
        with self._connections.reading() as connection:
            row = connection.execute(wanted).one_or_none()
            return None if row is None else _record(row)


_KEPT = tuple(HubRunRecord.__slots__)


def _record(row: Row[Any]) -> HubRunRecord:
    told: dict[str, Any] = {name: getattr(row, name) for name in _KEPT}
    told["flower_run_id"] = int(told["flower_run_id"])
    return HubRunRecord(**told)
