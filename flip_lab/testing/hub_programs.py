"""The processes of a loopback hub: which of them are up, and what may happen to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

from flip_lab.testing.hub_processes import Program, end_programs, start_program

_FINISHES_S = 90.0  # a node takes up to 80 s for what is under way, and says goodbye

Command = Callable[[int], Sequence[str]]
"""Gives the command of one of several processes, by its number."""


class Programs:
    """Processes of one kind, by number.

    Args:
        kind: What they are called: their logs are ``<kind>-<number>.log``.
        directory: Where the logs are.
        command: Gives the command line of one.
        environment: All environment variables of all of them.
    """

    def __init__(
        self, kind: str, directory: Path, command: Command, environment: Mapping[str, str]
    ) -> None:
        """Start nothing yet."""
        self._kind = kind
        self._directory = directory
        self._command = command
        self._environment = environment
        self._up: dict[int, Program] = {}

    @property
    def all(self) -> list[Program]:
        """Those that are up, in the order that they were started."""
        return list(self._up.values())

    @property
    def first(self) -> int:
        """The number of the one that was started first of those that are up.

        Raises:
            LookupError: If none is.
        """
        if not self._up:
            raise LookupError(f"No {self._kind} is up.")
        return next(iter(self._up))

    def process_id(self, number: int) -> int:
        """Give the process of one; 0 if it is not up."""
        return self._up[number].process.pid if number in self._up else 0

    def start(self, number: int, environment: Mapping[str, str] | None = None) -> None:
        """Start one that is not up.

        Args:
            number: Which one.
            environment: Variables beside the usual ones.

        Raises:
            LookupError: If it is up.
        """
        if number in self._up:
            raise LookupError(f"The {self._kind} {number} is up already.")
        log_path = self._directory / f"{self._kind}-{number}.log"
        variables = {**self._environment, **(environment or {})}
        self._up[number] = start_program(self._command(number), log_path, variables)

    def stop(self, number: int) -> None:
        """Ask one to end, and wait for it."""
        end_programs([self._up.pop(number)], grace_s=_FINISHES_S)

    def stop_all(self) -> None:
        """Ask all to end at once, and wait for them."""
        end_programs(self.all)
        self._up.clear()

    def kill(self, number: int) -> None:
        """End one at once, with all that it started."""
        program = self._up.pop(number)
        program.send_signal(SIGKILL)
        program.process.wait()

    def freeze(self, number: int) -> None:
        """Let one stand still."""
        self._up[number].send_signal(SIGSTOP)

    def thaw(self, number: int) -> None:
        """Let a frozen one go on."""
        self._up[number].send_signal(SIGCONT)
