"""What runs on real devices recorded of their nodes, as frames to learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from flip_lab.analysis.fleet_times import with_own_times, with_waits
from flip_lab.core.errors import TwinError
from flip_lab.core.events import EventKind, RunEvent, in_force
from flip_lab.core.fleet import RecordedRun
from flip_lab.core.policy import LATE, NEVER_CAME

_CLIENTS = {
    "run_id": "str",
    "server_round": np.int64,
    "phase": "str",
    "partition_id": np.int64,
    "num_examples": np.float64,
    "num_bytes": np.float64,
    "sent_s": np.float64,
    "began_s": np.float64,
    "duration_s": np.float64,
    "node_s": np.float64,
    "failed": np.bool_,
    "is_late": np.bool_,
    "is_first": np.bool_,
}
_ROUNDS = {
    "run_id": "str",
    "server_round": np.int64,
    "duration_s": np.float64,
    "ended_s": np.float64,
}
_OUTAGES = {"partition_id": np.int64, "from_s": np.float64, "to_s": np.float64}


@dataclass(frozen=True, kw_only=True)
class FleetFacts:
    """What some runs recorded of a fleet.

    Attributes:
        clients: One row a message: ``run_id``, ``server_round``, ``phase``,
            ``partition_id`` (the node's id where it never told its partition),
            ``num_examples`` (NaN if late), ``num_bytes`` (down and up), ``sent_s`` and
            ``began_s`` (seconds since the Unix epoch), ``duration_s`` (from dispatch until
            the reply is on record; NaN where none ever came), ``own_s`` (the same, but from
            when the node was done with its message before), ``node_s`` (what the node says
            it worked; NaN where it says nothing), ``failed``, ``is_late`` (its round had
            closed), ``is_first`` (of the node, in this run).
        rounds: One row a round that ended: ``run_id``, ``server_round``, ``duration_s``
            (pauses aside), ``ended_s``, ``waited_s`` (for nodes).
        outages: One row each time that a node was away: ``partition_id``, ``from_s``,
            ``to_s``.
        watched_s: Seconds that the runs went on.
        num_disturbed: Messages left out because the hub was away meanwhile.
    """

    clients: pd.DataFrame
    rounds: pd.DataFrame
    outages: pd.DataFrame
    watched_s: float
    num_disturbed: int = 0

    @property
    def answered(self) -> pd.DataFrame:
        """The messages that were answered well, in time or late."""
        silent = self.clients["duration_s"].isna()
        return self.clients[~self.clients["failed"] & ~silent]

    def between(self, first: int, last: int) -> FleetFacts:
        """Keep what happened in these rounds, both ends included."""
        kept = {
            name: frame[frame["server_round"].between(first, last)]
            for name, frame in (("clients", self.clients), ("rounds", self.rounds))
        }
        return FleetFacts(
            **kept,
            outages=self.outages,
            watched_s=self.watched_s,
            num_disturbed=self.num_disturbed,
        )


def workload_of(events: Sequence[RunEvent]) -> pd.DataFrame:
    """Say what a run, simulated or real, asked of whom.

    Args:
        events: All its events.

    Returns:
        ``server_round``, ``phase``, ``partition_id``, ``num_examples``, ``num_bytes`` (NaN
        where the client did not tell), ``is_first`` and ``is_counted`` (whether its reply
        was good, and in time), one row a message; no times.
    """
    rows = _client_rows("", in_force(events))
    names = ("server_round", "phase", "partition_id", "num_examples", "num_bytes")
    frame = _framed(rows, _CLIENTS)
    counted = ~frame["failed"] & ~frame["is_late"]
    return frame[[*names, "is_first"]].assign(is_counted=counted)


def facts_of(runs: Sequence[RecordedRun]) -> FleetFacts:
    """Read what runs on real devices recorded.

    Args:
        runs: At least one.

    Raises:
        TwinError: If one of them was simulated, or tells nothing of single clients.
    """
    if not runs:
        raise TwinError("No run to learn from.", fix="Pass a run on real devices.")
    read = [_facts_of_run(run) for run in runs]
    return FleetFacts(
        clients=pd.concat([facts.clients for facts in read], ignore_index=True),
        rounds=pd.concat([facts.rounds for facts in read], ignore_index=True),
        outages=pd.concat([facts.outages for facts in read], ignore_index=True),
        watched_s=sum(facts.watched_s for facts in read),
        num_disturbed=sum(facts.num_disturbed for facts in read),
    )


def _facts_of_run(run: RecordedRun) -> FleetFacts:
    events = in_force(run.events())
    rows = _client_rows(run.run_id, events)
    if not rows:
        raise TwinError(
            f"Run {run.run_id} tells nothing of single clients.",
            fix="Take a run that this lab launched: other tools record whole rounds only.",
        )
    if run.spec.federation is None:
        raise TwinError(
            f"Run {run.run_id} was simulated: its times are those of this machine.",
            fix="Launch it on a federation (on=…), and learn from that run.",
        )
    clients = with_own_times(_framed(rows, _CLIENTS))
    disturbed = _during(clients, _spans(events, "hub_lost", "hub_back", by_node=False))
    rounds = [
        (run.run_id, event.server_round, _number(event.body, "duration_s"), event.time_s)
        for event in events
        if event.kind is EventKind.ROUND_ENDED
    ]
    lost = clients.loc[disturbed, ["server_round"]].to_numpy().ravel().tolist()
    ended = _framed([row for row in rounds if row[1] not in set(lost)], _ROUNDS)
    kept = clients[~disturbed]
    times = [event.time_s for event in events]
    return FleetFacts(
        clients=kept,
        rounds=with_waits(ended, kept, run.spec.policy),
        outages=_framed(_spans(events, "node_lost", "node_back", by_node=True), _OUTAGES),
        watched_s=max(times) - min(times),
        num_disturbed=int(disturbed.sum()),
    )


def _client_rows(run_id: str, events: Sequence[RunEvent]) -> list[tuple[Any, ...]]:
    sent_s: dict[tuple[int, object], float] = {}
    seen: set[int] = set()
    rows: list[tuple[Any, ...]] = []
    for event in events:
        body, phase = event.body, event.body.get("phase")
        exchange = event.server_round, phase
        if event.kind is EventKind.DISPATCHED:
            sent_s[exchange] = event.time_s
        if event.kind is not EventKind.CLIENT or phase == "query":
            continue
        node = _node_of(body)
        since_s = sent_s.get(exchange, _number(body, "started_s"))
        rows.append((run_id, event.server_round, *_told(event, since_s), node not in seen))
        seen.add(node)
    return rows


def _told(event: RunEvent, sent_s: float) -> tuple[Any, ...]:
    """Give what one client's fact says, in the order of the columns."""
    body = event.body
    is_late = body["error_code"] == LATE
    failed = bool(body["error_code"]) and not is_late
    up, began_s, told_s = (
        _number(body, name) for name in ("bytes_up", "started_s", "duration_s")
    )
    took_s = event.time_s - sent_s
    never_came = is_late and str(body["error"]).startswith(NEVER_CAME)
    if is_late:  # nobody looked for it: it may have been found long after it came
        took_s = float("nan") if never_came else began_s + told_s - sent_s
    return (
        body["phase"],
        _node_of(body),
        float("nan") if is_late or failed else _number(body, "num_examples"),
        float("nan")
        if failed or (is_late and not up)
        else _number(body, "bytes_down") + up,
        sent_s,
        began_s,
        took_s,
        told_s,
        failed,
        is_late,
    )


def _spans(
    events: Sequence[RunEvent], begin: str, end: str, *, by_node: bool
) -> list[tuple[int, float, float]]:
    """Pair warnings that something went away with those that it is back."""
    since: dict[int, float] = {}
    spans: list[tuple[int, float, float]] = []
    for event in events:
        code = event.body.get("code") if event.kind is EventKind.WARNING else None
        if code not in {begin, end}:
            continue
        node = _node_of(event.body) if by_node else 0
        if code == begin:
            since.setdefault(node, event.time_s)
        elif node in since:
            spans.append((node, since.pop(node), event.time_s))
    last_s = max((event.time_s for event in events), default=0.0)
    return spans + [(node, from_s, last_s) for node, from_s in since.items()]


def _during(
    clients: pd.DataFrame, spans: Sequence[tuple[int, float, float]]
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    begin = clients["sent_s"].to_numpy(dtype=np.float64)
    end = begin + clients["duration_s"].to_numpy(dtype=np.float64)
    inside = np.zeros(begin.size, np.bool_)
    for _, from_s, to_s in spans:
        inside |= (begin < to_s) & (end > from_s)
    return inside


def _node_of(body: Mapping[str, Any]) -> int:
    partition_id = body.get("partition_id")
    known = isinstance(partition_id, int) and partition_id >= 0
    # a node id has 64 bits, of which a column of whole numbers has 63
    return partition_id if known else int(body.get("node_id") or 0) % 2**63  # pyright: ignore[reportReturnType]  # an int, as known says


def _number(body: Mapping[str, Any], name: str) -> float:
    value = body.get(name)
    return float(value) if isinstance(value, int | float) else float("nan")


def _framed(rows: Sequence[tuple[Any, ...]], columns: Mapping[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(columns)).astype(dict(columns))
