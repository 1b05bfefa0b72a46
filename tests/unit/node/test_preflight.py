"""Preflight: each thing that can be wrong is a line with what to do."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import yaml
from typer.testing import CliRunner

from flip_lab.cli.main import app
from flip_lab.core.errors import HubStateError
from flip_lab.node import preflight_site
from flip_lab.node.config import (
    DataSource,
    NodeLimits,
    ServeSettings,
    load_node,
    write_node,
)
from flip_lab.node.enrol import enrol_node
from flip_lab.node.identity import load_identity
from flip_lab.node.preflight import check_node
from flip_lab.node.preflight_report import Check
from flip_lab.node.units import compose_file, unit_of

if TYPE_CHECKING:
    from conftest import DeviceHub


@pytest.fixture
def node(device_hub: DeviceHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the directory of a node that is ready; nothing heavy is imported for it."""
    monkeypatch.setattr(preflight_site, "_NEEDED", ("json",))
    token = device_hub.token(tags=["eu"])
    return enrol_node(token, hub=device_hub.address, directory=tmp_path / "n").directory


def found(directory: Path, app: Path | None = None) -> dict[str, Check]:
    """Look a node over; give the checks by name."""
    return {check.name: check for check in check_node(directory, app=app).checks}


def wrong(directory: Path, app: Path | None = None) -> set[str]:
    """Look a node over; give the names of what is wrong, all of it with a fix."""
    report = check_node(directory, app=app)
    assert all(check.fix for check in report.wrong)
    return {check.name for check in report.wrong}


def test_a_good_node_is_ready(node: Path) -> None:
    """Nothing is wrong, and each check says what it saw."""
    report = check_node(node)
    assert not report.wrong
    names = [check.name for check in report.checks]
    assert names == [
        "settings",
        "key",
        "hub and TLS",
        "clock",
        "versions",
        "admission",
        "limits",
        "imports",
        "data",
        "disk",
    ]
    assert all(check.found for check in report.checks)
    assert "eu" in found(node)["admission"].found


def test_no_node_is_one_line(tmp_path: Path) -> None:
    """Where there is no node nothing else is checked."""
    assert set(found(tmp_path)) == {"settings"}
    assert wrong(tmp_path) == {"settings"}


@pytest.mark.parametrize("damage", ["missing", "open", "garbage"])
def test_a_bad_key_is_named(node: Path, damage: str) -> None:
    """A key that is gone, that others may read, or that is none; the hub is asked still."""
    key = node / "node.key"
    if damage == "missing":
        key.unlink()
    elif damage == "open":
        key.chmod(0o644)
    else:
        key.write_text("no key")
    checks = found(node)
    assert checks["key"].verdict == "wrong"
    assert checks["admission"].verdict == "skipped"
    assert checks["hub and TLS"].verdict == "good"
    with pytest.raises(HubStateError):
        load_identity(node)


def test_a_hub_that_is_away_is_named_once(node: Path) -> None:
    """What only the hub could say is skipped; what the device can say is said."""
    write_node(node, replace(load_node(node), hub="127.0.0.1:1"))
    checks = found(node)
    assert checks["hub and TLS"].verdict == "wrong"
    skipped = {name for name, check in checks.items() if check.verdict == "skipped"}
    assert skipped == {"clock", "versions", "admission"}
    assert checks["disk"].verdict == "good"


def test_a_name_that_is_not_in_the_certificate_is_told(
    device_hub: DeviceHub, node: Path
) -> None:
    """A hub that is called by a name that its certificate does not hold."""
    port = device_hub.address.rpartition(":")[2]
    write_node(node, replace(load_node(node), hub=f"127.0.0.2:{port}"))
    check = found(node)["hub and TLS"]
    assert check.verdict == "wrong"
    assert "127.0.0.2" in check.found


@pytest.mark.parametrize(("ahead_s", "verdict"), [(3.0, "good"), (600.0, "wrong")])
def test_the_clock_is_judged(
    device_hub: DeviceHub, node: Path, ahead_s: float, verdict: str
) -> None:
    """Ten minutes are too much, a few seconds are not."""
    device_hub.ahead_s = ahead_s
    check = found(node)["clock"]
    assert check.verdict == verdict
    assert "behind" in check.found


def test_another_flower_is_told(device_hub: DeviceHub, node: Path) -> None:
    """A hub with another Flower: both versions are in the line."""
    device_hub.flower = "1.12.3"
    assert "1.12.3" in found(node)["versions"].found
    assert wrong(node) == {"versions"}


def test_a_revoked_node_is_told(device_hub: DeviceHub, node: Path) -> None:
    """The hub no longer knows the key: its words are in the line, with the code."""
    device_hub.database.nodes.revoke("st-mary")
    check = found(node)["admission"]
    assert check.verdict == "wrong"
    assert "FLIP-802" in check.found


@pytest.mark.parametrize(
    "limits",
    [
        NodeLimits(memory_mb=512),
        NodeLimits(cpu_s=60.0),
        NodeLimits(call_timeout_s=90.0),
    ],
)
def test_limits_that_cannot_hold_are_told(node: Path, limits: NodeLimits) -> None:
    """In the node's own process a site's limits mean nothing: that is a warning."""
    config = replace(load_node(node), limits=limits)
    write_node(node, config)
    assert found(node)["limits"].verdict == "good"
    write_node(node, replace(config, workers=0))
    told = found(node)["limits"]
    assert told.verdict == "warning"
    assert "workers = 1" in told.fix
    write_node(node, replace(config, workers=0, limits=NodeLimits(message_mb=8)))
    assert found(node)["limits"].verdict == "good"


def test_missing_data_is_told(node: Path) -> None:
    """A file that is not there is named before a run misses it."""
    data = DataSource(kind="csv", options={"path": "gone.csv", "label": "y"})
    write_node(node, replace(load_node(node), data=data))
    check = found(node)["data"]
    assert check.verdict == "wrong"
    assert "FLIP-806" in check.found


def test_missing_packages_are_told(
    node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What every run needs is imported; what an app needs is looked for."""
    monkeypatch.setattr(preflight_site, "_NEEDED", ("json", "no_such_package_here"))
    assert "no_such_package_here" in found(node)["imports"].found
    code = tmp_path / "code" / "mine"
    code.mkdir(parents=True)
    (code / "client_app.py").write_text(
        "import json, another_one.deep\nfrom mine import x\n"
    )
    check = found(node, app=tmp_path / "code")["app"]
    assert check.verdict == "wrong"
    assert "another_one" in check.found
    assert "mine" not in check.found
    (code / "client_app.py").write_text("import json\n")
    assert found(node, app=tmp_path / "code")["app"].verdict == "good"
    (code / "client_app.py").write_text("import (\n")
    assert found(node, app=tmp_path / "code")["app"].verdict == "wrong"
    assert found(node, app=tmp_path / "none")["app"].verdict == "wrong"


def test_a_port_that_is_taken_is_told(node: Path) -> None:
    """The endpoint's port: free, taken by a stranger, or by this very node."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        serve = ServeSettings(port=door.getsockname()[1])
        write_node(node, replace(load_node(node), serve=serve))
        assert found(node)["port"].verdict == "wrong"
        told = {"state": "online", "process_id": os.getpid()}
        (node / "status.json").write_text(json.dumps(told))
        assert found(node)["port"].verdict == "good"
    (node / "status.json").unlink()
    assert found(node)["port"].verdict == "good"


def test_a_disk_that_is_full_is_told(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Little room is a warning, next to none is wrong."""
    usage = SimpleNamespace(free=2**29)
    monkeypatch.setattr(preflight_site.shutil, "disk_usage", lambda _: usage)
    assert found(node)["disk"].verdict == "warning"
    usage.free = 2**20
    assert found(node)["disk"].verdict == "wrong"


def test_the_command_exits_with_1_when_something_is_wrong(
    device_hub: DeviceHub, node: Path
) -> None:
    """For programs: JSON and an exit status; for people: a table that names the fix."""
    good = CliRunner().invoke(app, ["node", "preflight", str(node), "--json"])
    assert good.exit_code == 0
    assert json.loads(good.stdout)["is_ready"] is True
    device_hub.database.nodes.revoke("st-mary")
    bad = CliRunner().invoke(app, ["node", "preflight", str(node), "--json"])
    assert bad.exit_code == 1
    assert json.loads(bad.stdout)["is_ready"] is False
    shown = CliRunner().invoke(app, ["node", "preflight", str(node)])
    assert shown.exit_code == 1
    assert "admission" in shown.stdout


def test_the_status_of_a_node_that_never_ran(node: Path) -> None:
    """Before its first start a node has a name, a hub, and no more."""
    result = CliRunner().invoke(app, ["node", "status", str(node), "--json"])
    assert json.loads(result.stdout)["state"] == "never started"
    (node / "status.json").write_text("half of")
    assert CliRunner().invoke(app, ["node", "status", str(node)]).exit_code == 1


def test_the_unit_names_this_node(node: Path) -> None:
    """The unit starts this node from its directory, and may write nowhere else."""
    result = CliRunner().invoke(app, ["node", "unit", str(node), "--user", "ward"])
    assert f"node up {node}\n" in result.stdout
    assert "User=ward\n" in result.stdout
    assert f"ReadWritePaths={node}\n" in result.stdout
    assert "/var/lib/flip-lab/st-mary" in unit_of("st-mary")
    odd = unit_of("a\nExecStartPre=/bin/evil", directory=Path('/srv/50% "x y"'), user="$u")
    assert "\nExecStartPre" not in odd
    assert 'node up "/srv/50%% \\"x y\\""\n' in odd


def test_the_compose_file_enrols_once_and_runs() -> None:
    """It is YAML, keeps the node on a volume of its own, and names no registry."""
    service = yaml.safe_load(compose_file("st-mary"))["services"]["node"]
    assert "flip-lab node enroll --kit /kit" in service["command"][0]
    assert "[ -e /var/lib/flip-lab/st-mary/node.key ]" in service["command"][0]
    assert "node:/var/lib/flip-lab" in service["volumes"]
    assert "/" not in service["image"].partition(":-")[2]
