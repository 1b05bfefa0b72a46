"""Tokens that open the hub to people."""

from __future__ import annotations

from fastapi import APIRouter

from flip_lab.api.documents import told
from flip_lab.hub.answers import TokenMade, TokenRow, Tokens
from flip_lab.hub.routes.strict_json import StrictRoute
from flip_lab.hub.service import HubAdmin, TheHub
from flip_lab.hub.tokens import list_tokens, make_token, revoke_token
from flip_lab.hub.wishes import TokenWish

router = APIRouter(prefix="/hub/tokens", tags=["tokens"], route_class=StrictRoute)


@router.get("", responses=told())
def hub_tokens(hub: TheHub, person: HubAdmin) -> Tokens:
    """List every token with its role; never the tokens themselves."""
    del person
    return list_tokens(hub.database)


@router.post("", status_code=201, responses=told(422))
def make_hub_token(wish: TokenWish, hub: TheHub, person: HubAdmin) -> TokenMade:
    """Make a token; this answer alone shows it."""
    del person
    return make_token(hub.database, wish)


@router.delete("/{token_id}", responses=told(404))
def revoke_hub_token(token_id: str, hub: TheHub, person: HubAdmin) -> TokenRow:
    """Let a token open nothing any more; it takes two seconds at most."""
    del person
    return revoke_token(hub.database, token_id)
