"""A real node and its hub, over TLS: what clients may do to it, and what it may let them.

One hub with two nodes serves the whole module; node 1 calls clients in worker processes.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from flip_lab.core.clock import tick_s
from flip_lab.core.ids import new_run_id
from flip_lab.core.seeds import Stream
from flip_lab.engines.base import Job
from flip_lab.engines.deployment import DeploymentEngine, DeploymentGrid, load_federation
from flip_lab.engines.flower.fab import app_hash
from flip_lab.node.allowed import allow, deny
from flip_lab.node.config import NodeLimits
from flip_lab.testing.hub import LoopbackHub

pytestmark = [pytest.mark.hub, pytest.mark.slow]

PATIENCE_S = 240.0
NUMPY = Path(__file__).parents[1] / "apps" / "numpy"
# Its second of computing is over before the call's time, also where others compute.
LIMITS = NodeLimits(call_timeout_s=25.0, memory_mb=1500, cpu_s=1.0, message_mb=8)

CLIENT = """
import os, random, sys, time
import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
import flip_lab

app = ClientApp()


@app.train()
def train(message, context):
    wish = str(message.content["wish"]["do"])
    told = {"num-examples": 1}
    arrays = [np.arange(3.0)]
    if wish == "exit":
        sys.exit(3)
    elif wish == "die":
        os._exit(7)
    elif wish == "hang":
        time.sleep(60)
    elif wish == "compute":
        while True:
            pass
    elif wish == "eat":
        hold = np.empty(2**28)
    elif wish == "large":
        arrays = [np.ones(2 * 2**20)]
    elif wish == "print":
        for _ in range(200):
            print("x" * 10_000)
    elif wish == "raise":
        patient = "Erika Mustermann"
        raise ValueError(f"no pressure for {patient}")
    elif wish == "draw":
        told["draw"] = random.random()
    elif wish == "log":
        flip_lab.log(grad_norm=1.5)
    count = int(context.state["count"]["n"]) + 1 if "count" in context.state else 1
    context.state["count"] = ConfigRecord({"n": count})
    told["count"] = count
    told["process"] = os.getpid()
    content = RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord(told)})
    return Message(content, reply_to=message)
"""


@dataclass(frozen=True, kw_only=True)
class InlineApp:
    """An app whose ClientApp is a piece of source in a test."""

    client: str = CLIENT
    more: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def load_server_app(self) -> ServerApp:
        """Refuse; the tests drive the Grid themselves."""
        raise NotImplementedError

    def load_client_app(self) -> ClientApp:
        """Refuse; the nodes do that."""
        raise NotImplementedError

    def fab_files(self) -> dict[str, bytes]:
        """Give the NumPy app with another ClientApp."""
        files = {
            str(path.relative_to(NUMPY)): path.read_bytes()
            for path in NUMPY.rglob("*.*")
            if path.suffix in {".py", ".toml"}
        }
        return files | {"numpyexample/client_app.py": self.client.encode()} | self.more


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    """Start a hub; node 0 calls clients itself, node 1 in a worker within limits."""
    with LoopbackHub(num_nodes=2, node_options={"allow": ("any",)}) as running:
        running.stop_node(1)
        running.change_node(1, workers=1, limits=LIMITS, logs_tail_lines=3)
        running.start_node(1)
        running.wait_for_nodes()
        yield running


@pytest.fixture
def grid_of(hub: LoopbackHub, tmp_path: Path) -> Callable[..., DeploymentEngine]:
    """Give the engine of the federation."""
    hub.write_config(tmp_path / "flip-lab.toml", "loopback")
    return lambda: DeploymentEngine(load_federation("loopback", tmp_path))


def job(app: InlineApp, run_id: str = "") -> Job:
    """Make a job for two nodes; without a name it is a run that they never saw."""
    return Job(
        run_id=run_id or new_run_id(),
        seed=7,
        num_nodes=2,
        run_config={"local-epochs": 1, "learning-rate": 0.1},
        app=app,
        answers_describe=False,
        workers=1,
        work_dir=Path(),
    )


def answers(
    grid: DeploymentGrid, node_id: int, *wishes: str, rounds: int = 1
) -> list[Message]:
    """Send a node one message after another and give its answers."""
    found: list[Message] = []
    for wish in wishes:
        record = ConfigRecord({"do": wish, "server-round": rounds})
        content = RecordDict({"wish": record, "arrays": ArrayRecord([np.zeros(3)])})
        waiting = set(grid.push_messages([Message(content, node_id, "train")]))
        end_s = tick_s() + PATIENCE_S
        while waiting and tick_s() < end_s:
            for reply in grid.await_replies(waiting, timeout_s=1.0):
                waiting.clear()
                found.append(reply.message)
    return found


def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so; slow machines are given time."""
    end_s = tick_s() + PATIENCE_S
    while not is_so():
        assert tick_s() < end_s
        time.sleep(0.05)


def metric(answer: Message, name: str) -> float:
    """Give a number of a reply."""
    value = answer.content.metric_records["metrics"][name]
    assert isinstance(value, (int, float))
    return value


def reason(answer: Message) -> str:
    """Give the reason of an error reply."""
    return str(answer.error.reason)


def test_a_client_that_goes_wrong_leaves_the_node_alone(
    hub: LoopbackHub, grid_of: Callable[[], DeploymentEngine]
) -> None:
    """Each limit is named with its fix, and the next message is answered as ever."""
    node = hub.nodes[1]
    with grid_of().open(job(InlineApp())) as grid:
        wishes = (
            "ok",
            "die",
            "hang",
            "compute",
            "eat",
            "large",
            "exit",
            "raise",
            "print",
            "ok",
        )
        replies = answers(grid, node.node_id, *wishes)
    assert len(replies) == len(wishes)
    told = {
        wish: reason(each)
        for wish, each in zip(wishes, replies, strict=True)
        if each.has_error()
    }
    assert set(told) == {"die", "hang", "compute", "eat", "large", "exit", "raise"}
    assert "FLIP-813" in told["die"]
    assert "exit status 7" in told["die"]
    assert "FLIP-813" in told["hang"]
    assert "25 s" in told["hang"]
    assert "call-timeout-s" in told["hang"]
    assert "FLIP-813" in told["compute"]
    assert "cpu-s" in told["compute"]
    assert "FLIP-813" in told["eat"]
    assert "memory-mb" in told["eat"]
    assert "FLIP-813" in told["large"]
    assert "message-mb" in told["large"]
    assert "SystemExit" in told["exit"]
    assert "ValueError" in told["raise"]
    assert metric(replies[-1], "count") == 3, "failures leave none"
    assert node.process_id == hub.nodes[1].process_id


def test_the_site_says_how_much_of_a_traceback_leaves_it(
    hub: LoopbackHub, grid_of: Callable[[], DeploymentEngine]
) -> None:
    """Node 0 sends none: not even the text of the exception, which may quote its data."""
    with grid_of().open(job(InlineApp())) as grid:
        [closed] = answers(grid, hub.nodes[0].node_id, "raise")
        [open_] = answers(grid, hub.nodes[1].node_id, "raise")
    assert "ValueError" in reason(closed)
    assert "Mustermann" not in reason(closed)
    assert "node.log" in reason(closed)
    assert "Mustermann" in (hub.nodes[0].directory / "node.log").read_text()
    assert "no pressure for Erika Mustermann" in reason(open_)
    assert len(reason(open_).splitlines()) <= 4


def test_what_clients_remember_outlives_the_node_and_a_repeated_round(
    hub: LoopbackHub, grid_of: Callable[[], DeploymentEngine]
) -> None:
    """A killed node goes on; a run taken up again repeats its last round from before it."""
    app, run_id = InlineApp(), "261122-120000-keep"
    node = hub.nodes[1].node_id

    def counts(grid: DeploymentGrid, server_round: int) -> float:
        [answer] = answers(grid, node, "ok", rounds=server_round)
        return metric(answer, "count")

    with grid_of().open(job(app, run_id)) as grid:
        assert [counts(grid, 1), counts(grid, 2)] == [1, 2]
        hub.kill_node(1)
        until(lambda: hub.nodes[1].name not in hub.online_nodes())
        hub.start_node(1)
        hub.wait_for_nodes()
        assert counts(grid, 3) == 3
    with grid_of().open(job(app, run_id)) as grid:
        assert [counts(grid, 3), counts(grid, 4)] == [3, 4]
    [kept] = (hub.nodes[1].directory / "contexts").glob("261122-120000-keep-*")
    (kept / "now.context").write_bytes(b"no state at all")
    with grid_of().open(job(app, run_id)) as grid:
        assert counts(grid, 5) == 1, "damaged: they begin anew"
    assert (kept / "now.damaged").exists()


def test_global_generators_and_logged_facts_are_as_in_simulation(
    hub: LoopbackHub, grid_of: Callable[[], DeploymentEngine]
) -> None:
    """Any app draws the numbers of (seed, round, partition, phase), on both nodes."""
    before = random.getstate()
    with grid_of().open(job(InlineApp())) as grid:
        for node in hub.nodes:
            [answer] = answers(grid, node.node_id, "draw", rounds=4)
            stream = Stream(seed=7, server_round=4, node=node.partition_id, phase="train")
            random.seed(stream.integer())
            assert metric(answer, "draw") == random.random()  # noqa: S311  # the very generator it is about
            content = RecordDict({"wish": ConfigRecord({"do": "log", "server-round": 4})})
            ids = set(grid.push_messages([Message(content, node.node_id, "train")]))
            found = []
            while not found:
                found = grid.await_replies(ids, timeout_s=1.0)
            assert found[0].logged == {"grad_norm": 1.5}
            assert "flip-lab" not in found[0].message.content
    random.setstate(before)


def test_the_site_decides_which_apps_run(
    hub: LoopbackHub, grid_of: Callable[[], DeploymentEngine]
) -> None:
    """The refusal names the hash and the command; obeying it lets the app in at once."""
    node = hub.nodes[0]
    deny(node.directory, ["any"])
    try:
        with grid_of().open(job(InlineApp())) as grid:
            [refused] = answers(grid, node.node_id, "ok")
            told = reason(refused)
            assert "FLIP-805" in told
            assert node.name in told
            digest = told.partition("flip-lab node allow sha256:")[2].partition("`")[0]
            assert digest == app_hash(InlineApp().fab_files())
            allow(node.directory, [f"sha256:{digest}"])
            [allowed] = answers(grid, node.node_id, "ok")
            assert not allowed.has_error()
        with grid_of().open(job(InlineApp(client=CLIENT + "\n# changed\n"))) as grid:
            [changed] = answers(grid, node.node_id, "ok")
            assert "FLIP-805" in reason(changed)
    finally:
        allow(node.directory, ["any"])


def test_two_apps_with_modules_of_the_same_names_do_not_mix(
    hub: LoopbackHub, grid_of: Callable[[], DeploymentEngine]
) -> None:
    """Imported at the top and in a call: each app finds its own, in one process."""
    source = CLIENT.replace(
        "app = ClientApp()", "from numpyexample import task\napp = ClientApp()"
    )
    source = source.replace(
        'if wish == "exit":',
        "from numpyexample.late import late\n"
        "    told['sum'] = task.ONE + late\n    if wish == 'exit':",
    )

    def app(number: int) -> InlineApp:
        files = {
            "numpyexample/task.py": f"ONE = {number}\n".encode(),
            "numpyexample/late.py": f"late = {number * 10}\n".encode(),
        }
        return InlineApp(client=source, more=files)

    sums: list[float] = []
    for number in (1, 2, 1):
        with grid_of().open(job(app(number), f"261122-120000-mix{number}")) as grid:
            for node in hub.nodes:
                [answer] = answers(grid, node.node_id, "ok")
                sums.append(metric(answer, "sum"))
    assert sums == [11, 11, 22, 22, 11, 11]


def test_a_node_finishes_its_work_before_it_ends(
    hub: LoopbackHub, grid_of: Callable[[], DeploymentEngine], tmp_path: Path
) -> None:
    """SIGTERM: the work under way is sent, the hub hears a goodbye, the status is 0."""
    slow = CLIENT.replace('wish == "hang"', 'wish == "slow"').replace(
        "time.sleep(60)",
        'while not os.path.exists(message.content["wish"]["until"]): time.sleep(0.05)',
    )
    node, is_over = hub.nodes[0], tmp_path / "over"

    def says(**wanted: str | int) -> bool:
        told = json.loads((node.directory / "status.json").read_text())
        return wanted.items() <= told.items()

    with grid_of().open(job(InlineApp(client=slow))) as grid, ThreadPoolExecutor(1) as pool:
        wish = {"do": "slow", "server-round": 1, "until": str(is_over)}
        content = RecordDict({"wish": ConfigRecord(wish)})
        ids = set(grid.push_messages([Message(content, node.node_id, "train")]))
        until(lambda: says(num_working=1))
        ending = pool.submit(hub.stop_node, 0)
        until(lambda: says(state="draining"))
        is_over.touch()
        ending.result(PATIENCE_S)
        found = []
        while not found:
            found = grid.await_replies(ids, timeout_s=1.0)
        assert not found[0].message.has_error()
        assert says(state="stopped")
        assert node.node_id not in list(grid.get_node_ids())
    hub.start_node(0)
    hub.wait_for_nodes()
