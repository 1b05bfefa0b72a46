"""What clients remember: kept whole, found again, and as it was before a repeated round."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.errors import NodeLimitError
from flip_lab.engines.flower.state_bytes import state_from_bytes, state_to_bytes
from flip_lab.node.attempts import MOST_ATTEMPTS, Attempts
from flip_lab.node.client_contexts import ClientContexts, Moment

MIB = 2**20


def at(server_round: int, *, flower_run: int = 1, run: str = "r") -> Moment:
    """Give a moment of a run."""
    return Moment(run=run, flower_run=flower_run, server_round=server_round)


def count(contexts: ClientContexts, moment: Moment) -> int:
    """Make one call and give its count."""
    state = contexts.load(moment)
    before = state.config_records["calls"]["n"] if "calls" in state else 0
    assert isinstance(before, int)
    state["calls"] = ConfigRecord({"n": before + 1})
    assert contexts.keep(moment, state) == ""
    return before + 1


@pytest.fixture
def contexts(tmp_path: Path) -> ClientContexts:
    """Keep contexts in a directory that is not there yet."""
    return ClientContexts(tmp_path / "contexts", most_bytes=MIB)


def test_runs_do_not_see_each_others(contexts: ClientContexts, tmp_path: Path) -> None:
    """Also when their ids look alike, or like paths; another object finds the same."""
    runs = ["a", "A", "../a", "a/b", "a_b", "x" * 300]
    for times in (1, 2):
        assert [count(contexts, at(times, run=run)) for run in runs] == [times] * len(runs)
    again = ClientContexts(tmp_path / "contexts", most_bytes=MIB)
    assert count(again, at(3, run="../a")) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["contexts"]


@given(rounds=st.lists(st.integers(1, 4), max_size=6), repeated=st.booleans())
def test_a_repeated_round_finds_what_was_before_it(
    tmp_path_factory: pytest.TempPathFactory, rounds: Sequence[int], *, repeated: bool
) -> None:
    """A run that is taken up again gives the counts of one that never stopped."""
    directory = tmp_path_factory.mktemp("contexts")
    contexts = ClientContexts(directory, most_bytes=MIB)
    calls = 0
    for server_round, num_calls in enumerate(rounds, 1):
        for _ in range(num_calls):
            calls += 1
            assert count(contexts, at(server_round)) == calls
    if repeated and rounds:
        calls -= rounds[-1]
        for _ in range(rounds[-1]):
            calls += 1
            assert count(contexts, at(len(rounds), flower_run=2)) == calls
    assert count(contexts, at(len(rounds) + 1, flower_run=2)) == calls + 1
    shutil.rmtree(directory)


def test_what_was_answered_stays_when_the_rest_of_a_round_is_asked_again(
    contexts: ClientContexts,
) -> None:
    """The hub was started again between training and evaluation: training is kept."""

    def told(kind: str, server_round: int, flower_run: int, driver: str = "d") -> int:
        moment = at(server_round, flower_run=flower_run)
        return count(contexts, replace(moment, kind=kind, driver=driver))

    assert [told("train", 1, 1), told("evaluate", 1, 1)] == [1, 2]
    assert told("train", 2, 1) == 3
    assert told("evaluate", 2, 1) == 4
    for flower_run in (2, 3):
        assert told("evaluate", 2, flower_run) == 4, "asked again: as it was"
    assert told("train", 3, 3) == 5
    assert told("train", 3, 4) == 5
    assert told("evaluate", 3, 4) == 6
    # Another driver goes on from a checkpoint: it does all of the round again.
    assert told("evaluate", 3, 5, driver="e") == 5
    assert told("train", 2, 6, driver="f") == 3


def test_a_damaged_file_is_put_aside(contexts: ClientContexts, tmp_path: Path) -> None:
    """The client begins anew; what there was stays for whoever wants to look."""
    count(contexts, at(1))
    [now] = tmp_path.rglob("now.context")
    content = now.read_bytes()
    for broken in (b"x", content[:-1], content[:-1] + b"\x00"):
        now.unlink()
        now.write_bytes(broken)
        assert count(contexts, at(1)) == 1
        assert now.with_suffix(".damaged").read_bytes() == broken


def test_a_state_that_is_too_large_is_not_kept(contexts: ClientContexts) -> None:
    """The next call finds the one before, and the log says why."""
    assert count(contexts, at(1)) == 1
    large = RecordDict({"memory": ArrayRecord([np.ones(MIB)])})
    assert "message-mb" in contexts.keep(at(1), large)
    assert count(contexts, at(1)) == 2


def test_clients_without_memory_leave_no_files(
    contexts: ClientContexts, tmp_path: Path
) -> None:
    """Most have none."""
    contexts.keep(at(1), contexts.load(at(1)))
    assert list(tmp_path.iterdir()) == []


def test_old_runs_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a node that serves for years needs no more room than this."""
    monkeypatch.setattr("flip_lab.node.client_contexts._MOST_RUNS", 3)
    contexts = ClientContexts(tmp_path, most_bytes=MIB)
    for number in range(6):
        count(contexts, at(1, run=f"r{number}"))
    assert len(list(tmp_path.iterdir())) == 3


@given(st.binary(max_size=300))
def test_no_bytes_but_ours_are_a_state(content: bytes) -> None:
    """Whatever is on the disk is read, or refused; nothing in it can run."""
    with pytest.raises(ValueError, match="it is"):
        state_from_bytes(content)


def test_a_state_comes_back_bit_by_bit() -> None:
    """Arrays of all kinds, and settings."""
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array([np.nan, -0.0])]
    state = RecordDict(
        {"a": ArrayRecord(arrays), "c": ConfigRecord({"b": b"\x00", "l": [1]})}
    )
    found = state_from_bytes(state_to_bytes(state))
    assert found["c"] == state["c"]
    for left, right in zip(
        found.array_records["a"].to_numpy_ndarrays(), arrays, strict=True
    ):
        assert left.tobytes() == right.tobytes()


def test_a_message_that_ends_the_node_is_refused_at_last(tmp_path: Path) -> None:
    """Twice may be an accident; others are worked on meanwhile."""
    path = tmp_path / "working.json"
    for _ in range(MOST_ATTEMPTS):
        Attempts(path).begin("poison")  # and the process is gone
    attempts = Attempts(path)
    with pytest.raises(NodeLimitError, match="workers = 1"):
        attempts.begin("poison")
    attempts.end("poison")
    attempts.begin("other")
    attempts.end("other")
    assert not path.exists()
    Attempts(path).begin("poison")


def test_a_broken_list_of_attempts_counts_as_none(tmp_path: Path) -> None:
    """A power cut may leave anything."""
    path = tmp_path / "working.json"
    for content in ("", "[]", "{", '{"a": "b"}'):
        path.write_text(content, "utf-8")
        Attempts(path).begin("a")


def test_a_full_disk_keeps_no_client_from_its_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is noted guards against messages that end nodes; it is no reason to refuse."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    attempts = Attempts(tmp_path / "working.json")
    with monkeypatch.context() as disk:
        disk.setattr(Path, "write_text", full)
        attempts.begin("a")
        attempts.begin("b")
        attempts.end("a")
    attempts.end("b")
    assert list(tmp_path.iterdir()) == []
