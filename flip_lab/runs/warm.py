"""A copy of the warm nursery becomes a run process, as if it had been started cold."""

from __future__ import annotations

import atexit
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from flip_lab.core.events import Json
from flip_lab.runs import life_sign, process, process_title, starter


def run(fds: Sequence[int], arguments: Mapping[str, Any]) -> int:
    """Be a run process, unless the launcher has lost patience and started one itself.

    Args:
        fds: The run's lock, its log, the token and where to answer that it was taken.
        arguments: ``run_dir``, and the launcher's ``environment``, ``directory``,
            ``umask`` and ``ignored`` signals.

    Returns:
        The exit status of the run process; 0 when the run is somebody else's.
    """
    lock, log, token, answer = fds
    if not starter.take(token):
        return 0
    life_sign.keep(lock)
    run_dir = Path(str(arguments["run_dir"]))
    _resemble_a_cold_one(run_dir, arguments, log)
    with suppress(OSError):  # a launcher that has not waited knows it from the token
        os.write(answer, b"1")
    os.close(answer)
    os.close(token)
    try:
        return process.conduct_run(run_dir)
    finally:
        threading._shutdown()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue, reportUnknownMemberType]  # what Python does at the end of a program
        atexit._run_exitfuncs()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # as above


def _resemble_a_cold_one(run_dir: Path, arguments: Mapping[str, Any], log: int) -> None:
    os.setsid()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    environment: dict[str, str] = dict(arguments["environment"])
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.umask(int(arguments["umask"]))
    _ignore(arguments["ignored"])
    os.chdir(str(arguments["directory"]))
    sys.argv = [str(process.__file__), str(run_dir)]
    sys.orig_argv = process.command(run_dir)
    sys.modules["__main__"] = process
    importlib.invalidate_caches()  # files may have come since the nursery looked
    process_title.show(sys.orig_argv, environment)


def _ignore(ignored: Sequence[int]) -> None:
    """Ignore the signals that the launcher ignores, as its children do, and no others."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if number in ignored:
            signal.signal(number, signal.SIG_IGN)
        elif (
            number not in starter.PYTHONS_OWN and signal.getsignal(number) is signal.SIG_IGN
        ):
            signal.signal(number, signal.SIG_DFL)


def describe(fds: Sequence[int], arguments: Mapping[str, Json]) -> None:
    """Tell the starter which files this process has imported, as lines of a stream.

    Args:
        fds: Where to write.
        arguments: None.
    """
    del arguments
    files = {getattr(module, "__file__", None) for module in [*sys.modules.values()]}
    with os.fdopen(fds[0], "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.writelines(f"{file}\n" for file in files if isinstance(file, str))
