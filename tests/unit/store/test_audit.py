"""The lab's log: whole lines in order, whoever is killed; edited lines are found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.errors import StoreError, StoreFormatError, StoreNotWritableError
from flip_lab.store import audit_writer
from flip_lab.store.audit import (
    AuditRecord,
    Labels,
    audit_path,
    in_force,
    labels,
    parse,
    read_audit,
)
from flip_lab.store.audit_chain import head_path, verify_audit
from flip_lab.store.audit_writer import acting_as, append_audit, author, writing
from flip_lab.store.layout import LabDir, open_lab

PREAMBLE = """
import os, resource, signal, sys
from pathlib import Path
from flip_lab.core.errors import StoreError
from flip_lab.store.audit_writer import append_audit
from flip_lab.store.layout import LabDir

lab = LabDir(Path(sys.argv[1]))
"""
KILLED_AT_RANDOM = """
import random, time
from contextlib import suppress

def write(done):
    number = 0
    while True:
        body = {"tags": [f"{os.getpid()}-{number}"], "text": "x" * (number * 37 % 5000)}
        append_audit(lab, "tag", run_ids=["run"], body=body)
        os.write(done, f"{os.getpid()}-{number}\\n".encode())
        number += 1

dice = random.Random(0)
reading, writing = os.pipe()
os.set_blocking(reading, False)
said, num_pairs = b"", 0
while num_pairs < 30 or said.count(b"\\n") <= 30:  # on a slow machine few get far
    num_pairs += 1
    pair = []
    for _ in range(2):
        pair.append(os.fork() or write(writing))
    time.sleep(dice.uniform(0.0, 0.03))
    for child in pair:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with suppress(BlockingIOError):  # neither said a word
        said += os.read(reading, 2**20)
os.write(1, said)
"""
AWKWARD = [
    "'",
    '"',
    '"); DROP TABLE runs; --',
    "select",
    "ünïcödé 🎉",
    "a\tb",
    "{}",
    "\\",
    "\u2028",
]


@pytest.fixture
def start(lab: LabDir) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start programs that add to the lab's log in a process of their own."""
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


def said(lab: LabDir) -> list[str]:
    """Give the first tag of each action."""
    return [record.body["tags"][0] for record in read_audit(lab)]


def tag(lab: LabDir, name: str) -> AuditRecord:
    """Add an action that can be told from others."""
    return append_audit(lab, "tag", run_ids=["run"], body={"tags": [name]})


def test_a_lab_without_a_log_has_done_nothing(lab: LabDir) -> None:
    """And nothing is wrong with it."""
    assert read_audit(lab) == []
    assert verify_audit(lab) == []


def test_an_action_comes_back_as_it_was_kept(
    lab: LabDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its author, its runs and its place."""
    monkeypatch.setenv("FLIP_LAB_AUTHOR", " Ada ")
    first = append_audit(lab, "tag", run_ids=["a"], body={"tags": AWKWARD})
    second = append_audit(lab, "archive", run_ids=["a", "b"])
    third = append_audit(lab, "compact")
    assert read_audit(lab) == [first, second, third]
    assert [each.sequence for each in read_audit(lab)] == [0, 1, 2]
    assert first.author == "Ada"
    assert first.body["tags"] == AWKWARD
    assert [each.run_ids for each in (first, second, third)] == [("a",), ("a", "b"), ()]
    assert second.run_id is None
    assert verify_audit(lab) == []


def test_half_characters_do_not_stop_anybody(lab: LabDir) -> None:
    """Names of files may hold bytes that are no text."""
    kept = tag(lab, "a\udcffb")
    assert kept.body["tags"] == ["a\udcffb"]
    assert said(lab) == ["a?b"]
    assert verify_audit(lab) == []


def test_a_server_acts_as_whoever_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside the block only, whatever the server's own name, and in this thread alone."""
    monkeypatch.setenv("FLIP_LAB_AUTHOR", "server")
    heard: list[str] = []
    with acting_as("grace"):
        assert author() == "grace"
        other = threading.Thread(target=lambda: heard.append(author()))
        other.start()
        other.join()
    assert (author(), heard) == ("server", ["server"])


def test_the_author_is_the_user_unless_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a container whose user has a number and no name."""
    monkeypatch.delenv("FLIP_LAB_AUTHOR", raising=False)
    monkeypatch.setattr("getpass.getuser", lambda: "grace")
    assert author() == "grace"

    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert author() == f"user {os.getuid()}"


def test_a_clock_that_goes_back_changes_no_order(
    lab: LabDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last action wins, not the one with the latest time."""
    times = iter([1000.0, 10.0])
    monkeypatch.setattr(audit_writer, "now_s", lambda: next(times))
    append_audit(lab, "note", run_ids=["a"], body={"text": "first"})
    append_audit(lab, "note", run_ids=["a"], body={"text": "second"})
    assert [each.time_s for each in read_audit(lab)] == [1000.0, 10.0]
    assert labels(read_audit(lab))["a"].note == "second"


TORN = [b"{", b'{"v":1,"sequence":1', b"\x00\x00\x00", b"\xff", b"null", b"[]", b"5"]


@pytest.mark.parametrize("torn", TORN)
def test_a_torn_last_line_is_healed_by_the_next_writer(lab: LabDir, torn: bytes) -> None:
    """It was never acknowledged; the good line before it stays, the next is whole."""
    tag(lab, "good")
    with audit_path(lab).open("ab") as file:
        file.write(torn)
    assert said(lab) == ["good"]
    assert verify_audit(lab) == []
    tag(lab, "next")
    assert said(lab) == ["good", "next"]
    assert verify_audit(lab) == []
    assert audit_path(lab).read_bytes().count(b"\n") == 2


def test_a_line_that_lacks_only_its_newline_is_kept(lab: LabDir) -> None:
    """An editor may have taken it; the action was acknowledged."""
    tag(lab, "good")
    path = audit_path(lab)
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert said(lab) == ["good"]
    tag(lab, "next")
    assert said(lab) == ["good", "next"]
    assert verify_audit(lab) == []


def test_the_end_is_found_behind_a_very_long_line(lab: LabDir) -> None:
    """Longer than what is looked at first."""
    long = "x" * 300_000
    tag(lab, long)
    with audit_path(lab).open("ab") as file:
        file.write(b"y" * 200_000)
    tag(lab, "next")
    assert said(lab) == [long, "next"]
    assert verify_audit(lab) == []


@given(
    data=st.data(),
    names=st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=6),
)
def test_any_change_of_one_byte_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, names: list[str]
) -> None:
    """Anywhere in the file: an action is another one, gone, or there twice."""
    lab = open_lab(tmp_path_factory.mktemp("lab"))
    for name in names:
        tag(lab, name)
    path = audit_path(lab)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, 10**6)) % (len(content) - 1)  # not the last newline
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    assert verify_audit(lab)


@given(data=st.data(), count=st.integers(2, 6))
def test_any_line_taken_out_or_moved_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, count: int
) -> None:
    """The first, the last, several, or the same in another order."""
    lab = open_lab(tmp_path_factory.mktemp("lab"))
    for number in range(count):
        tag(lab, str(number))
    path = audit_path(lab)
    lines = path.read_bytes().splitlines(keepends=True)
    others = st.lists(st.sampled_from(lines), max_size=count + 1)
    path.write_bytes(b"".join(data.draw(others.filter(lambda some: some != lines))))
    assert verify_audit(lab)


def test_lines_lost_at_the_end_stay_found_when_others_follow(lab: LabDir) -> None:
    """The next action must not cover the gap."""
    for name in "abc":
        tag(lab, name)
    path = audit_path(lab)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert "went up to action 2" in verify_audit(lab)[0].what
    tag(lab, "d")
    assert [each.sequence for each in read_audit(lab)] == [0, 1, 3]
    assert [flaw.line for flaw in verify_audit(lab)] == [3]


def test_a_chain_made_anew_is_found(lab: LabDir) -> None:
    """Who rewrites the log from its beginning ends with another head."""
    for name in "ab":
        tag(lab, name)
    head = head_path(lab).read_bytes()
    audit_path(lab).unlink()
    head_path(lab).unlink()
    for name in "ac":
        tag(lab, name)
    head_path(lab).write_bytes(head)
    assert "made anew" in verify_audit(lab)[0].what


def test_a_damaged_head_says_nothing(lab: LabDir) -> None:
    """The chain still does; the next action mends it."""
    tag(lab, "a")
    head_path(lab).write_bytes(b"rubbish")
    assert verify_audit(lab) == []
    tag(lab, "b")
    assert head_path(lab).read_text().split() == [f"{1:020d}", read_audit(lab)[1].chain]


def test_a_line_of_a_newer_version_is_refused(lab: LabDir) -> None:
    """Guessing what it means could show a run that was deleted."""
    tag(lab, "a")
    path = audit_path(lab)
    path.write_bytes(path.read_bytes().replace(b'{"v":1,', b'{"v":2,'))
    for action in (read_audit, verify_audit, lambda lab: tag(lab, "b")):
        with pytest.raises(StoreFormatError):
            action(lab)


@pytest.mark.parametrize(
    "line",
    [b"", b"{}", b'"x"', b"[1]", b'{"v":1}', b'{"v":"x"}', b'{"v":null,"sequence":0}'],
)
def test_what_is_no_record_is_passed_over(line: bytes) -> None:
    """Whatever JSON it is."""
    assert parse(line) is None


def test_two_processes_take_turns(
    lab: LabDir, start: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    """Every line whole, every sequence once."""
    program = """
for number in range(40):
    append_audit(lab, "tag", run_ids=["run"], body={"tags": [f"{os.getpid()}-{number}"]})
"""
    several = [start(program) for _ in range(3)]
    assert [process.wait() for process in several] == [0, 0, 0]
    assert [each.sequence for each in read_audit(lab)] == list(range(120))
    expected = {f"{process.pid}-{n}" for process in several for n in range(40)}
    assert set(said(lab)) == expected
    assert verify_audit(lab) == []


def test_threads_take_turns(lab: LabDir) -> None:
    """The lock is the file's, not the process's."""
    threads = [
        threading.Thread(target=lambda: [tag(lab, "x") for _ in range(20)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.sequence for each in read_audit(lab)] == list(range(80))
    assert verify_audit(lab) == []


def test_killed_at_any_instant_nothing_acknowledged_is_lost(
    lab: LabDir, start: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    """Two writers at a time, killed thirty times or more; afterwards the log is whole."""
    process = start(KILLED_AT_RANDOM)
    output, _ = process.communicate()
    acknowledged = output.decode().split()
    assert process.returncode == 0
    assert len(acknowledged) > 30
    tag(lab, "survivor")
    kept = said(lab)
    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept))
    assert [each.sequence for each in read_audit(lab)] == list(range(len(kept)))
    assert verify_audit(lab) == []


def test_a_full_disk_leaves_nothing_half_done(
    lab: LabDir, start: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    """What was kept stays, what was not is told with a code; afterwards it goes on."""
    program = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
kept = 0
try:
    for number in range(100):
        append_audit(lab, "tag", run_ids=["run"], body={"tags": [str(number)]})
        kept += 1
except StoreError as error:
    print(kept, error.code)
"""
    process = start(program)
    output, _ = process.communicate()
    kept, code = output.split()
    assert code == b"FLIP-401"
    assert 3 < int(kept) < 100
    assert said(lab) == [str(number) for number in range(int(kept))]
    assert audit_path(lab).read_bytes().endswith(b"}\n")
    tag(lab, "after")
    assert said(lab)[-1] == "after"
    assert verify_audit(lab) == []


def test_a_log_that_cannot_be_written_is_a_coded_error(lab: LabDir) -> None:
    """A directory in its place does what a read-only disk does, also for root."""
    audit_path(lab).mkdir()
    with pytest.raises(StoreNotWritableError):
        tag(lab, "a")
    with pytest.raises(StoreError):
        read_audit(lab)


def test_who_hangs_is_not_waited_for_forever(
    lab: LabDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says what to look for."""
    monkeypatch.setattr(audit_writer, "_PATIENCE_S", 0.05)
    with writing(lab), pytest.raises(StoreError, match="held on"):
        tag(lab, "a")
    tag(lab, "b")
    assert said(lab) == ["b"]


def test_a_forked_child_does_not_keep_the_lock(lab: LabDir) -> None:
    """A fork in the middle of an action copies the open file."""
    with writing(lab) as log:
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
        log.append("tag", run_ids=["run"], body={"tags": ["a"]})
    try:
        tag(lab, "b")
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert said(lab) == ["a", "b"]


def test_an_undone_action_counts_no_more(lab: LabDir) -> None:
    """What others did stays; a launch cannot be undone."""
    born = append_audit(lab, "launch", run_ids=["a"], body={"tags": ["x"], "note": "n"})
    first = append_audit(lab, "tag", run_ids=["a"], body={"tags": ["y"]})
    append_audit(lab, "tag", run_ids=["a"], body={"tags": ["y", "z"]})
    for record in (born, first):
        append_audit(lab, "undo", run_ids=["a"], body={"sequence": record.sequence})
    assert labels(read_audit(lab)) == {"a": Labels(tags=("x", "y", "z"), note="n")}
    assert [each.action for each in in_force(read_audit(lab))] == ["launch", "tag"]


def test_removed_runs_come_back_only_by_an_import(lab: LabDir) -> None:
    """As new ones."""
    append_audit(lab, "tag", run_ids=["a"], body={"tags": ["old"]})
    append_audit(lab, "delete", run_ids=["a"])
    assert labels(read_audit(lab))["a"].is_hidden
    append_audit(lab, "empty_trash", body={"run_ids": ["a"]})
    append_audit(lab, "undelete", run_ids=["a"])
    assert labels(read_audit(lab))["a"].is_hidden
    append_audit(lab, "import", run_ids=["a"], body={"tags": ["new"], "note": ""})
    assert labels(read_audit(lab)) == {"a": Labels(tags=("new",))}


@pytest.mark.parametrize("body", [{}, {"tags": None}, {"tags": "x"}, {"tags": [1, None]}])
def test_a_damaged_body_says_nothing(lab: LabDir, body: dict[str, object]) -> None:
    """A line written by hand must not make the lab unreadable."""
    append_audit(lab, "tag", run_ids=["a"], body=body)
    append_audit(lab, "unheard-of", run_ids=["a"], body=body)
    assert labels(read_audit(lab)) == {"a": Labels()}


def test_the_log_is_plain_json_lines(lab: LabDir) -> None:
    """Anybody can read it."""
    tag(lab, "ä")
    [line] = audit_path(lab).read_text(encoding="utf-8").splitlines()
    assert list(json.loads(line)) == [
        "v",
        "sequence",
        "time_s",
        "author",
        "action",
        "run_id",
        "body",
        "chain",
    ]
