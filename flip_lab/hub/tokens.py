"""Tokens for people: made, listed and revoked."""

from __future__ import annotations

from typing import cast, get_args

from flip_lab.core.clock import at_utc, now_s
from flip_lab.core.errors import InvalidValueError, nearest
from flip_lab.hub.answers import TokenMade, TokenRow, Tokens
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.database_tokens import Role, TokenRecord
from flip_lab.hub.names import checked_person
from flip_lab.hub.wishes import TokenWish


def make_token(database: HubDatabase, wish: TokenWish) -> TokenMade:
    """Make a token for somebody.

    Args:
        database: The hub's.
        wish: Whose, for what, and for how long.

    Raises:
        InvalidValueError: If there is no such role, nobody can be called so, or the time
            is none.
    """
    if wish.role not in (roles := get_args(Role)):
        raise InvalidValueError(
            f"There is no role {wish.role!r}.", fix=nearest(wish.role, roles)
        )
    record, token = database.tokens.create(
        role=cast("Role", wish.role),
        person=checked_person(wish.person),
        expires_s=None if wish.lifetime_s is None else ends_at(wish.lifetime_s),
    )
    return TokenMade(**_row(record).model_dump(), token=token)


def list_tokens(database: HubDatabase) -> Tokens:
    """List every token; never the tokens themselves."""
    return Tokens(items=[_row(record) for record in database.tokens.list()])


def revoke_token(database: HubDatabase, token_id: str) -> TokenRow:
    """Let a token open nothing any more.

    Args:
        database: The hub's.
        token_id: Its public part.

    Raises:
        NoSuchPlaceError: If no token that is still good has that id.
    """
    return _row(database.tokens.revoke(token_id))


def ends_at(lifetime_s: float) -> float:
    """Give when something ends that begins now, seconds since the Unix epoch.

    Args:
        lifetime_s: From a second to ten years.

    Raises:
        InvalidValueError: If it is shorter or longer, or no number.
    """
    if not 1 <= lifetime_s <= _LONGEST_S:
        raise InvalidValueError(
            f"{lifetime_s:g} seconds is no lifetime.",
            fix="Give one from a second to ten years, such as 24h or 30d.",
        )
    return now_s() + lifetime_s


_LONGEST_S = 10 * 366 * 86400.0


def _row(record: TokenRecord) -> TokenRow:
    used_s, expires_s = record.last_used_s, record.expires_s
    return TokenRow(
        id=record.id,
        role=record.role,
        person=record.person,
        state="revoked" if record.revoked_s else "good" if record.is_good else "expired",
        created_at=at_utc(record.created_s),
        created_by=record.created_by,
        expires_at=None if expires_s is None else at_utc(expires_s),
        last_used_at=None if used_s is None else at_utc(used_s),
    )
