"""What one does with a hub of this machine: tokens, questions, a line in flip-lab.toml."""

from __future__ import annotations

import json
import re
import ssl
from pathlib import Path

import httpx

from flip_lab.hub.database import HubDatabase
from flip_lab.hub.database_tokens import Role
from flip_lab.hub.place import HubPlace, replace_private


class HubContact:
    """A hub whose directory is on this machine.

    Attributes:
        address: Where nodes and runs find the hub, ``host:port``.
        directory: Where everything is: ``hub/``, ``nodes/<name>/`` and ``*.log``.
    """

    def __init__(self, directory: Path) -> None:
        """Know the directory; there need be nothing in it yet."""
        self.address = ""
        self.directory = directory
        self._tokens: dict[Role, str] = {}

    @property
    def place(self) -> HubPlace:
        """The hub's own directory."""
        return HubPlace(self.directory / "hub")

    @property
    def root_certificates(self) -> Path:
        """The authority to trust, a PEM file."""
        return self.place.authorities

    def token(self, role: Role = "researcher") -> str:
        """Give a token with a role: ``viewer``, ``researcher`` or ``admin``."""
        if role not in self._tokens:
            with HubDatabase(self.place) as database:
                _, token = database.tokens.create(role=role, person=f"loopback-{role}")
            self._tokens[role] = token
        return self._tokens[role]

    def client(self, role: Role = "admin") -> httpx.Client:
        """Give an HTTP client that trusts the hub and shows it a token.

        The caller closes it.
        """
        return httpx.Client(
            base_url=f"https://{self.address}",
            headers={"Authorization": f"Bearer {self.token(role)}"},
            verify=ssl.create_default_context(cafile=self.root_certificates),
            timeout=30.0,
            trust_env=False,
        )

    def write_config(self, path: Path, name: str, *, token: str | None = None) -> None:
        """Add this federation to a ``flip-lab.toml``, which may exist.

        One of the same name, as an earlier run of a notebook leaves it, is replaced.

        Args:
            path: The file; one with the token is written beside it.
            name: What ``on=`` shall say: letters, digits, ``-`` and ``_``.
            token: What to show the hub. Default: a researcher's token.
        """
        proof = path.with_name(f"{name}.token")
        replace_private(proof, (token or self.token()).encode())
        values = {
            "address": self.address,
            "root-certificates": str(self.root_certificates),
            "token": proof.name,
        }
        # A JSON string is a TOML string.
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        head = f"[federations.{name}]"
        kept = path.read_text("utf-8") if path.exists() else ""
        kept = re.sub(
            rf"^{re.escape(head)}\n(?:(?!\[).*\n?)*", "", kept, flags=re.MULTILINE
        )
        others = [kept.rstrip("\n"), ""] if kept.strip() else []
        path.write_text("\n".join([*others, head, *lines, ""]), encoding="utf-8")

    def online_nodes(self) -> set[str]:
        """Give the names of the nodes that are online, as the hub says."""
        with self.client() as client:
            rows = client.get("/flip/v1/hub/nodes").raise_for_status().json()["items"]
        return {row["name"] for row in rows if row["is_online"]}

    def is_ready(self) -> bool:
        """Say whether there is an active hub at the address."""
        try:
            with self.client() as client:
                return client.get("/ready").is_success
        except httpx.TransportError:
            return False
