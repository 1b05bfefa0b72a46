"""The engine on a real Ray: sessions and leases, deaths of all kinds, the same bits.

One kept session serves most tests; those that destroy one have their own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import EngineStartError
from flip_lab.engines import ray_head, ray_lease, ray_session
from flip_lab.engines.apps import DirectoryApp, ScenarioApp
from flip_lab.engines.base import AppSource, Engine, EngineGrid, Job
from flip_lab.engines.catalogue import ENGINES
from flip_lab.engines.ray_door import Door
from flip_lab.engines.ray_head import NAMESPACE
from flip_lab.engines.ray_lease import Leases
from flip_lab.engines.ray_session import ADDRESS_VARIABLES
from flip_lab.testing.engine_contract import EngineContract

pytestmark = [
    pytest.mark.ray,
    # Ray leaves sockets and files of its helper processes to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

PATIENCE_S = 240.0
# Who is at work for so long hangs: a busy machine lets anybody wait for a while.
LONG_S = 4.0
APP = Path(__file__).parent / "apps" / "faults"


# --- a session, a job, a question --------------------------------------------------------


def start_session(
    workers: int = 2, **environment: str
) -> tuple[subprocess.Popen[str], str]:
    """Start a kept session; give its process and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flip_lab.engines.ray_session", "--workers", str(workers)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        start_new_session=True,
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["address"]


def end_session(process: subprocess.Popen[str]) -> None:
    """End a session in good order."""
    process.communicate(timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Keep one session for the module."""
    before = dict(os.environ)
    process, found = start_session()
    yield found
    end_session(process)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def session(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let runs find the kept session."""
    monkeypatch.setenv(ADDRESS_VARIABLES[0], address)
    return address


def make_app(directory: Path) -> DirectoryApp:
    """Name the app of a directory; ``faults`` is a module there."""
    return DirectoryApp(
        directory=directory, server_ref="faults:server_app", client_ref="faults:app"
    )


def make_job(
    *,
    num_nodes: int = 8,
    workers: int = 2,
    seed: int = 7,
    app: AppSource | None = None,
    timeout_s: float | None = None,
) -> Job:
    """Build a job."""
    return Job(
        run_id="r",
        seed=seed,
        num_nodes=num_nodes,
        run_config={},
        app=app or make_app(APP),
        answers_describe=False,
        workers=workers,
        work_dir=APP,
        client_timeout_s=timeout_s,
    )


def ask(grid: EngineGrid, action: str, **config: float | str) -> list[Message]:
    """Ask every node the same; give the replies in the order of partitions."""
    content = RecordDict({"config": ConfigRecord(dict(config))})
    messages = [Message(content, node, action) for node in grid.get_node_ids()]
    replies = list(grid.send_and_receive(messages, timeout=PATIENCE_S))
    assert len(replies) == len(messages)
    return replies


def errors(replies: Sequence[Message]) -> dict[int, str]:
    """Give the reasons of the replies that are errors, by partition."""
    return {
        number: reply.error.reason or ""
        for number, reply in enumerate(replies)
        if reply.has_error()
    }


def said(replies: Sequence[Message], key: str) -> list[Any]:
    """Give what each node said."""
    return [reply.content.config_records["said"][key] for reply in replies]


def eventually(condition: Callable[[], bool], *, within_s: float = PATIENCE_S) -> bool:
    """Wait until something holds; say whether it ever did."""
    end_s = tick_s() + within_s
    while tick_s() < end_s:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


@pytest.fixture(params=["by socket", "through Ray"])
def road(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Talk to actors in both ways; those of other machines know the second one only."""
    if request.param == "through Ray":
        monkeypatch.setattr(Door, "open", Door.close)


# --- the same bits -----------------------------------------------------------------------


def model_after(engine: Engine, job: Job) -> list[bytes]:
    """Train two rounds by hand; give the bytes of each node's arrays of the last one."""
    with engine.open(job) as grid:
        content = RecordDict({"arrays": ArrayRecord(), "config": ConfigRecord()})
        replies: list[Message] = []
        for server_round in (1, 2):
            content.config_records["config"]["server-round"] = server_round
            messages = [Message(content, node, "train") for node in grid.get_node_ids()]
            replies = list(grid.send_and_receive(messages, timeout=PATIENCE_S))
        return [
            array.tobytes()
            for reply in replies
            for array in reply.content.array_records["arrays"].to_numpy_ndarrays()
        ]


@given(seed=st.integers(0, 2**40), workers=st.sampled_from([1, 2, 4]))
@settings(max_examples=5)
@pytest.mark.usefixtures("session", "road")
def test_any_number_of_workers_gives_the_bits_of_one_process(
    address: str, seed: int, workers: int
) -> None:
    """Small arrays and large ones, state from round to round, draws of all generators."""
    del address
    job = make_job(num_nodes=24, workers=workers, seed=seed)
    expected = model_after(ENGINES.get("in_process")(), job)
    assert model_after(ENGINES.get("ray")(), job) == expected
    assert len(expected) == 48


@pytest.fixture(scope="class")
def opened(request: pytest.FixtureRequest, address: str) -> Iterator[None]:
    """Open the contract's Grid on the kept session."""
    suite: Any = request.cls
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ADDRESS_VARIABLES[0], address)
        if not suite.is_near:
            patch.setattr(Door, "open", Door.close)
        suite.job = suite.make_job()
        with suite.engine().open(suite.job) as grid:
            suite.grid = grid
            yield


@pytest.mark.usefixtures("opened")
class TestContractOnAKeptSession(EngineContract):
    """What every engine keeps, in actors that have served others before."""

    is_near = True

    @classmethod
    def engine(cls) -> Engine:
        """Give the engine under test."""
        return ENGINES.get("ray")()

    @classmethod
    def setup_class(cls) -> None:
        """Nothing yet: a fixture knows the session."""

    @classmethod
    def teardown_class(cls) -> None:
        """Nothing any more."""


class TestContractFromAfar(TestContractOnAKeptSession):
    """The same, when all goes through Ray's own store."""

    is_near = False


# --- deaths ------------------------------------------------------------------------------


@pytest.mark.usefixtures("session", "road")
@pytest.mark.parametrize("how", ["kill", "exit", "memory"])
def test_a_worker_that_dies_once_costs_nobody_a_reply(how: str, tmp_path: Path) -> None:
    """In the middle of a batch; with limited memory, as a container's."""
    marker = str(tmp_path / "died")
    with ENGINES.get("ray")().open(make_job(num_nodes=40)) as grid:
        replies = ask(grid, f"query.{how}", partition=5, marker=marker)
        assert errors(replies) == {}
        assert Path(marker).exists()
        assert errors(ask(grid, "query.whoami")) == {}


@pytest.mark.usefixtures("session", "road")
def test_a_client_that_kills_every_worker_fails_alone() -> None:
    """After three attempts; its neighbours in the batch do not notice."""
    with ENGINES.get("ray")().open(make_job(num_nodes=40)) as grid:
        failed = errors(ask(grid, "query.kill", partition=5, marker=""))
        assert list(failed) == [5]
        assert "3 times with this client" in failed[5]
        assert errors(ask(grid, "query.whoami")) == {}


@pytest.mark.usefixtures("session", "road")
def test_a_client_that_sleeps_for_ever_is_stopped() -> None:
    """Where Python can interrupt it, after its time and not later."""
    with ENGINES.get("ray")().open(make_job(num_nodes=12, timeout_s=LONG_S)) as grid:
        failed = errors(ask(grid, "query.sleep", partition=3))
        assert failed == {3: "TimeoutError: the client took longer than 4.0 s."}


@pytest.mark.usefixtures("session", "road")
def test_a_client_that_no_signal_reaches_is_stopped_too() -> None:
    """Its whole process stands still, so somebody else has to end it."""
    with ENGINES.get("ray")().open(make_job(num_nodes=4, timeout_s=LONG_S)) as grid:
        failed = errors(ask(grid, "query.freeze", partition=3))
        assert failed == {3: "TimeoutError: the client took longer than 4.0 s."}


@pytest.mark.usefixtures("session", "road")
def test_a_reply_that_cannot_travel_is_that_clients_failure() -> None:
    """Others in the batch have theirs."""
    with ENGINES.get("ray")().open(make_job(num_nodes=20)) as grid:
        failed = errors(ask(grid, "query.unsendable", partition=4))
        assert list(failed) == [4]
        assert failed[4].startswith("The reply could not be sent:")


@pytest.mark.usefixtures("session", "road")
def test_workers_that_are_killed_in_a_pause_are_replaced() -> None:
    """The pause lasts longer than a client may; nobody is blamed for it."""
    job = make_job(num_nodes=24, timeout_s=LONG_S)
    with ENGINES.get("ray")().open(job) as grid:
        pids = {*said(ask(grid, "query.whoami"), "pid")}
        content = RecordDict({"config": ConfigRecord({"nap": 0.4})})
        messages = [Message(content, node, "query.nap") for node in grid.get_node_ids()]
        wanted = {*grid.push_messages(messages)}
        replies = collect(grid, wanted, 1, PATIENCE_S)
        job.gate.close()
        replies += collect(grid, wanted, len(wanted), LONG_S + 1.0)
        assert wanted
        for pid in pids:
            os.kill(int(pid), signal.SIGKILL)
        replies += collect(grid, wanted, len(wanted), 0.5)
        job.gate.open()
        replies += collect(grid, wanted, len(wanted), PATIENCE_S)
        assert len(replies) == 24
        assert errors(replies) == {}
        assert not pids & {*said(ask(grid, "query.whoami"), "pid")}


def collect(
    grid: EngineGrid, wanted: set[str], at_least: int, patience_s: float
) -> list[Message]:
    """Wait for replies; take their ids out of those that are wanted."""
    found: list[Message] = []
    end_s = tick_s() + patience_s
    while len(found) < at_least and tick_s() < end_s:
        new = [each.message for each in grid.await_replies(wanted, timeout_s=0.2)]
        wanted -= {each.metadata.reply_to_message_id for each in new}
        found += new
    return found


# --- one session, many runs --------------------------------------------------------------


def named_actors(ray: Any) -> set[str]:  # noqa: ANN401  # untyped
    """List our actors in the session that this process is connected to."""
    found = ray.util.list_named_actors(all_namespaces=True)
    return {each["name"] for each in found if each["namespace"] == NAMESPACE}


def actor_names(address: str) -> set[str]:
    """List our actors in a session."""
    ray = ray_head.load_ray()
    ray_session.connect(ray, address)
    try:
        return named_actors(ray)
    finally:
        ray.shutdown()


def test_the_next_run_of_a_scenario_gets_the_very_same_processes(
    session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have everything imported, and nothing of the run before."""
    monkeypatch.setattr(ray_lease, "_FORGET_S", PATIENCE_S)  # a slow one is no other one
    job = make_job(app=ScenarioApp(scenario_json="{}"))
    names: list[set[str]] = []
    for _ in range(2):
        with ENGINES.get("ray")().open(job):
            pass
        names.append(actor_names(session))
    assert names[0] == names[1]
    assert len(names[0]) >= 2


def test_two_apps_with_equal_module_names_do_not_meet(
    session: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules, directory and environment are those of each run."""
    other = tmp_path / "other"
    other.mkdir()
    text = (APP / "faults.py").read_text(encoding="utf-8")
    (other / "faults.py").write_text(text.replace("the first app", "the second app"))
    monkeypatch.setenv("OF_THE_FIRST_RUN", "1")
    with ENGINES.get("ray")().open(make_job()) as grid:
        first = ask(grid, "query.whoami")
    monkeypatch.delenv("OF_THE_FIRST_RUN")
    with ENGINES.get("ray")().open(make_job(app=make_app(other))) as grid:
        second = ask(grid, "query.whoami")
    assert set(said(first, "app")) == {"the first app"}
    assert set(said(second, "app")) == {"the second app"}
    assert (said(first, "variable")[0], said(second, "variable")[0]) == ("1", "")
    assert not set(said(first, "pid")) & set(said(second, "pid"))
    assert len(actor_names(session)) >= 2  # fresh ones wait for the next run


def test_two_runs_at_once_share_no_actor(
    session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each actor can be had again afterwards."""
    monkeypatch.setattr(ray_lease, "_FORGET_S", PATIENCE_S)  # a slow one is no other one
    ray = ray_head.load_ray()
    ray_session.connect(ray, session)
    try:
        before = len(named_actors(ray))
        leases = [Leases(ray, 2), Leases(ray, 2)]
        taken = [each.take() for each in leases]
        names = {slot.name for slots in taken for slot in slots}
        assert len(names) == 4
        for each, slots in zip(leases, taken, strict=True):
            each.give_back(slots, is_reusable=True)
        # four were needed for a moment only
        assert eventually(lambda: len(named_actors(ray)) <= max(before, 2))
        waiting = named_actors(ray)
        again = Leases(ray, 2).take()
        assert {slot.name for slot in again} <= waiting
        assert len(waiting - names) + 2 >= len(
            waiting
        )  # four were needed for a moment only
        leases[0].give_back(again, is_reusable=True)
    finally:
        ray.shutdown()


HOLDER = """
import sys, time
from flip_lab.engines import ray_head, ray_session
from flip_lab.engines.ray_lease import Leases
ray = ray_head.load_ray()
ray_session.connect(ray, sys.argv[1])
print(*(slot.name for slot in Leases(ray, 2).take()), flush=True)
time.sleep(600)
"""


def test_a_run_that_was_killed_holds_no_lease(session: str) -> None:
    """Its actors may be in any state, so they are ended, and others are there."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, session],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert holder.stdout is not None
    held = set(holder.stdout.readline().split())
    holder.kill()
    holder.communicate()
    assert len(held) == 2
    ray = ray_head.load_ray()
    ray_session.connect(ray, session)
    try:
        assert eventually(lambda: len(ray_head.living_jobs()) == 1)
        leases = Leases(ray, 2)
        taken = leases.take()
        assert not {slot.name for slot in taken} & held
        leases.end(taken)
    finally:
        ray.shutdown()
    assert eventually(lambda: not actor_names(session) & held)


RUN = """
import sys, time
sys.path[:0] = [sys.argv[1]]
from test_ray import ENGINES, ask, make_job, said  # this very file
with ENGINES.get("ray")().open(make_job(workers=1)) as grid:
    print(said(ask(grid, "query.whoami"), "pid")[0], flush=True)
    ask(grid, "query.nap", nap=600.0)
"""


@pytest.mark.slow
def test_the_actors_of_a_run_that_was_killed_end_by_themselves(session: str) -> None:
    """Also when no other run comes, and in the middle of a long client."""
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.stdout is not None
    actor = psutil.Process(int(run.stdout.readline()))
    assert are_alive([actor])
    run.kill()
    run.communicate()
    assert eventually(lambda: not are_alive([actor]))
    assert session


def test_sigterm_stays_the_runs_own_after_ray_was_here(session: str) -> None:
    """Ray's handler would end the process; ours stops the run and keeps its results."""

    def ours(number: int, frame: object) -> None:
        del number, frame

    before, environment = signal.signal(signal.SIGTERM, ours), dict(os.environ)
    try:
        with ENGINES.get("ray")().open(make_job()):
            assert signal.getsignal(signal.SIGTERM) is ours
            assert dict(os.environ) == environment
    finally:
        signal.signal(signal.SIGTERM, before)
    assert session


# --- sessions ----------------------------------------------------------------------------


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """List a session's process and all below it."""
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def connections_of(process: psutil.Process) -> list[Any]:
    """List the connections of a process; a helper of Ray's may have ended meanwhile."""
    with suppress(psutil.NoSuchProcess):
        return process.net_connections("inet")
    return []


def are_alive(processes: Sequence[psutil.Process]) -> bool:
    """Whether one of them lives; a zombie does not."""
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            if each.is_running() and each.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("how", ["end of input", signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_a_session(how: str | signal.Signals) -> None:
    """Ended in good order, asked to end, or killed."""
    process, address = start_session(1)
    everyone = family(process)
    assert len(everyone) > 4
    assert address.startswith("127.0.0.1:")
    listening = [
        connection.laddr.ip
        for each in everyone
        for connection in connections_of(each)
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
    if isinstance(how, signal.Signals):
        process.send_signal(how)
    process.communicate(timeout=PATIENCE_S)
    assert eventually(lambda: not are_alive(everyone))


DRIVER = """
import sys
sys.path[:0] = [sys.argv[1]]
from test_ray import ENGINES, ConfigRecord, Message, RecordDict, make_job  # this very file
from flip_lab.core.errors import EngineError
with ENGINES.get("ray")().open(make_job(num_nodes=40)) as grid:
    content = RecordDict({"config": ConfigRecord({"nap": 2.0})})
    nap = [Message(content, node, "query.nap") for node in grid.get_node_ids()]
    ids = list(grid.push_messages(nap))
    print("begun", flush=True)
    try:
        while True:
            grid.await_replies(ids, timeout_s=1.0)
    except EngineError as error:
        print(error, flush=True)
"""


@pytest.mark.slow
def test_a_session_that_is_killed_in_mid_run_is_a_coded_error() -> None:
    """As ``ray stop`` does it: the run says so, and does not wait for what never comes.

    Not while it writes to Ray's store: a process that misses it there, Ray ends itself.
    """
    process, address = start_session(2)
    everyone = family(process)
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            ADDRESS_VARIABLES[0]: address,
        },
    )
    assert driver.stdout is not None
    assert driver.stdout.readline() == "begun\n"
    process.kill()
    output, _ = driver.communicate(timeout=PATIENCE_S)  # else it would ask for ever
    process.communicate()
    assert output.startswith("[FLIP-500] The Ray session has ended in the middle")
    assert driver.returncode == 0
    assert eventually(lambda: not are_alive(everyone))


def test_an_address_where_nobody_is_is_a_coded_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Soon, and with the variable to look at."""
    monkeypatch.setenv(ADDRESS_VARIABLES[0], "127.0.0.1:9")
    with (
        pytest.raises(EngineStartError, match="FLIP_LAB_RAY_ADDRESS"),
        ENGINES.get("ray")().open(make_job()),
    ):
        pass


def test_an_address_of_rays_client_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would connect, and then lack what leases need."""
    monkeypatch.setenv(ADDRESS_VARIABLES[1], "ray://head:10001")
    with (
        pytest.raises(EngineStartError, match="HOST:PORT"),
        ENGINES.get("ray")().open(make_job()),
    ):
        pass


def test_a_ray_that_cannot_start_is_a_coded_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Soon, so that ``auto`` can choose another engine."""
    services = pytest.importorskip("ray._private.services")
    monkeypatch.setattr(services, "GCS_SERVER_EXECUTABLE", "/bin/false")
    with (
        pytest.raises(EngineStartError, match="did not start"),
        ENGINES.get("ray")().open(make_job()),
    ):
        pass
