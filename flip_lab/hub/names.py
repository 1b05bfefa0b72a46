"""What hosts, nodes, people and tags may be called; each refusal says what may."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from flip_lab.core.errors import InvalidValueError
from flip_lab.hub.certificates import is_address

_NODE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,62}")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_WORDS = frozenset({"and", "or", "not"})  # a choice of nodes is written with them
_LONGEST_HOST = 253
_LONGEST_NAME = 64


def checked_node(name: str) -> str:
    """Give a node's name, if it can be one: it becomes part of files and host names.

    Raises:
        InvalidValueError: If it cannot.
    """
    if not _NODE.fullmatch(name):
        raise InvalidValueError(
            f"{name!r:.80} cannot be a node's name.",
            fix="Use 1 to 63 of a-z, 0-9 and -, not at an end: st-mary-1",
        )
    return name


def checked_tags(tags: Iterable[str]) -> list[str]:
    """Give tags, sorted and each once, if they can be tags.

    Raises:
        InvalidValueError: If one cannot: cohorts are chosen with words such as
            ``eu and not slow``.
    """
    found = sorted({tag.strip() for tag in tags})
    for tag in found:
        if not _TAG.fullmatch(tag) or tag.lower() in _WORDS:
            raise InvalidValueError(
                f"{tag!r:.80} cannot be a tag.",
                fix="Use 1 to 63 of A-Z, a-z, 0-9, _ . : and -, beginning with a letter, "
                "digit or _; and, or and not are taken.",
            )
    return found


def checked_hosts(hosts: Sequence[str]) -> tuple[str, ...]:
    """Give hosts as certificates name them: lower case, each once.

    Raises:
        InvalidValueError: If there are none, or one is no DNS name and no IP address.
    """
    found = tuple(dict.fromkeys(host.strip().lower().strip("[]") for host in hosts))
    for host in found:
        labels = host.split(".")
        is_name = len(host) <= _LONGEST_HOST and all(map(_LABEL.fullmatch, labels))
        is_number = labels[-1].isdecimal()  # what looks like an address must be one
        if not is_address(host) and (not is_name or is_number):
            raise InvalidValueError(
                f"{host!r:.80} is no host.",
                fix="Give a DNS name or an IP address, without https:// and without a "
                "port: --host hub.example.org",
            )
    if not found:
        raise InvalidValueError(
            "A hub needs a host that nodes reach it by.", fix="Give --host NAME."
        )
    return found


def checked_person(name: str) -> str:
    """Give a person's name, as logs will show it.

    Raises:
        InvalidValueError: If it is empty, too long, or does not print.
    """
    shown = name.strip()
    if not shown or len(shown) > _LONGEST_NAME or not shown.isprintable():
        raise InvalidValueError(
            f"{name!r:.80} cannot be a person's name.",
            fix=f"Use 1 to {_LONGEST_NAME} characters on one line.",
        )
    if shown.startswith("node "):
        raise InvalidValueError(
            f"{shown!r} reads as if a node had done it.", fix="Choose another name."
        )
    return shown
