"""The run process: ``python -m flip_lab.runs.process RUN_DIR``, started by a launch.

It belongs to nobody: a session of its own, so that neither an interrupt nor the death of
the kernel that launched it reaches it.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from threading import current_thread, main_thread

from flip_lab.core.errors import EngineStartError
from flip_lab.core.events import in_force
from flip_lab.core.state import RunState
from flip_lab.engines import nursery
from flip_lab.runs import life_sign
from flip_lab.runs.control_room import ControlRoom
from flip_lab.runs.recorder import Recorder
from flip_lab.runs.replay import Replay
from flip_lab.runs.sealing import FullJournals, seal_ended
from flip_lab.runs.spec import RunSpec
from flip_lab.runs.stage import Debugger, Stage
from flip_lab.store.blobs import Blobs
from flip_lab.store.events import read_events
from flip_lab.store.journal import JournalWriter
from flip_lab.store.layout import open_lab

LOCK_VARIABLE = "FLIP_LAB_RUN_LOCK"
_FORKING_ENGINES = frozenset({"auto", "processes", "vectorised"})
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def command(run_dir: Path) -> list[str]:
    """Give the command line of a run process."""
    return [sys.executable, "-P", "-m", "flip_lab.runs.process", str(run_dir)]


def main(run_dir: Path) -> int:
    """Be a run process that was started cold, as a program.

    Args:
        run_dir: ``<lab>/runs/<run_id>``.

    Returns:
        Exit status: 0 when the run completed or was stopped, 1 when it failed.
    """
    life_sign.keep(int(os.environ.pop(LOCK_VARIABLE)))
    return conduct_run(run_dir)


def conduct_run(run_dir: Path, debugger: Debugger | None = None) -> int:
    """Conduct the run that ``run_dir/run.json`` describes; this process is for it alone.

    Args:
        run_dir: ``<lab>/runs/<run_id>``.
        debugger: Looks on in a kernel, which is put back afterwards (``kept_kernel``).

    Returns:
        Exit status: 0 when the run completed or was stopped, 1 when it failed.
    """
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stdout)
    lab = open_lab(run_dir.parent.parent, create=False)
    spec = RunSpec.load(run_dir)
    full = FullJournals(lab, spec.run_id)
    writer = JournalWriter(lab, spec.run_id, rolled=full)
    # A resumed run goes on where its journal stands.
    recorder = Recorder(spec.run_id, writer, first=writer.next_sequence)
    earlier = read_events(lab, spec.run_id) if writer.next_sequence else []
    control = ControlRoom(run_dir, recorder, replay=Replay.of(spec.edits, earlier))
    try:
        if current_thread() is main_thread():  # no other can hear signals
            signal.signal(signal.SIGTERM, control.on_signal)
        sys.path[:] = [
            *spec.search_path,
            *(p for p in sys.path if p not in spec.search_path),
        ]
        os.chdir(spec.working_dir)
        final = _conduct(
            Stage(
                spec=spec,
                run_dir=run_dir,
                recorder=recorder,
                control=control,
                blobs=Blobs(lab),
                earlier=in_force(earlier),
                debugger=debugger,
            )
        )
    finally:
        control.close()
        recorder.close()
        full.close()
    seal_ended(lab)
    return int(final is RunState.FAILED)


def _conduct(stage: Stage) -> RunState:
    import torch

    from flip_lab.runs.conduct import conduct

    logging.getLogger("flwr").handlers.clear()  # ours prints its lines, without colours
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each poll of a hub
    torch.set_num_threads(1)  # sums of floats depend on the number of threads
    if stage.spec.engine in _FORKING_ENGINES:
        try:
            nursery.keep(nursery.Nursery.fork_here())  # while this process is one thread
        except EngineStartError as error:  # the engine then starts its workers cold
            logging.getLogger("flip_lab.run").info("No warm workers: %s", error)
    return conduct(stage)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
