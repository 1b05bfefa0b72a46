"""What a test starts ends with the test, however that ends: also by a kill or a crash.

A process cannot clean up after SIGKILL, and a death signal of the kernel (PR_SET_PDEATHSIG)
comes when the *thread* ends that started a program. So a small process watches a pipe: it
closes when its owner is gone, and then ends whatever carries the owner's mark in its
environment. Children and theirs inherit that, in whatever session they are.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from flip_lab.testing import leash_process


class Leash:
    """Ends marked programs when its block ends, or this process does; a context manager.

    Programs are marked by ``environment`` among their variables. What needs a goodbye is
    ended before the block ends: the leash kills.
    """

    def __init__(self) -> None:
        """Choose a mark; nothing watches yet."""
        self._mark = secrets.token_hex(16)
        self._watch: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """The variable that programs on the leash carry."""
        return {leash_process.VARIABLE: self._mark}

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._watch = subprocess.Popen(  # noqa: S603  # our own program, no shell
            [sys.executable, "-I", leash_process.__file__, self._mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what ends this process's group is no end of it
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what is left."""
        if self._watch is not None:
            self._watch.communicate()  # closes the pipe
