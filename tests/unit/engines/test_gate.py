"""The gate: seen alike by several processes, and closed for good once it is closed."""

from __future__ import annotations

import gc
import os
import select
import threading
from pathlib import Path

import pytest
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from flip_lab.engines.clients import ClientCall, ClientSetting
from flip_lab.engines.flower.messages import become_server, stamp
from flip_lab.engines.gate import Bell, Gate
from flip_lab.engines.in_process import InProcessExecutor

_PATIENCE_S = 120.0


def num_descriptors() -> int:
    """Count the open files of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_another_gate_of_the_same_descriptor_shows_the_same() -> None:
    """As a worker process has one."""
    gate = Gate()
    seen = Gate(os.dup(gate.descriptor))
    assert seen.is_open
    gate.close()
    assert not seen.is_open
    gate.open()
    assert seen.is_open


def test_a_gate_that_nobody_has_any_more_leaves_no_open_file() -> None:
    """A lab runs one job after another in one process."""
    Gate()
    gc.collect()
    before = num_descriptors()
    Gate()
    gc.collect()
    assert num_descriptors() <= before  # an earlier test's may go meanwhile


def test_a_ticket_admits_until_the_next_closing() -> None:
    """There is none while it is closed; closing a closed gate is no closing."""
    gate = Gate()
    first = gate.ticket()
    assert first == gate.closings == 0
    gate.close()
    gate.close()
    assert gate.ticket() is None
    assert gate.closings == 1
    gate.open()
    assert gate.ticket() == 1


def test_who_waits_is_woken_by_another_thread() -> None:
    """Before its time is over; and not at all while the gate stays closed."""
    gate = Gate()
    assert gate.wait(0.0)
    gate.close()
    assert not gate.wait(0.01)
    opener = threading.Timer(0.05, gate.open)
    opener.start()
    assert gate.wait(_PATIENCE_S)
    assert opener.is_alive() or gate.is_open
    opener.join()


def test_listeners_hear_each_move_and_nothing_after_they_left() -> None:
    """A move that changes nothing is none."""
    gate, heard = Gate(), list[bool]()

    def listen() -> None:
        heard.append(gate.is_open)

    gate.watch(listen)
    gate.open()
    gate.close()
    gate.close()
    gate.open()
    gate.unwatch(listen)
    gate.unwatch(listen)
    gate.close()
    assert heard == [False, True]


def test_a_bell_can_be_waited_for_and_silenced() -> None:
    """However often it was rung."""
    bell = Bell()
    bell.silence()
    assert select.select([bell], [], [], 0)[0] == []
    bell.ring()
    bell.ring()
    assert select.select([bell], [], [], 0)[0] == [bell]
    bell.silence()
    assert select.select([bell], [], [], 0)[0] == []
    bell.close()


# --- in process ------------------------------------------------------------------------


@pytest.fixture
def app() -> ClientApp:
    """Give an app that says which partition it served."""
    made = ClientApp()

    @made.train()
    def train(message: Message, context: Context) -> Message:
        del context
        return Message(RecordDict(), reply_to=message)

    return made


def calls_of(count: int) -> list[ClientCall]:
    """Ask that many clients."""
    become_server(1)
    made: list[ClientCall] = []
    for number in range(count):
        message = Message(RecordDict(), 1, "train")
        stamp(message, f"m{number}")
        made.append(
            ClientCall(
                message=message,
                partition_id=number,
                server_round=1,
                phase="train",
                state=RecordDict(),
            )
        )
    return made


def test_in_process_the_gate_is_looked_at_before_each_client(app: ClientApp) -> None:
    """Many short ones are carried out at a time; the second closes the gate behind it."""
    gate, begun = Gate(), list[str]()

    @app.query()
    def close(message: Message, context: Context) -> Message:
        del context
        begun.append(message.metadata.message_id)
        if len(begun) == 2:
            gate.close()
        return Message(RecordDict(), reply_to=message)

    setting = ClientSetting(run_number=1, seed=0, num_nodes=9, run_config={})
    executor = InProcessExecutor(app, setting, gate)
    calls = calls_of(5)
    for call in calls:
        call.message.metadata.message_type = "query"
    executor.submit(calls)
    done = executor.completed(timeout_s=_PATIENCE_S)
    if len(done) == 1:  # on a slow machine a client may fill the slice
        done += executor.completed(timeout_s=_PATIENCE_S)
    assert [each.message_id for each in done] == ["m0", "m1"]
    assert executor.completed(timeout_s=0.01) == []
    threading.Timer(0.05, gate.open).start()
    while len(done) < 5:
        new = executor.completed(timeout_s=_PATIENCE_S)
        assert new
        done += new
    assert [each.message_id for each in done] == [f"m{number}" for number in range(5)]
