"""A hub as a process: TLS, its end, its standby, and Flower's own node at its door."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from time import sleep

import httpx
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest

from flip_lab.core.clock import now_s, tick_s
from flip_lab.engines.apps import DirectoryApp, read_manifest
from flip_lab.engines.base import Job
from flip_lab.engines.deployment import DeploymentEngine, load_federation
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.database_enrolments import Device
from flip_lab.hub.rotation import renew
from flip_lab.node.signing import fingerprint_of
from flip_lab.testing.hub import LoopbackHub
from flip_lab.testing.hub_probe import Signer
from flip_lab.testing.hub_processes import free_port, quiet_environment, script

pytestmark = [pytest.mark.hub, pytest.mark.slow]

PATIENCE_S = 120.0
NUMPY_APP = Path(__file__).parents[1] / "apps" / "numpy"
HOST = "127.0.0.1"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    """Give a hub without nodes."""
    with LoopbackHub(num_nodes=0, directory=tmp_path) as hub:
        yield hub


def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so; slow machines are given time."""
    end_s = tick_s() + PATIENCE_S
    while not is_so():
        assert tick_s() < end_s
        sleep(0.1)


def enrolled(hub: LoopbackHub, name: str) -> Signer:
    """Enrol a node, as if a device had come with its token."""
    signer = Signer()
    with HubDatabase(hub.place) as database:
        record, secret = database.enrolments.create(name, expires_s=now_s() + 60)
        device = Device(
            public_key=signer.pem.decode(),
            fingerprint=fingerprint_of(signer.key.public_key()),
            node_id=signer.node_id,
        )
        database.enrolments.redeem(record.id, secret.text, device)
    return signer


def asked_by(
    client: httpx.Client, signer: Signer, sent: Event | None = None, **headers: str
) -> httpx.Response:
    """Pull calls as a node; ``sent`` is set once the question has left."""

    def note(step: str, _: object) -> None:
        if sent is not None and step == "http11.send_request_body.complete":
            sent.set()

    return client.post(
        "/v1/fleet/pull-messages",
        content=PullMessagesRequest(node=signer.node).SerializeToString(),
        headers=signer.headers(**headers),
        extensions={"trace": note},
    )


@contextmanager
def standby_of(hub: LoopbackHub) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """Start a second hub of the same directory, which waits."""
    command = [script("flip-lab"), "hub", "up", str(hub.place.path), "--standby"]
    command += ["--host", HOST, "--port", "0", "--json"]
    environment = quiet_environment(hub.directory, HOST)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert told["is_active"] is False
        with httpx.Client(
            base_url=told["url"],
            verify=ssl.create_default_context(cafile=hub.root_certificates),
            timeout=PATIENCE_S,
            trust_env=False,
        ) as client:
            yield process, client
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_a_standby_takes_over_from_a_killed_hub(hub: LoopbackHub) -> None:
    """It knows the nodes and the people, for the database is the truth."""
    signer, token = enrolled(hub, "clinic"), hub.token("viewer")
    with standby_of(hub) as (process, client):
        assert client.get("/health").json()["role"] == "standby"
        assert client.get("/ready").status_code == 503
        refused = asked_by(client, signer)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        with pytest.raises(subprocess.CalledProcessError) as caught:
            subprocess.run(
                [script("flip-lab"), "hub", "up", str(hub.place.path), "--port", "0"],
                check=True,
                capture_output=True,
                text=True,
                env=quiet_environment(hub.directory, HOST),
            )
        assert "FLIP-809" in caught.value.stderr
        os.kill(hub.hub_process_id, signal.SIGKILL)
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert (told["is_active"], told["process_id"]) == (True, process.pid)
        assert client.get("/ready").is_success
        assert asked_by(client, signer).is_success
        proof = {"authorization": f"Bearer {token}"}
        assert client.get("/flip/v1/hub", headers=proof).json()["num_nodes"] == 1


def test_who_waits_is_let_go_when_the_hub_ends(hub: LoopbackHub) -> None:
    """A held request is answered, not cut off; nobody waits out its 25 seconds."""
    signer = enrolled(hub, "patient")
    with hub.client() as client, ThreadPoolExecutor() as pool:
        until(lambda: asked_by(client, signer).is_success)
        sent = Event()
        held = pool.submit(asked_by, client, signer, sent, x_flip_wait="25")
        assert sent.wait(PATIENCE_S)
        for _ in range(5):  # the hub answers these after it has read the other
            assert client.get("/ready").is_success
        assert not held.done()
        process_id = hub.hub_process_id
        hub.stop_hub()
        assert held.result().is_success
        assert not Path(f"/proc/{process_id}").exists()


def test_old_tls_is_refused_and_a_new_certificate_is_shown(hub: LoopbackHub) -> None:
    """A renewed certificate needs no restart; whoever is connected stays so."""

    def shown() -> bytes:
        context = ssl.create_default_context(cafile=hub.root_certificates)
        port = int(hub.address.rpartition(":")[2])
        with (
            socket.create_connection((HOST, port)) as plain,
            context.wrap_socket(plain, server_hostname=HOST) as line,
        ):
            assert line.version() in {"TLSv1.2", "TLSv1.3"}
            certificate = line.getpeercert(binary_form=True)
            assert certificate is not None
            return certificate

    before = shown()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    port = int(hub.address.rpartition(":")[2])
    with (
        socket.create_connection((HOST, port)) as plain,
        old.wrap_socket(plain, do_handshake_on_connect=False) as line,
        pytest.raises(ssl.SSLError),
    ):
        line.do_handshake()
    with hub.client() as client:
        assert client.get("/ready").is_success
        renew(hub.place)
        until(lambda: shown() != before)
        assert client.get("/ready").is_success


def test_killed_nodes_and_hubs_come_back_as_themselves(tmp_path: Path) -> None:
    """A node is missed and returns; a hub that is started again knows its nodes."""
    with LoopbackHub(num_nodes=2, directory=tmp_path) as hub:
        names = {node.name for node in hub.nodes}
        with hub.client() as client:
            before = node_ids(client)
        hub.kill_node(0)
        until(lambda: hub.online_nodes() == names - {hub.nodes[0].name})
        hub.start_node(0)
        hub.wait_for_nodes()
        hub.kill_hub()
        hub.start_hub()
        hub.wait_for_nodes()
        with hub.client() as client:
            assert node_ids(client) == before


def node_ids(client: httpx.Client) -> dict[str, str]:
    """Ask a hub for the ids of its nodes, by name."""
    rows = client.get("/flip/v1/hub/nodes").raise_for_status().json()["items"]
    return {row["name"]: row["node_id"] for row in rows}


def test_flowers_own_node_works_at_a_hub(hub: LoopbackHub, tmp_path: Path) -> None:
    """A stock SuperNode with an enrolled key takes part in a run that a token started."""
    signer = enrolled(hub, "stock")
    key = tmp_path / "stock.key"
    key.write_bytes(
        signer.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
    )
    hub.write_config(tmp_path / "flip-lab.toml", "here")
    with stock_node(hub, key), hub.client() as client:
        until(lambda: hub.online_nodes() == {"stock"})
        engine = DeploymentEngine(load_federation("here", tmp_path))
        with engine.open(job()) as grid:
            assert list(grid.get_node_ids()) == [signer.node_id]
            content = RecordDict({"arrays": ArrayRecord([np.zeros(3)])})
            content["config"] = ConfigRecord({"server-round": 1})
            call = Message(content, signer.node_id, "train")
            [reply] = grid.send_and_receive([call], timeout=PATIENCE_S)
            assert reply.metadata.src_node_id == signer.node_id
        [run] = client.get("/flip/v1/hub/runs").json()
        until(lambda: client.get("/flip/v1/hub/runs").json()[0]["ended_s"] is not None)
        assert run["person"] == "loopback-researcher"
        activate = ActivateNodeRequest(public_key=Signer().pem, heartbeat_interval=30)
        stolen = client.post(
            "/v1/fleet/activate-node",
            content=activate.SerializeToString(),
            headers=signer.headers(),
        )
        assert stolen.json()["code"] == "FLIP-702"


@contextmanager
def stock_node(hub: LoopbackHub, key: Path) -> Iterator[None]:
    """Run Flower's SuperNode with a key."""
    command = [script("flower-supernode"), "--superlink", hub.address]
    command += ["--root-certificates", str(hub.root_certificates)]
    command += ["--auth-supernode-private-key", str(key)]
    command += ["--node-config", "partition-id=0 num-partitions=1"]
    command += ["--isolation", "subprocess", "--host", HOST]
    command += ["--port", str(free_port(HOST))]
    environment = quiet_environment(hub.directory, HOST)
    with (hub.directory / "stock.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def job() -> Job:
    """Make a job for one node."""
    manifest = read_manifest(NUMPY_APP)
    app = DirectoryApp(
        directory=NUMPY_APP,
        server_ref=manifest.server_ref,
        client_ref=manifest.client_ref,
    )
    return Job(
        run_id="261122-120000-abcd",
        seed=7,
        num_nodes=1,
        run_config={"local-epochs": 1, "learning-rate": 0.1, "num-server-rounds": 1},
        app=app,
        answers_describe=False,
        workers=1,
        work_dir=Path(),
    )
