"""The engine on several Ray nodes: one is lost, one is small, one runs out of memory."""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import psutil
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict

from flip_lab.engines.apps import DirectoryApp
from flip_lab.engines.base import Engine, Job
from flip_lab.engines.catalogue import ENGINES
from flip_lab.engines.ray_door import Door
from flip_lab.engines.ray_session import ADDRESS_VARIABLES

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    # Ray leaves sockets and files of its helper processes to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

APP = Path(__file__).parent / "apps" / "faults"
PATIENCE_S = 240.0
GIGABYTE = 1 << 30


def patiently(start: Callable[[], object]) -> None:
    """Try again, as our own heads do: a busy machine misses Ray's fixed deadline."""
    for _ in range(3):
        with suppress(Exception):
            start()
            return
    start()


@contextmanager
def cluster(*num_cpus: int) -> Iterator[Any]:
    """Start Ray nodes with these CPUs, as separate machines would be; the head first."""
    before = dict(os.environ)
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    made: Any = importlib.import_module("ray.cluster_utils").Cluster()
    try:
        for number, count in enumerate(num_cpus):
            head: dict[str, object] = {} if number else {"include_dashboard": False}
            patiently(partial(made.add_node, num_cpus=count, **head))
        yield made
    finally:
        made.shutdown()
        os.environ.clear()
        os.environ.update(before)


def make_job(num_nodes: int, workers: int) -> Job:
    """Build a job."""
    return Job(
        run_id="r",
        seed=11,
        num_nodes=num_nodes,
        run_config={},
        app=DirectoryApp(
            directory=APP, server_ref="faults:server_app", client_ref="faults:app"
        ),
        answers_describe=False,
        workers=workers,
        work_dir=APP,
    )


def trained(engine: Engine, job: Job, during: threading.Event | None = None) -> list[bytes]:
    """Train five rounds of slow clients; say when the second one is under way."""
    with engine.open(job) as grid:
        replies: list[Message] = []
        for server_round in range(1, 6):
            config = ConfigRecord({"server-round": server_round, "nap": 0.1})
            content = RecordDict({"arrays": ArrayRecord(), "config": config})
            messages = [Message(content, node, "train") for node in grid.get_node_ids()]
            if server_round == 2 and during is not None:
                during.set()
            replies = list(grid.send_and_receive(messages, timeout=PATIENCE_S))
            assert len(replies) == len(messages)
        return [
            array.tobytes()
            for reply in replies
            for array in reply.content.array_records["arrays"].to_numpy_ndarrays()
        ]


@pytest.mark.parametrize("are_far", [(False, False), (False, True)], ids=["near", "far"])
def test_a_machine_that_is_lost_in_mid_run_changes_no_bit(
    are_far: Sequence[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clients are carried out by what is left, by socket and through Ray."""
    doors, open_door = cycle(are_far), Door.open
    monkeypatch.setattr(
        Door, "open", lambda door: door.close() if next(doors) else open_door(door)
    )
    job = make_job(num_nodes=20, workers=2)
    expected = trained(ENGINES.get("in_process")(), job)
    with cluster(1, 1) as nodes:
        monkeypatch.setenv(ADDRESS_VARIABLES[1], nodes.address)
        [lost] = nodes.worker_nodes
        under_way = threading.Event()

        def lose_it() -> None:
            under_way.wait()
            time.sleep(0.3)
            nodes.remove_node(lost, allow_graceful=False)

        killer = threading.Thread(target=lose_it, daemon=True)
        killer.start()
        found = trained(ENGINES.get("ray")(), job, under_way)
        killer.join()
    assert found == expected


def test_a_small_session_is_used_as_it_is_and_a_full_one_refuses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With a warning, or with an error that says what there is; never with a long wait."""
    with cluster(1) as nodes:
        monkeypatch.setenv(ADDRESS_VARIABLES[1], nodes.address)
        engine = ENGINES.get("ray")()
        with caplog.at_level(logging.WARNING), engine.open(make_job(4, workers=3)) as grid:
            assert "the run goes on with 1 workers, not 3" in caplog.text
            messages = [
                Message(RecordDict(), node, "query.whoami") for node in grid.get_node_ids()
            ]
            assert len(list(grid.send_and_receive(messages, timeout=PATIENCE_S))) == 4
            full = subprocess.run(
                [sys.executable, "-c", SECOND_RUN, str(APP.parents[1])],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True,
                text=True,
                check=False,
            )
    assert "[FLIP-501] No worker found a place" in full.stdout, full.stderr
    assert "CPU: 0 of 1 free" in full.stdout


SECOND_RUN = """
import sys
sys.path[:0] = [sys.argv[1]]
from test_ray_cluster import ENGINES, make_job
from flip_lab.core.errors import EngineStartError
from flip_lab.engines import ray_lease
ray_lease._PLACEMENT_S = 3.0
try:
    with ENGINES.get("ray")().open(make_job(4, workers=1)):
        pass
except EngineStartError as error:
    print(error)
"""


def test_a_client_that_ray_ends_for_its_memory_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray ends workers before the machine runs out; the second attempt is modest."""
    memory = psutil.virtual_memory()
    if memory.available < 12 * GIGABYTE:
        pytest.skip("needs 12 GB of free memory")
    threshold = (memory.total - memory.available + 2 * GIGABYTE) / memory.total
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{threshold:.3f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    config = {"partition": 2, "marker": str(tmp_path / "died"), "bytes": 6 * GIGABYTE}
    content = RecordDict({"config": ConfigRecord(config)})
    with ENGINES.get("ray")().open(make_job(4, workers=1)) as grid:
        messages = [Message(content, node, "query.hoard") for node in grid.get_node_ids()]
        replies = list(grid.send_and_receive(messages, timeout=PATIENCE_S))
    assert (tmp_path / "died").exists()
    assert [reply.has_error() for reply in replies] == [False] * 4
    assert "size" not in replies[2].content.config_records["said"]  # not the first attempt
