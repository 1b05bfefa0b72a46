"""The nodes of a loopback hub: made at its side, so that nothing need be up for that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flip_lab.hub.database import HubDatabase
from flip_lab.hub.enrolment import enrol, make_enrolment
from flip_lab.hub.place import HubPlace
from flip_lab.hub.wishes import EnrolmentWish
from flip_lab.node.config import NodeConfig, load_node, write_node
from flip_lab.node.identity import new_identity, write_identity
from flip_lab.node.messages import EnrolAsk
from flip_lab.node.status import read_status
from flip_lab.node.versions import versions_here


@dataclass(frozen=True, kw_only=True)
class HubNode:
    """One node of a loopback hub.

    Attributes:
        name: What the hub calls it.
        node_id: Flower's id of it.
        partition_id: The slice of the data that it holds, 0-based.
        directory: Its own directory, with ``node.toml``, ``node.log`` and ``status.json``.
        process_id: Its process, 0 while it has none.
    """

    name: str
    node_id: int
    partition_id: int
    directory: Path
    process_id: int = 0


def enrolled_node(
    place: HubPlace, address: str, directory: Path, config: Mapping[str, int]
) -> HubNode:
    """Make a node's directory, with a key that the hub lets in.

    Args:
        place: The hub.
        address: Where the node will find it, ``host:port``.
        directory: The node's directory, whose name becomes the node's.
        config: Flower's node configuration.
    """
    identity = new_identity()
    with HubDatabase(place) as database:
        wish = EnrolmentWish(name=directory.name, config=dict(config))
        token = make_enrolment(place, database, wish).token
        here = versions_here()
        asked = EnrolAsk(
            token=token,
            public_key=identity.public_key,
            flip_lab=here.flip_lab,
            flower=here.flower,
            python=here.python,
        )
        answer = enrol(place, database, asked)
    write_node(
        directory,
        NodeConfig(name=answer.name, hub=address, directory=directory, config=config),
    )
    write_identity(directory, identity)
    (directory / "ca.crt").write_text(answer.authorities, "ascii")
    (directory / "hub.pub").write_text(answer.signing_key, "ascii")
    return HubNode(
        name=answer.name,
        node_id=int(answer.node_id),
        partition_id=config["partition-id"],
        directory=directory,
    )


def is_let_in(node: HubNode) -> bool:
    """Say whether the node's process, and no earlier one, knows that its hub let it in."""
    status = read_status(load_node(node.directory).status_file)
    told = status and (status.process_id, status.state)
    return told == (node.process_id, "online")


def change_settings(directory: Path, options: Mapping[str, Any]) -> None:
    """Change what a ``node.toml`` says, as its site would; counts from the next start.

    Args:
        directory: The node's directory.
        options: Attributes of ``NodeConfig``, such as ``allow=("any",)``.
    """
    if options:
        write_node(directory, replace(load_node(directory), **options))
