"""FLIP Lab's engines: a whole run, as a run process conducts it."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from engine_gate import Gate
from engine_notebook import define_client
from engine_workloads import SEED, Workload

from flip_lab.core.events import EventKind, Json
from flip_lab.core.state import RunState
from flip_lab.engines import nursery
from flip_lab.engines.catalogue import ENGINES
from flip_lab.runs.conduct import conduct
from flip_lab.runs.control_room import ControlRoom
from flip_lab.runs.recorder import Recorder
from flip_lab.runs.spec import RunSpec
from flip_lab.runs.stage import Stage
from flip_lab.store.blobs import Blobs
from flip_lab.store.journal import JournalWriter
from flip_lab.store.layout import LabDir, open_lab

_WORKERS = 2
_RUN_ID = "benchmark"
_HERE = Path(__file__).parent
_FORKING = ("processes", "vectorised")
_CLIENTS = {"vectorised": "engine_declared"}


class GatedRecorder(Recorder):
    """A run's recorder that can be told to forget.

    Attributes:
        gate: Says whether to record.
        problem: Why the run failed, if it did.
    """

    gate: Gate
    problem: Json = ""

    def emit(self, kind: EventKind, body: Mapping[str, Json], *, server_round: int) -> None:
        """Record a fact, or forget it while the gate says so."""
        self.problem = body.get("what", self.problem)
        if self.gate.is_recorded or kind is EventKind.STATE:
            super().emit(kind, body, server_round=server_round)


class GatedRoom(ControlRoom):
    """Stops the run when the benchmark's gate has closed.

    Attributes:
        bench: The benchmark's gate.
    """

    bench: Gate

    def stop_requested(self) -> bool:
        """Say whether the benchmark is over."""
        return self.bench.is_over


def run(engine: str, workload: Workload, gate: Gate) -> None:
    """Run rounds until the gate closes."""
    if engine not in ENGINES.names():
        gate.report(skipped="there is no such engine")
        return
    if engine in _CLIENTS and workload.is_notebook:
        gate.report(skipped="its clients are declared, not written in a notebook")
        return
    logging.getLogger("flwr").setLevel(logging.ERROR)
    if engine in _FORKING:  # as a run process does, while it is one thread
        nursery.keep(nursery.Nursery.fork_here())
    with tempfile.TemporaryDirectory() as folder:
        _conduct(open_lab(folder), engine, workload, gate)


def _conduct(lab: LabDir, engine: str, workload: Workload, gate: Gate) -> None:
    run_dir = Path(lab.root) / "runs" / _RUN_ID
    _place_app(run_dir / "app", workload)
    recorder = GatedRecorder(_RUN_ID, JournalWriter(lab, _RUN_ID))
    recorder.gate = gate
    room = GatedRoom(run_dir, recorder)
    room.bench = gate
    try:
        stage = Stage(
            spec=_spec(engine, workload),
            run_dir=run_dir,
            recorder=recorder,
            control=room,
            blobs=Blobs(lab),
        )
        final = conduct(stage)
    finally:
        room.close()
        recorder.close()
    if final is not RunState.STOPPED:
        raise RuntimeError(f"The run ended as {final}: {recorder.problem}")


def _place_app(folder: Path, workload: Workload) -> None:
    """Put the app where a launch would: a directory, or the objects of a notebook."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not workload.is_notebook:
        folder.symlink_to(_HERE, target_is_directory=True)
        return
    cloudpickle: Any = import_module("cloudpickle")
    apps = {"server": import_module("engine_app").server_app, "client": define_client()}
    folder.mkdir()
    for name, app in apps.items():
        (folder / f"{name}.pkl").write_bytes(cloudpickle.dumps(app))


def _spec(engine: str, workload: Workload) -> RunSpec:
    return RunSpec(
        run_id=_RUN_ID,
        name=f"benchmark-{workload.name}",
        kind="notebook" if workload.is_notebook else "app",
        created_s=time.time(),  # noqa: TID251  # nobody reads it
        seed=SEED,
        num_rounds=None,
        num_nodes=workload.num_nodes,
        engine=engine,
        federation=None,
        workers=_WORKERS,
        run_config={"workload": workload.name},
        overrides={},
        server_ref="engine_app:server_app",
        client_ref=f"{_CLIENTS.get(engine, 'engine_app')}:client_app",
        launched_from=os.getcwd(),  # noqa: PTH109  # a string is wanted
        working_dir=os.getcwd(),  # noqa: PTH109  # as above
        search_path=list(sys.path),
    )
