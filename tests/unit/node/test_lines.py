"""Lines to a hub: whom they trust, and how much they take from whoever answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flip_lab.core.errors import DeviceError, FederationUnreachableError, HubStateError
from flip_lab.hub.rotation import begin, finish
from flip_lab.node import hub_line
from flip_lab.node.config import NodeConfig
from flip_lab.node.deliveries_line import SignedLine
from flip_lab.node.enrol import enrol_node
from flip_lab.node.hub_line import HubLine
from flip_lab.node.trust import context_for

if TYPE_CHECKING:
    from conftest import DeviceHub


@pytest.fixture
def node(device_hub: DeviceHub, tmp_path: Path) -> NodeConfig:
    """Give a node of the hub."""
    token = device_hub.token()
    return enrol_node(token, hub=device_hub.address, directory=tmp_path / "n")


def test_a_line_takes_up_a_new_authority(device_hub: DeviceHub, node: NodeConfig) -> None:
    """The old authority is gone for good: a line that was open before goes on asking."""
    place = device_hub.place
    with SignedLine(node) as line:
        assert line.ask("GET", "/health")["status"] == "ok"
        begin(place)
        (node.directory / "ca.crt").write_bytes(place.authorities.read_bytes())
        finish(place, device_hub.database, force=True)
        device_hub.serve_as(place.server_certificate, place.server_key)
        assert line.ask("GET", "/health")["status"] == "ok"
        with line.parts("/health", after_bytes=0) as parts:
            assert b"ok" in b"".join(parts)


def test_a_line_believes_nobody_else(
    device_hub: DeviceHub, node: NodeConfig, tmp_path: Path
) -> None:
    """A hub with an authority that the node was not told of is none."""
    with SignedLine(node) as line:
        begin(device_hub.place)
        finish(device_hub.place, device_hub.database, force=True)
        place = device_hub.place
        device_hub.serve_as(place.server_certificate, place.server_key)
        with pytest.raises(FederationUnreachableError, match="not the hub's"):
            line.ask("GET", "/health")
        (node.directory / "ca.crt").rename(tmp_path / "away")
        with pytest.raises(HubStateError, match="who the hub is"):
            line.ask("GET", "/health")


def test_an_answer_without_end_is_not_taken(
    device_hub: DeviceHub, node: NodeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger answers a device's first question: it fills no memory."""
    monkeypatch.setattr(hub_line, "_LARGEST_BYTES", 100)
    context = context_for(node.directory / "ca.crt")
    with (
        HubLine(device_hub.address, context) as line,
        pytest.raises(DeviceError, match="more than 100 bytes"),
    ):
        line.content("GET", "/flip/v1/device/ca")
