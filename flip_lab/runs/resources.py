"""How much the processes of a run use, as events a few seconds apart."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import psutil

from flip_lab.core.events import EventKind
from flip_lab.runs.recorder import Recorder

_EVERY_S = 5.0
_MIB = 2**20


class ResourceSampler:
    """Takes a sample of this process and all it started, now and every few seconds.

    Ray's actors belong to Ray, not to the run; their use is not counted here.

    Args:
        recorder: Where samples go.
        folder: A directory on the disk that the run writes to.
    """

    def __init__(self, recorder: Recorder, folder: Path) -> None:
        """Start nothing yet: a process may be copied until its first fact."""
        self._recorder = recorder
        self._folder = folder
        self._closed = Event()
        self._known: dict[int, psutil.Process] = {}
        self._thread = Thread(target=self._sample_often, name="flip-resources", daemon=True)

    def start(self) -> None:
        """Take samples from now on."""
        self._thread.start()

    def close(self) -> None:
        """Take the last sample; may be called when nothing was started."""
        if self._thread.ident is not None and not self._closed.is_set():
            self._closed.set()
            self._thread.join()
            self._emit()

    def _sample_often(self) -> None:
        self._sample()  # from here on the processor's time counts
        while not self._closed.wait(_EVERY_S):
            self._emit()

    def _emit(self) -> None:
        sample = self._sample()
        self._recorder.emit(
            EventKind.RESOURCE, sample, server_round=self._recorder.server_round
        )

    def _sample(self) -> dict[str, float]:
        """Measure; a process that ends meanwhile counts with what it last said."""
        here = psutil.Process()
        living = {each.pid: each for each in (here, *here.children(recursive=True))}
        self._known = {pid: self._known.get(pid, each) for pid, each in living.items()}
        cpu_percent = rss_bytes = 0.0
        for process in self._known.values():
            with suppress(psutil.Error):
                cpu_percent += process.cpu_percent()  # since the last sample
                rss_bytes += process.memory_info().rss
        return {
            "cpu_percent": round(cpu_percent, 1),
            "rss_mib": round(rss_bytes / _MIB, 1),
            "num_processes": len(self._known),
            "disk_free_mib": round(shutil.disk_usage(self._folder).free / _MIB),
        }
