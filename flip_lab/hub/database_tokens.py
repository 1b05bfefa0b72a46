"""The tokens that open a hub to people, each with a role."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from threading import Lock
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from sqlalchemy import Row, insert, select, update

from flip_lab.core.clock import now_s, tick_s
from flip_lab.core.errors import (
    HubStateError,
    NoSuchPlaceError,
    StoreNotWritableError,
    nearest,
)
from flip_lab.hub.database_core import Connections
from flip_lab.hub.database_log import Log
from flip_lab.hub.database_schema import tokens
from flip_lab.hub.secret import is_secret, new_secret
from flip_lab.store.audit_writer import author

Role: TypeAlias = Literal["viewer", "researcher", "admin"]

SCOPES: Mapping[Role, frozenset[str]] = MappingProxyType(
    {
        "viewer": frozenset({"read"}),
        "researcher": frozenset({"read", "write", "drive"}),
        "admin": frozenset({"read", "write", "drive", "admin"}),
    }
)
"""What each role may do."""

_PREFIX = "flip"
_USE_S = 60.0  # how exactly it is known when a token was used last


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """What the hub knows of one token.

    Attributes:
        id: Its public part.
        role: What it may do.
        person: Whose it is, as logs show it.
        created_s: When it was made, seconds since the Unix epoch.
        created_by: Who made it.
        expires_s: When it ends; ``None``: never.
        last_used_s: When it was used last, to the minute; ``None``: never.
        revoked_s: When it was revoked; ``None`` if it was not.
    """

    id: str
    role: Role
    person: str
    created_s: float
    created_by: str
    expires_s: float | None
    last_used_s: float | None
    revoked_s: float | None

    @property
    def is_good(self) -> bool:
        """Whether it still opens anything."""
        return self.revoked_s is None and not (self.expires_s and self.expires_s <= now_s())


class Tokens:
    """The table of tokens.

    Args:
        connections: The database.
        log: Where what people do is written down.
    """

    def __init__(self, connections: Connections, log: Log) -> None:
        """Read nothing yet."""
        self._connections = connections
        self._log = log
        self._turn = Lock()
        self._noted: dict[str, float] = {}  # when it was tried last that a token was used

    def create(
        self, *, role: Role, person: str, expires_s: float | None = None
    ) -> tuple[TokenRecord, str]:
        """Make a token.

        Args:
            role: What it may do.
            person: Whose it is.
            expires_s: When it ends, seconds since the Unix epoch; ``None``: never.

        Returns:
            What is kept of it, and the token itself, which nobody can show again.
        """
        secret = new_secret()
        record = TokenRecord(
            id=secret.id,
            role=role,
            person=person,
            created_s=now_s(),
            created_by=author(),
            expires_s=expires_s,
            last_used_s=None,
            revoked_s=None,
        )
        told = {name: getattr(record, name) for name in _KEPT}
        with self._connections.writing() as connection:
            connection.execute(insert(tokens).values(secret_hash=secret.hash, **told))
            self._log("token_create", {"token": secret.id, "role": role, "person": person})
        return record, f"{_PREFIX}_{secret.id}_{secret.text}"

    def list(self) -> list[TokenRecord]:
        """Give every token, the newest last."""
        with self._connections.reading() as connection:
            rows = connection.execute(select(tokens).order_by(tokens.c.created_s))
            return [_record(row) for row in rows]

    def check(self, token: str) -> TokenRecord | None:
        """Give what the hub knows of a token that somebody shows.

        Returns:
            ``None`` if it is unknown, wrong, expired or revoked.
        """
        prefix, _, rest = token.partition("_")
        token_id, _, secret = rest.partition("_")
        if prefix != _PREFIX or not token_id or not secret:
            return None
        with self._connections.reading() as connection:
            wanted = select(tokens).where(tokens.c.id == token_id)
            row = connection.execute(wanted).one_or_none()
        # An unknown id takes as long as a wrong secret.
        is_right = is_secret(secret, row.secret_hash if row else "-")
        if row is None or not is_right or not (record := _record(row)).is_good:
            return None
        self._used(record)
        return record

    def revoke(self, token_id: str) -> TokenRecord:
        """Let a token open nothing any more.

        Returns:
            What is kept of it.

        Raises:
            NoSuchPlaceError: If no token that is still good has that id.
        """
        with self._connections.writing() as connection:
            mine = (tokens.c.id == token_id) & tokens.c.revoked_s.is_(None)
            changed = update(tokens).where(mine).values(revoked_s=now_s())
            if not connection.execute(changed).rowcount:
                good = select(tokens.c.id).where(tokens.c.revoked_s.is_(None))
                ids = [str(each) for each in connection.execute(good).scalars()]
                raise NoSuchPlaceError(
                    f"No token that could be revoked has the id {token_id!r}.",
                    fix=nearest(token_id, ids),
                )
            self._log("token_revoke", {"token": token_id})
            wanted = select(tokens).where(tokens.c.id == token_id)
            return _record(connection.execute(wanted).one())

    def _used(self, record: TokenRecord) -> None:
        """Keep when a token was used; not each time, for each is a write.

        Neither a full disk keeps anybody out, nor a process that hangs over the database:
        who looks needs no write, and one who waits for it is enough.
        """
        if record.last_used_s is not None and now_s() - record.last_used_s < _USE_S:
            return
        with self._turn:
            if tick_s() - self._noted.get(record.id, -inf) < _USE_S:
                return
            self._noted[record.id] = tick_s()
        mine = update(tokens).where(tokens.c.id == record.id)
        with (
            suppress(StoreNotWritableError, HubStateError),
            self._connections.writing() as connection,
        ):
            connection.execute(mine.values(last_used_s=now_s()))


_KEPT = tuple(TokenRecord.__slots__)


def _record(row: Row[Any]) -> TokenRecord:
    return TokenRecord(**{name: getattr(row, name) for name in _KEPT})
