"""The deployment engine against Flower's own SuperLink and SuperNodes, over TLS.

One federation serves the whole module: each message starts a process on its node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import (
    EngineError,
    EngineStartError,
    FederationUnreachableError,
    NotEnoughNodesError,
)
from flip_lab.engines.apps import DirectoryApp, read_manifest
from flip_lab.engines.base import AppSource, Job, Reply
from flip_lab.engines.deployment import (
    DeploymentEngine,
    DeploymentGrid,
    FederationConfig,
    load_federation,
)
from flip_lab.engines.flower.control import ControlClient, SuperLink
from flip_lab.testing.credentials import write_server_certificates
from flip_lab.testing.federation import LoopbackFederation

pytestmark = [pytest.mark.hub, pytest.mark.slow]

APPS = Path(__file__).parents[1] / "apps"
PATIENCE_S = 240.0
Until = Callable[[Callable[[], bool]], None]


def live_processes(group_ids: set[int]) -> list[str]:
    """List the processes of these groups that have not ended."""
    found: list[str] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(group) in group_ids and state not in {"Z", "X"}:
            found.append(stat.parent.name)
    return found


@pytest.fixture(scope="module")
def loopback(until: Until) -> Iterator[LoopbackFederation]:
    """Give two real nodes; afterwards nothing of them may run."""
    with LoopbackFederation(num_nodes=2) as federation:
        groups = {server.process.pid for server in federation._servers}
        assert groups > {node.process_id for node in federation.nodes}
        until(lambda: len(live_processes(groups)) >= 5)  # each SuperNode has its SuperExec
        yield federation
    until(lambda: live_processes(groups) == [])  # they were sent the signal
    assert not federation.root_certificates.exists()


@pytest.fixture
def config(loopback: LoopbackFederation, tmp_path: Path) -> FederationConfig:
    """Find the federation as a user does, by its name."""
    loopback.write_config(tmp_path / "flip-lab.toml", "loopback")
    return load_federation("loopback", tmp_path / "notebooks")


@pytest.fixture
def control(loopback: LoopbackFederation) -> Iterator[ControlClient]:
    """Ask the SuperLink what it knows of a run."""
    superlink = SuperLink(
        address=loopback.address,
        root_certificates=loopback.root_certificates.read_bytes(),
        superexec_secret=b"",
    )
    with ControlClient(superlink) as client:
        yield client


@dataclass(frozen=True, kw_only=True)
class InlineApp:
    """An app whose ClientApp is a piece of source in a test."""

    client: str
    manifest: Path = field(default=APPS / "numpy")

    def load_server_app(self) -> ServerApp:
        """Refuse; the tests drive the Grid themselves."""
        raise NotImplementedError

    def load_client_app(self) -> ClientApp:
        """Refuse; the nodes do that."""
        raise NotImplementedError

    def fab_files(self) -> dict[str, bytes]:
        """Give the NumPy app with another ClientApp."""
        files = directory_app("numpy").fab_files()
        return files | {"numpyexample/client_app.py": self.client.encode()}


def directory_app(name: str) -> DirectoryApp:
    """Open one of the example apps."""
    manifest = read_manifest(APPS / name)
    return DirectoryApp(
        directory=APPS / name,
        server_ref=manifest.server_ref,
        client_ref=manifest.client_ref,
    )


def job_of(app: AppSource, **run_config: float) -> Job:
    """Make a job for two nodes."""
    return Job(
        run_id="261121-120000-abcd",
        seed=7,
        num_nodes=2,
        run_config=run_config,
        app=app,
        answers_describe=False,
        workers=1,
        work_dir=Path(),
    )


def replies_to(grid: DeploymentGrid, messages: list[Message]) -> dict[int, Reply]:
    """Send messages and give all replies by the node that they say they are from."""
    waiting = set(grid.push_messages(messages))
    replies: list[Reply] = []
    end_s = tick_s() + PATIENCE_S
    while waiting and tick_s() < end_s:
        new = grid.await_replies(waiting, timeout_s=1.0)
        waiting -= {reply.message.metadata.reply_to_message_id for reply in new}
        replies += new
    return {reply.message.metadata.src_node_id: reply for reply in replies}


def test_two_rounds_on_real_nodes_give_the_numbers_worked_out_by_hand(
    config: FederationConfig, control: ControlClient
) -> None:
    """An unmodified app under Flower's FedAvg learns exactly what its formula says."""
    job = job_of(directory_app("numpy"), **{"local-epochs": 3, "learning-rate": 0.05})
    with DeploymentEngine(config).open(job) as grid:
        result = FedAvg(fraction_evaluate=0.0).start(
            grid=grid, initial_arrays=ArrayRecord([np.zeros(5)]), num_rounds=2
        )
        flower_run_id = grid.run.run_id

    weights = np.zeros(5)
    for _ in range(2):
        trained: list[np.ndarray] = []
        for partition_id in range(2):
            rng = np.random.default_rng(partition_id)
            x = rng.normal(size=(100, 5))
            y = x @ np.arange(1.0, 6.0) + 0.1 * rng.normal(size=100)
            local = weights
            for _ in range(3):
                local = local - 0.05 * 2 * x.T @ (x @ local - y) / 100
            trained.append(local)
        weights = np.mean(trained, axis=0)
    np.testing.assert_allclose(result.arrays.to_numpy_ndarrays()[0], weights, rtol=1e-12)
    assert result.train_metrics_clientapp[2]["rounds-trained"] == 2, "clients keep state"
    assert control.run_status(flower_run_id) == "finished, completed"


def test_every_reply_says_its_node_and_what_went_wrong(config: FederationConfig) -> None:
    """A client that raises, and the SuperLink for a node that is not, say which it was."""
    job = job_of(directory_app("broken/some_fail"))
    content = RecordDict({"arrays": ArrayRecord([np.zeros(3)])})
    with DeploymentEngine(config).open(job) as grid:
        first, second = grid.get_node_ids()
        nobody = 4242
        messages = [Message(content, node, "train") for node in (first, second, nobody)]
        replies = replies_to(grid, messages)
        assert set(replies) == {first, second, nobody}
        assert all(reply.duration_s >= 0 for reply in replies.values())
        failed = [reply.message for reply in replies.values() if reply.message.has_error()]

    reasons = {
        message.metadata.src_node_id: str(message.error.reason) for message in failed
    }
    assert "takes no messages for node 4242" in reasons.pop(nobody)
    [(node, reason)] = reasons.items()
    assert node in {first, second}
    assert "ValueError" in reason
    assert "partition 1 fails on purpose" in reason


DESCRIBING = """
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

@app.query("describe")
def describe(msg, context):
    partition_id = context.node_config["partition-id"]
    config = ConfigRecord({"partition-id": partition_id})
    return Message(RecordDict({"config": config}), reply_to=msg)
"""


def test_nodes_are_listed_in_the_order_of_their_partitions(
    config: FederationConfig, loopback: LoopbackFederation
) -> None:
    """Simulation and reality sample the same cohorts, whatever ids Flower gives."""
    job = replace(job_of(InlineApp(client=DESCRIBING)), answers_describe=True)
    with DeploymentEngine(config).open(job) as grid:
        node_ids = list(grid.get_node_ids())
        partitions = [grid.partition_of(node_id) for node_id in node_ids]
        assert grid.partition_of(4242) == -1
    assert node_ids == [node.node_id for node in loopback.nodes]
    assert partitions == [0, 1]


def test_the_superlink_learns_how_the_run_ended(
    config: FederationConfig, control: ControlClient
) -> None:
    """An exception fails the run there, and a stopped program stops it."""
    engine, job = DeploymentEngine(config), job_of(directory_app("numpy"))
    statuses: list[str] = []
    for ending in (ZeroDivisionError("no examples"), KeyboardInterrupt()):
        grid = None
        try:
            with engine.open(job) as grid:
                raise ending
        except (ZeroDivisionError, KeyboardInterrupt):
            assert grid is not None
            statuses.append(control.run_status(grid.run.run_id))
    assert statuses[0] == "finished, failed: ZeroDivisionError: no examples"
    assert statuses[1].startswith("finished, stopped")


def test_a_run_stopped_on_the_superlink_is_an_error_and_no_signal(
    config: FederationConfig, control: ControlClient
) -> None:
    """Flower would interrupt the process; ours goes on, and the next run works."""
    engine, job = DeploymentEngine(config), job_of(directory_app("numpy"))
    with engine.open(job) as grid:
        control.stop_run(grid.run.run_id)
        with pytest.raises(FederationUnreachableError, match="finished, stopped") as caught:
            grid.get_node_ids()
    assert caught.value.code == "FLIP-503"
    with engine.open(job) as grid:
        assert len(list(grid.get_node_ids())) == 2


def test_a_process_drives_one_run_at_a_time(config: FederationConfig) -> None:
    """Flower keeps a task's identity process-wide, so a second run is refused."""
    engine, job = DeploymentEngine(config), job_of(directory_app("numpy"))
    with (
        engine.open(job),
        pytest.raises(EngineError, match="already drives a run"),
        engine.open(job),
    ):
        pass


def test_too_few_nodes_are_said_in_time(
    config: FederationConfig, control: ControlClient
) -> None:
    """A run that wants three nodes of two ends at its deadline."""
    job = replace(job_of(directory_app("numpy")), num_nodes=3)
    engine = DeploymentEngine(config, node_wait_s=0)
    with pytest.raises(NotEnoughNodesError, match="2 of 3 nodes") as caught:
        engine.open(job).__enter__()
    assert caught.value.code == "FLIP-504"
    assert len(control.online_node_ids()) == 2


def refusal(config: FederationConfig) -> FederationUnreachableError:
    """Try to open a run, and give the error."""
    with pytest.raises(FederationUnreachableError) as caught:
        DeploymentEngine(config).open(job_of(directory_app("numpy"))).__enter__()
    assert caught.value.code == "FLIP-503"
    return caught.value


def test_a_wrong_secret_is_refused(config: FederationConfig, tmp_path: Path) -> None:
    """The SuperLink does not give our run's task to somebody without its secret."""
    wrong = tmp_path / "wrong.secret"
    wrong.write_bytes(b"guess")
    error = refusal(replace(config, superexec_secret=wrong))
    assert "HTTP 401" in error.what
    assert "superexec-secret" in error.fix
    assert (
        "cannot be read" in refusal(replace(config, superexec_secret=tmp_path / "no")).what
    )


def test_a_superlink_that_we_do_not_trust_is_refused(
    config: FederationConfig, tmp_path: Path
) -> None:
    """Another authority's certificate, or a file without one, ends the attempt."""
    write_server_certificates(tmp_path, host="127.0.0.1")
    error = refusal(replace(config, root_certificates=tmp_path / "ca.crt"))
    assert "not trusted" in error.what
    assert "root-certificates" in error.fix
    noise = tmp_path / "noise.crt"
    noise.write_text("no certificate")
    assert "root-certificates" in refusal(replace(config, root_certificates=noise)).fix


def test_an_address_where_nothing_listens_is_said(config: FederationConfig) -> None:
    """A closed port is an error at once, not a wait for ever."""
    assert "does not answer" in refusal(replace(config, address="127.0.0.1:9")).what


def test_a_federation_that_does_not_start_leaves_nothing_behind(until: Until) -> None:
    """Out of time, its processes are ended and the logs are shown."""
    federation = LoopbackFederation(num_nodes=1, start_timeout_s=0)
    with pytest.raises(EngineStartError) as caught:
        federation.__enter__()
    assert "superlink.log" in caught.value.detail
    assert not federation.superexec_secret.exists()
    [superlink] = federation._servers
    until(lambda: live_processes({superlink.process.pid}) == [])
