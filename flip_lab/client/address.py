"""Where the API of a lab is: the addresses that people have at hand, read as one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import parse_qs, unquote, urlsplit

from flip_lab.core.errors import InvalidValueError

DEFAULT_URL = "http://127.0.0.1:8765"
"""Where ``flip-lab serve`` listens unless told otherwise."""

_VERSION = re.compile(r"/v1$")
_PAGES = re.compile(r"/(lab|tree|notebooks|doc|consoles|edit)(/.*)?$")
"""Pages of JupyterLab and Notebook: what stands before them is the server's base path."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where to ask, and with which token.

    Attributes:
        url: Scheme, host and path as people gave them, without the token; for messages.
        origin: Scheme, host and port, such as ``https://host:8888``.
        bases: Paths before ``/v1`` that the API may have, likeliest first.
        token: Opens the API; empty where none is needed.
        socket: The Unix socket to ask through; ``None`` for a host.
    """

    url: str
    origin: str
    bases: tuple[str, ...]
    token: str = field(default="", repr=False)
    socket: str | None = None

    @property
    def is_here(self) -> bool:
        """Whether it is this machine, which no proxy leads to."""
        host = urlsplit(self.origin).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:  # a name
            return host == "localhost"


def is_address(text: str) -> bool:
    """Say whether a text is an address of an API, not a directory of a lab."""
    return text.startswith(("http://", "https://", "unix://"))


def read_address(url: str | None = None, token: str | None = None) -> Address:
    """Read an address as people have it.

    Args:
        url: Of ``flip-lab serve``; of a Jupyter server, copied from its page or its log,
            with its token; or ``unix:///path/of/a/socket``. Default: ``FLIP_LAB_URL``,
            else where ``flip-lab serve`` listens.
        token: Opens the API. Default: the URL's own, else ``FLIP_LAB_TOKEN``.

    Raises:
        InvalidValueError: If it is no such address.
    """
    given = url or os.environ.get("FLIP_LAB_URL") or DEFAULT_URL
    parts = urlsplit(given)
    [shown] = parse_qs(parts.query).get("token", [""])[-1:]
    secret = token or shown or os.environ.get("FLIP_LAB_TOKEN") or ""
    if not secret.isprintable() or not secret.isascii():
        raise InvalidValueError(
            "The token holds characters that no token has.",
            fix="Copy it again, on one line: flip-lab serve prints it when it starts.",
        )
    if parts.scheme == "unix" and parts.path and not parts.netloc:
        return Address(
            url=f"unix://{parts.path}",
            origin="http://localhost",
            bases=("/flip", ""),
            token=secret,
            socket=unquote(parts.path),
        )
    if parts.scheme not in {"http", "https"} or not _has_place(given):
        raise InvalidValueError(
            f"{given!r} is no address of a lab.",
            fix=f"Give one such as {DEFAULT_URL}, a Jupyter server's URL with its token, "
            "or unix:///path/of/a/socket.",
        )
    place = parts.netloc.rpartition("@")[2]
    path = _PAGES.sub("", parts.path.rstrip("/"))
    path = _VERSION.sub("", path)
    return Address(
        url=f"{parts.scheme}://{place}{path}",
        origin=f"{parts.scheme}://{place}",
        bases=(path,) if path.endswith("/flip") else (f"{path}/flip", path),
        token=secret,
    )


def _has_place(url: str) -> bool:
    """Say whether a URL names a host, and a port that there can be if it names one."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
