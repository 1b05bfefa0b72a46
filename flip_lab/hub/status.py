"""How a hub stands: for ``flip-lab hub status``, whether it is up or not."""

from __future__ import annotations

import fcntl
import shutil
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from flip_lab.core.clock import at_utc, now_s
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.place import HubPlace
from flip_lab.hub.rotation import RENEW_DAYS, certificates_of

_RECENT_S = 120.0
_SCARCE_BYTES = 2**30


@dataclass(frozen=True, kw_only=True)
class HubStatus:
    """How a hub stands.

    Attributes:
        name: What it is called.
        path: Its directory.
        address: What kits name.
        hosts: What its certificate names.
        hosts_to_come: What it names, too, once nodes have changed over.
        is_active: Whether a process is the active hub of this directory.
        active: Which process, since when; empty when there is none.
        num_enrolled: Nodes that are let in.
        num_recent: Those that were seen within two minutes.
        num_revoked: Nodes that are not any more.
        num_open_enrolments: Devices that may still enrol.
        num_tokens: Tokens that open it to people.
        num_runs_under_way: Runs that have not ended.
        server_expires_at: When its certificate ends.
        authority_expires_at: When its newest authority ends.
        is_changing_over: Whether nodes still trust an older authority.
        behind: Nodes that have not fetched the newest one.
        free_bytes: Space on its disk.
    """

    name: str
    path: str
    address: str
    hosts: tuple[str, ...]
    hosts_to_come: tuple[str, ...]
    is_active: bool
    active: str
    num_enrolled: int
    num_recent: int
    num_revoked: int
    num_open_enrolments: int
    num_tokens: int
    num_runs_under_way: int
    server_expires_at: datetime
    authority_expires_at: datetime
    is_changing_over: bool
    behind: tuple[str, ...]
    free_bytes: int

    @property
    def warnings(self) -> tuple[str, ...]:
        """What needs somebody's attention."""
        return _warnings(self)

    def as_json(self) -> dict[str, object]:
        """Give it as plain data; times in ISO 8601."""
        told = {**asdict(self), "warnings": self.warnings}
        return {
            key: each.isoformat() if isinstance(each, datetime) else each
            for key, each in told.items()
        }


def status_of(place: HubPlace) -> HubStatus:
    """Look a hub over.

    Raises:
        HubStateError: If it is none, or a file of it is damaged.
    """
    settings = place.settings()
    with HubDatabase(place) as database:
        nodes = database.nodes.list()
        enrolments = database.enrolments.list()
        tokens = database.tokens.list()
        runs = database.runs.list(limit=1000)
        certificates = certificates_of(place, database)
    enrolled = [node for node in nodes if node.status == "enrolled"]
    recent = now_s() - _RECENT_S
    active = _active(place)
    return HubStatus(
        name=settings.name,
        path=str(place.path),
        address=settings.address,
        hosts=certificates.hosts,
        hosts_to_come=certificates.hosts_to_come,
        is_active=bool(active),
        active=active,
        num_enrolled=len(enrolled),
        num_recent=sum((node.last_seen_s or 0) > recent for node in enrolled),
        num_revoked=len(nodes) - len(enrolled),
        num_open_enrolments=sum(each.state == "open" for each in enrolments),
        num_tokens=sum(token.is_good for token in tokens),
        num_runs_under_way=sum(run.ended_s is None for run in runs) if active else 0,
        server_expires_at=certificates.server_expires_at,
        authority_expires_at=certificates.authority_expires_at,
        is_changing_over=certificates.is_changing_over,
        behind=certificates.behind,
        free_bytes=shutil.disk_usage(place.path).free,
    )


def _warnings(status: HubStatus) -> tuple[str, ...]:
    soon = at_utc(now_s()) + timedelta(days=RENEW_DAYS)
    told: list[str] = []
    if status.server_expires_at < soon:
        told.append(
            f"The certificate ends at {status.server_expires_at:%Y-%m-%d}: flip-lab hub "
            "rotate-certs."
        )
    if status.authority_expires_at < soon + timedelta(days=335):
        told.append(
            f"The authority ends at {status.authority_expires_at:%Y-%m-%d}: flip-lab hub "
            "rotate-certs --ca."
        )
    if status.is_changing_over and not status.behind:
        told.append(
            "Every node trusts the newest authority: flip-lab hub rotate-certs --finish."
        )
    if status.free_bytes < _SCARCE_BYTES:
        told.append(f"Only {status.free_bytes / 2**20:.0f} MiB are free on its disk.")
    return tuple(told)


def _active(place: HubPlace) -> str:
    """Give who holds the hub's lock; empty when nobody does."""
    try:
        with place.active_lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read(200).decode(errors="replace").strip() or "a process"
            return ""
    except FileNotFoundError:
        return ""
