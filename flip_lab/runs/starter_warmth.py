"""A nursery that has imported what runs need, and whether a run may come from it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from flip_lab.engines.nursery import Nursery, NurseryDiedError
from flip_lab.runs.starter_needs import (
    are_unchanged,
    come_from,
    early_variables,
    modified_ns,
)

_PRELOAD = ("flip_lab.runs.preload",)


class Warmth:
    """A nursery, warming up or warm.

    Args:
        environment: The variables of the run processes to come.

    Raises:
        EngineStartError: If the nursery cannot be started.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start to warm up."""
        self._early = early_variables(environment)
        self._files: dict[str, int] | None = None
        self._nursery = Nursery.spawn(_PRELOAD, environment=environment)
        self._report = bytearray()
        self._reading: int | None = None

    @property
    def is_warm(self) -> bool:
        """Whether it has imported everything, and said from which files."""
        return self._files is not None

    def look_after(self) -> None:
        """Learn which files were imported, as soon as that is done.

        Raises:
            NurseryDiedError: If an import failed, or somebody killed the nursery.
        """
        if not self._nursery.is_alive():
            raise NurseryDiedError("The warm process is gone.", fix="Launch again.")
        if self._files is not None or not self._nursery.is_ready():
            return
        if self._reading is None:
            self._reading, writing = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._reading, False)
            try:
                self._nursery.start("flip_lab.runs.warm:describe", fds=[writing])
            finally:
                os.close(writing)
        with suppress(BlockingIOError):
            while part := os.read(self._reading, 1 << 20):
                self._report += part
            os.close(self._reading)
            self._reading = None
            names = self._report.decode("utf-8", "surrogateescape").splitlines()
            self._files = modified_ns(names)

    def fits(self, needs: Mapping[str, Any]) -> bool:
        """Say whether a copy is, or will be, the process that a cold start gives.

        Args:
            needs: What ``starter_needs.needs`` says of the launcher.
        """
        if self._early != early_variables(needs["environment"]):
            return False
        files = self._files
        return files is None or (come_from(needs["places"], files) and are_unchanged(files))

    def start(
        self, request: Mapping[str, Any], fds: Sequence[int], *, more: Mapping[str, str]
    ) -> None:
        """Start a run process, if warm.

        Args:
            request: What the launcher says of the run.
            fds: Lock, log, token and where to answer, as ``warm.run`` takes them.
            more: Variables on top of the launcher's.

        Raises:
            EngineStartError: If the nursery has died or cannot fork.
        """
        if self._files is None:
            return
        given = ("run_dir", "directory", "umask", "ignored")
        arguments = {key: request[key] for key in given}
        environment = {**request["needs"]["environment"], **more}
        self._nursery.start(
            "flip_lab.runs.warm:run",
            fds=fds,
            arguments={**arguments, "environment": environment},
        )

    def close(self) -> None:
        """Let the nursery end; runs go on."""
        self._nursery.close()
        if self._reading is not None:
            os.close(self._reading)
            self._reading = None
