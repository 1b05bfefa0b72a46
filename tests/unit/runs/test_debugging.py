"""A run in the middle of a kernel: what raises arrives, what was changed is put back."""

from __future__ import annotations

import bdb
import logging
import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import pytest
from flwr.app import Array, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from flip_lab.core.errors import ClientsFailedError, InvalidValueError
from flip_lab.engines.base import AppSource
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.flower.kept import kept_flower
from flip_lab.engines.flower.messages import become_server
from flip_lab.engines.run_grid import StopRun
from flip_lab.runs.debugging import Debugger, debug_place
from flip_lab.runs.kept_kernel import kept_kernel
from flip_lab.runs.stage import ClientRaised


class Calls:
    """An app of two functions that raise what they are given."""

    def __init__(self, raised: BaseException) -> None:
        self._raised = raised

    def load_server_app(self) -> ServerApp:
        """Give a ServerApp that raises."""
        return cast("ServerApp", self._raise)

    def load_client_app(self) -> ClientApp:
        """Give a ClientApp that raises."""
        return cast("ClientApp", self._raise)

    def _raise(self, **_: object) -> None:
        raise self._raised

    def fab_files(self) -> dict[str, bytes]:
        """Give no files."""
        return {}


def call_client(app: AppSource) -> None:
    """Call a client as an engine does, and swallow what an app may swallow."""
    become_server(5)
    context = Context(1, 1, {"partition-id": 3}, RecordDict(), {})
    message = Message(RecordDict(), dst_node_id=1, message_type="train")
    with suppress(Exception):
        app.load_client_app()(message=message, context=context)


def test_what_a_client_raises_passes_every_except_and_keeps_its_frames() -> None:
    """The record says whose it was; the traceback reaches from here to there."""
    debugger = Debugger()
    with pytest.raises(ClientRaised) as caught:
        call_client(debugger.watched(Calls(ValueError("boom"))))
    carried = caught.value
    assert isinstance(carried.error, ClientsFailedError)
    assert "partition 3 raised ValueError" in carried.error.what
    debugger.caught(carried)
    assert isinstance(debugger.raised, ValueError)
    trace = traceback.walk_tb(debugger.raised.__traceback__)
    frames = [each.f_code.co_name for each, _ in trace]
    assert frames[:2] == [
        "test_what_a_client_raises_passes_every_except_and_keeps_its_frames",
        "call_client",
    ]
    assert frames[-1] == "_raise"


def test_the_first_exception_counts() -> None:
    """What follows from it is not what the user looks for."""
    debugger = Debugger()
    first, second = ValueError("first"), KeyError("second")
    with pytest.raises(ClientRaised):
        call_client(debugger.watched(Calls(first)))
    debugger.caught(second)
    assert debugger.raised is first


def test_leaving_the_debugger_is_a_wish_to_stop() -> None:
    """``q`` at the prompt raises in the code that was looked at."""
    app = Debugger().watched(Calls(bdb.BdbQuit()))
    with pytest.raises(StopRun):
        call_client(app)
    with pytest.raises(StopRun):
        app.load_server_app()(grid=cast("Any", None), context=cast("Any", None))


def test_a_run_is_debugged_here_without_a_time_out() -> None:
    """An alarm would go off at a breakpoint."""
    for on in ("auto", "in_process"):
        assert debug_place(on).engine == "in_process"
        assert debug_place(on).client_timeout_s is None
    with pytest.raises(InvalidValueError, match="'ray'"):
        debug_place("ray")


def test_a_kernel_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the block raises."""
    (tmp_path / "flip_lab_test_module.py").write_text("", encoding="utf-8")
    own = ModuleType("flip_lab_test_module")
    monkeypatch.setitem(sys.modules, "flip_lab_test_module", own)
    logger = logging.getLogger("flwr")
    before = (os.getcwd(), list(sys.path), list(logger.handlers), logger.level)  # noqa: PTH109
    handlers = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    was_hidden = False
    with suppress(ZeroDivisionError), kept_kernel(tmp_path):
        was_hidden = "flip_lab_test_module" not in sys.modules
        os.chdir(tmp_path)
        sys.path.insert(0, str(tmp_path))
        __import__("flip_lab_test_module")
        logger.handlers.clear()
        logger.setLevel(1)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise ZeroDivisionError
    assert was_hidden
    assert before == (os.getcwd(), list(sys.path), list(logger.handlers), logger.level)  # noqa: PTH109
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    assert sys.modules["flip_lab_test_module"] is own


def test_an_interrupt_stops_the_run(tmp_path: Path) -> None:
    """It passes an app's ``except Exception``, as a wish to stop does."""
    with pytest.raises(StopRun), kept_kernel(tmp_path):
        signal.raise_signal(signal.SIGINT)


def test_flower_is_put_back_and_arrays_stay_readable() -> None:
    """What a traceback's frames hold can be looked at after the run."""
    own = vars(Array)["numpy"]
    with kept_flower():
        vars_before = dict(vars(Array))
        install_fast_arrays()
        changed = vars(Array)["numpy"] is not vars_before["numpy"]
        array = Array.from_numpy_ndarray(np.arange(3.0))
    assert vars(Array)["numpy"] is own
    assert changed or vars_before["numpy"].__module__ == "flip_lab.engines.flower.arrays"
    np.testing.assert_array_equal(array.numpy(), [0, 1, 2])
    assert array.data.startswith(b"\x93NUMPY")
