"""The hub as a federation of its own lab: what runs that go on without a laptop drive.

Their processes are drivers like all others: they come through the front door with a token.
"""

from __future__ import annotations

import json

from flip_lab.engines.federations import FILE_NAME
from flip_lab.hub.database_tokens import Tokens
from flip_lab.hub.place import HubPlace, replace_private
from flip_lab.store.layout import explained, write_atomic

NAME = "hub"
"""What ``on=`` says in a hub's own lab; also the person that its token stands for."""

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104  # what is listened on


def write_own_federation(place: HubPlace, tokens: Tokens, host: str, port: int) -> None:
    """Let the hub's own lab find the hub, where it listens now.

    The token is made once and kept in the lab, for the hub's own eyes.

    Args:
        place: The hub's directory.
        tokens: The tokens that the hub knows.
        host: Where it listens.
        port: Its port.

    Raises:
        StoreNotWritableError: If the lab cannot be written.
    """
    proof = place.lab / f"{NAME}.token"
    with explained(proof):
        known = proof.read_text("ascii") if proof.is_file() else ""
        if not known or tokens.check(known) is None:
            _, token = tokens.create(role="researcher", person=NAME)
            replace_private(proof, token.encode())
    values = {
        "address": f"{_ANYWHERE.get(host, f'[{host}]' if ':' in host else host)}:{port}",
        "root-certificates": str(place.authorities),
        "token": proof.name,
    }
    # A JSON string is a TOML string.
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    text = "\n".join([f"[federations.{NAME}]", *lines, ""])
    write_atomic(place.lab / FILE_NAME, text.encode())
