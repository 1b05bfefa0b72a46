"""What was acknowledged stays, whatever happens to the writer; readers see it once."""

from __future__ import annotations

import errno
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from flip_lab.core.errors import SecondWriterError, StoreError, StoreNotWritableError
from flip_lab.core.events import MetricSeries, RunEvent
from flip_lab.store import journal
from flip_lab.store.events import read_events
from flip_lab.store.frames import encode
from flip_lab.store.journal import (
    JournalTail,
    JournalWriter,
    journals,
    last_sequence,
)
from flip_lab.store.layout import LabDir
from flip_lab.store.query import sql

Metrics = Callable[[int, int], list[RunEvent]]

PREAMBLE = """
import os, resource, sys, time
from pathlib import Path
from flip_lab.core.errors import StoreError
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.store.journal import JournalWriter, last_sequence
from flip_lab.store.layout import LabDir

lab = LabDir(Path(sys.argv[1]))
writer = JournalWriter(lab, "run")
done = last_sequence(lab, "run") + 1

def batch(first, count, text="x"):
    return [
        RunEvent(run_id="run", sequence=s, time_s=1.0, server_round=0,
                 kind=EventKind.WARNING, body={"code": "c", "message": text})
        for s in range(first, first + count)
    ]
"""

WRITE_UNTIL_SEEN = """
k = 0
while k < 400 or not (lab.root / "seen").exists():  # however slow its reader is
    writer.append(batch(3 * k, 3, 'y' * 500))
    k += 1
    time.sleep(0.001)
"""


@pytest.fixture
def start(lab: LabDir) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start programs that write the lab's run in a process of their own."""
    started: list[subprocess.Popen[bytes]] = []

    def run(program: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", PREAMBLE + program, str(lab.root)]
        path = os.pathsep.join(sys.path)
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def sequences(events: list[RunEvent]) -> list[int]:
    """Give the sequences of events."""
    return [event.sequence for event in events]


def sql_sequences(lab: LabDir) -> list[int]:
    """Give the sequences that SQL sees."""
    rows = sql(lab, "SELECT sequence FROM events ORDER BY sequence", as_="rows")
    return [row["sequence"] for row in rows]


def test_events_come_back_in_order(lab: LabDir, metrics: Metrics) -> None:
    """Batches of any size come back as they were given, one line for each batch."""
    events = metrics(0, 9)
    with closing(JournalWriter(lab, "run")) as writer:
        for first, last in [(0, 1), (1, 1), (1, 6), (6, 9)]:
            writer.append(event for event in events[first:last])
    assert read_events(lab, "run") == events
    assert read_events(lab, "run", after=6) == events[7:]
    assert last_sequence(lab, "run") == 8
    [journal] = journals(lab, "run")
    assert journal.read_bytes().count(b"\n") == 3


def test_a_run_without_journal_has_no_events(lab: LabDir) -> None:
    """Nothing is there before the first writer, and asking makes nothing."""
    assert read_events(lab, "run") == []
    assert last_sequence(lab, "run") == -1
    assert JournalTail(lab, "run").poll() == []
    assert not lab.live_dir("run").exists()


@pytest.mark.parametrize("first", [0, 2, 4, 7])
def test_a_gap_or_a_repeat_is_refused(lab: LabDir, metrics: Metrics, first: int) -> None:
    """The stream stays gap-free, and the writer stays usable."""
    with closing(JournalWriter(lab, "run")) as writer:
        writer.append(metrics(0, 3))
        with pytest.raises(StoreError, match=f"got event {first} .* where event 3 belongs"):
            writer.append(metrics(first, 2))
        with pytest.raises(StoreError, match="where event 4 belongs"):
            writer.append([*metrics(3, 1), *metrics(5, 1)])
        writer.append(metrics(3, 2))
    assert sequences(read_events(lab, "run")) == [0, 1, 2, 3, 4]


def test_another_runs_event_is_refused(lab: LabDir, metrics: Metrics) -> None:
    """A journal holds one run."""
    with (
        closing(JournalWriter(lab, "other")) as writer,
        pytest.raises(StoreError, match="run"),
    ):
        writer.append(metrics(0, 1))


def test_a_second_living_writer_is_refused(lab: LabDir, metrics: Metrics) -> None:
    """The error names the process that writes; the first writer is not disturbed."""
    with closing(JournalWriter(lab, "run")) as writer:
        writer.append(metrics(0, 1))
        with pytest.raises(SecondWriterError, match=f"written by process {os.getpid()} on"):
            JournalWriter(lab, "run")
        writer.append(metrics(1, 1))
        JournalWriter(lab, "another run").close()
    with closing(JournalWriter(lab, "run", role="launcher")) as heir:
        heir.append(metrics(2, 1))
    assert sequences(read_events(lab, "run")) == [0, 1, 2]
    assert [path.name.split("-")[0] for path in journals(lab, "run")] == ["launcher", "run"]


def test_a_closed_writer_takes_nothing(lab: LabDir, metrics: Metrics) -> None:
    """Closing twice is fine; writing after it is an error."""
    writer = JournalWriter(lab, "run")
    writer.close()
    writer.close()
    with pytest.raises(StoreError, match="closed"):
        writer.append(metrics(0, 1))
    assert read_events(lab, "run") == []


def test_a_lab_that_cannot_be_written_says_so(lab: LabDir) -> None:
    """A file where the journals belong is reported with its path."""
    lab.live.write_text("in the way")
    with pytest.raises(StoreNotWritableError, match=r"live.* cannot be written"):
        JournalWriter(lab, "run")


def test_the_disk_is_synced_once_a_second_and_at_the_end(
    lab: LabDir, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many small batches do not wait for the disk each."""
    now, synced = [0.0], []
    monkeypatch.setattr("flip_lab.store.journal.tick_s", lambda: now[0])
    monkeypatch.setattr(os, "fdatasync", lambda _descriptor: synced.append(now[0]))
    writer = JournalWriter(lab, "run")
    for sequence in range(25):
        now[0] = sequence / 10
        writer.append(metrics(sequence, 1))
    assert synced == [1.0, 2.0]
    writer.close()
    assert synced == [1.0, 2.0, 2.4]


def test_a_disk_that_refuses_a_sync_does_not_keep_a_batch_twice(
    lab: LabDir, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quota is told late on a shared disk: what was refused may be appended again."""
    is_full = True

    def fdatasync(descriptor: int) -> None:
        del descriptor
        if is_full:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(journal, "_SYNC_EVERY_S", 0.0)
    monkeypatch.setattr(journal, "_ROLL_BYTES", 1)
    monkeypatch.setattr(os, "fdatasync", fdatasync)
    writer = JournalWriter(lab, "run", rolled=lambda _path: None)
    writer.append(metrics(0, 2))
    with pytest.raises(StoreNotWritableError, match="quota exceeded"):
        writer.append(metrics(2, 2))
    assert sequences(read_events(lab, "run")) == [0, 1]
    is_full = False
    writer.append(metrics(2, 2))
    writer.close()
    assert sequences(read_events(lab, "run")) == [0, 1, 2, 3]


def test_a_line_counts_when_its_json_is_whole(lab: LabDir, metrics: Metrics) -> None:
    """Cut anywhere, the journal gives its whole lines: to Python and SQL alike."""
    with closing(JournalWriter(lab, "run")) as writer:
        for first in (0, 2, 4):
            writer.append(metrics(first, 2))
    [journal] = journals(lab, "run")
    content = journal.read_bytes()
    ends = [end for end, letter in enumerate(content) if letter == ord("\n")]
    for size in range(len(content), -1, -1):
        os.truncate(journal, size)
        whole = sum(end <= size for end in ends)
        assert sequences(read_events(lab, "run")) == list(range(2 * whole))
        assert last_sequence(lab, "run") == 2 * whole - 1
        if any(abs(size - end) <= 1 for end in ends) or size in {0, 1, ends[1] + 40}:
            assert sql_sequences(lab) == list(range(2 * whole))


def test_a_heir_continues_after_a_torn_line(lab: LabDir, metrics: Metrics) -> None:
    """What a killed writer left half-written is passed over, and its place taken."""
    with closing(JournalWriter(lab, "run")) as writer:
        writer.append(metrics(0, 3))
    [journal] = journals(lab, "run")
    with journal.open("ab") as file:
        file.write(encode(metrics(3, 2))[:50])
    with closing(JournalWriter(lab, "run")) as heir:
        heir.append(metrics(3, 1))
    assert sequences(read_events(lab, "run")) == [0, 1, 2, 3]
    assert sql_sequences(lab) == [0, 1, 2, 3]


def test_a_tail_waits_for_the_rest_of_a_line(lab: LabDir, metrics: Metrics) -> None:
    """Half a line is not yielded, and read again when it is whole."""
    tail = JournalTail(lab, "run")
    journal = lab.live_dir("run") / "run-host-1-aa.jsonl"
    journal.parent.mkdir(parents=True)
    lines = encode(metrics(0, 2)) + encode(metrics(2, 1))
    seen: list[int] = []
    for start in range(0, len(lines), 7):
        with journal.open("ab") as file:
            file.write(lines[start : start + 7])
        seen += sequences(tail.poll())
    assert seen == [0, 1, 2]
    assert tail.poll() == []


def test_a_tail_begins_after_a_sequence(lab: LabDir, metrics: Metrics) -> None:
    """A widget that saw some events is told only of the others."""
    with closing(JournalWriter(lab, "run")) as writer:
        writer.append(metrics(0, 5))
        tail = JournalTail(lab, "run", after=2)
        assert sequences(tail.poll()) == [3, 4]
        writer.append(metrics(5, 2))
        assert sequences(tail.poll()) == [5, 6]


def test_a_tail_survives_the_removal_of_the_run(lab: LabDir, metrics: Metrics) -> None:
    """A run that somebody deleted has no news."""
    tail = JournalTail(lab, "run")
    with closing(JournalWriter(lab, "run")) as writer:
        writer.append(metrics(0, 1))
    assert len(tail.poll()) == 1
    for path in lab.live_dir("run").iterdir():
        path.unlink()
    lab.live_dir("run").rmdir()
    assert tail.poll() == []


def test_a_reader_beside_a_writer_sees_each_event_once(
    lab: LabDir, start: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    """Polling while another process writes gives every event once and in order."""
    writing = start(WRITE_UNTIL_SEEN)
    tail = JournalTail(lab, "run")
    seen: list[int] = []
    polls = 0
    while writing.poll() is None:
        if news := sequences(tail.poll()):
            seen += news
            polls += 1
        if polls > 1:
            (lab.root / "seen").touch()
    seen += sequences(tail.poll())
    assert writing.returncode == 0
    assert len(seen) >= 1200
    assert seen == list(range(len(seen)))
    assert last_sequence(lab, "run") == seen[-1]


def test_sql_beside_a_writer_sees_a_gap_free_beginning(
    lab: LabDir, start: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    """A notebook that asks while a run writes gets whole batches, never a hole."""
    assert sql_sequences(lab) == []  # what the first question loads is not the writer's
    writing = start(WRITE_UNTIL_SEEN)
    answers = [0]
    while writing.poll() is None:
        kept = sql_sequences(lab)
        assert kept == list(range(len(kept)))
        answers.append(len(kept))
        if len({*answers}) > 2:  # two beginnings, of different lengths
            (lab.root / "seen").touch()
    assert writing.returncode == 0
    assert answers == sorted(answers)
    assert len(sql_sequences(lab)) == last_sequence(lab, "run") + 1 >= 1200


def test_threads_share_a_writer(lab: LabDir, metrics: Metrics) -> None:
    """Of four threads that append the same event exactly one succeeds."""
    refused: list[StoreError] = []

    def append_all() -> None:
        for sequence in range(200):
            try:
                writer.append(metrics(sequence, 1))
            except StoreError as error:
                refused.append(error)

    with closing(JournalWriter(lab, "run")) as writer:
        threads = [threading.Thread(target=append_all) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    kept = sequences(read_events(lab, "run"))
    assert kept == list(range(len(kept)))
    assert len(kept) + len(refused) == 4 * 200


def test_kill_9_loses_nothing_that_was_acknowledged(
    lab: LabDir, start: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    """Twenty-five writers of one run, each killed at a random moment, leave no gap."""
    program = """
while True:
    writer.append(batch(done, 20))
    done += 20
    os.write(1, b"%12d" % done)
"""
    moments = random.Random(4)  # noqa: S311 -- moments, not secrets
    for _ in range(25):
        process = start(program)
        assert process.stdout is not None
        said = process.stdout.read(12)
        time.sleep(moments.random() * 0.004)
        process.kill()
        said += process.communicate()[0]
        acknowledged = int(said[-12:])
        assert last_sequence(lab, "run") >= acknowledged - 1
    kept = sequences(read_events(lab, "run"))
    assert kept == list(range(len(kept)))
    assert len(journals(lab, "run")) == 25
    assert sql_sequences(lab) == kept


def test_a_full_disk_loses_nothing_that_was_acknowledged(
    lab: LabDir, start: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    """A batch that does not fit is refused whole, and fits again once there is room."""
    process = start("""
limit = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
refused = 0
try:
    while True:
        writer.append(batch(done, 10))
        done += 10
except StoreError as error:
    assert "takes no more" in str(error) and "Fix: Free some space" in str(error), error
try:
    writer.append(batch(done, 10))
except StoreError:
    refused = done
resource.setrlimit(resource.RLIMIT_FSIZE, limit)
writer.append(batch(done, 10))
writer.close()
print(refused, done + 10)
""")
    refused, kept = map(int, process.communicate()[0].split())
    assert process.returncode == 0
    assert 0 < refused == kept - 10
    assert sequences(read_events(lab, "run")) == list(range(kept))
    assert sql_sequences(lab) == list(range(kept))


def test_a_line_that_lacks_only_its_newline_is_kept(
    lab: LabDir, start: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    """The last byte that does not fit costs nothing, now or later."""
    process = start("""
from flip_lab.store.frames import encode
limit = resource.getrlimit(resource.RLIMIT_FSIZE)
size = len(encode(batch(0, 3)))
resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1, limit[1]))
writer.append(batch(0, 3))
resource.setrlimit(resource.RLIMIT_FSIZE, limit)
writer.append(batch(3, 2))
""")
    process.communicate()
    assert process.returncode == 0
    assert sequences(read_events(lab, "run")) == [0, 1, 2, 3, 4]
    assert sql_sequences(lab) == [0, 1, 2, 3, 4]


def test_a_forked_child_lets_go_of_the_journal(
    lab: LabDir, start: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    """A child can neither write nor keep the lock when its parent is killed."""
    process = start("""
writer.append(batch(0, 1))
if os.fork() == 0:
    try:
        writer.append(batch(1, 1))
    except StoreError as error:
        print("closed" in str(error), os.getpid(), flush=True)
    time.sleep(60)
time.sleep(60)
""")
    assert process.stdout is not None
    is_refused, child = process.stdout.readline().split()
    process.kill()
    process.wait()
    try:
        JournalWriter(lab, "run").close()
    finally:
        os.kill(int(child), signal.SIGKILL)
    assert is_refused == b"True"
    assert sequences(read_events(lab, "run")) == [0]


def test_the_write_path_is_light() -> None:
    """A run's process needs no pandas, pyarrow or DuckDB to be recorded."""
    program = (
        "import sys, flip_lab.store.journal, flip_lab.store.blobs\n"
        "print({'duckdb', 'numpy', 'pandas', 'pyarrow'} & sys.modules.keys())"
    )
    path = os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.stdout == b"set()\n"


def test_a_series_is_as_many_events(lab: LabDir) -> None:
    """Columns give the same facts as events would, and nothing of a bad one is kept."""
    series = MetricSeries(
        phase="train",
        scope="central",
        server_rounds=[1, 1, 2],
        names=["loss", "é", "loss"],
        values=[0.5, math.nan, -math.inf],
    )
    with closing(JournalWriter(lab, "run")) as writer:
        writer.append_metrics(series, time_s=5.0)
        with pytest.raises(StoreError, match="2 names and 3 values"):
            writer.append_metrics(replace(series, names=["a", "b"]), time_s=6.0)
        writer.append_metrics(
            replace(series, server_rounds=[], names=[], values=[]), time_s=7
        )
        assert writer.next_sequence == 3
    found = read_events(lab, "run")
    assert [event.sequence for event in found] == [0, 1, 2]
    assert [event.server_round for event in found] == [1, 1, 2]
    assert [event.body["name"] for event in found] == ["loss", "é", "loss"]
    assert [str(event.body["value"]) for event in found] == ["0.5", "nan", "-inf"]
    assert [event.body["scope"] for event in found] == ["central"] * 3
    assert {event.time_s for event in found} == {5.0}
