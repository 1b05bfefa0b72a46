"""The control room of a run process: takes the users' commands and carries them out.

A thread of its own takes them, so that a pause holds within a moment, whatever the app's
code is doing. What changes a run takes effect when a round begins, never in between.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event, RLock, Thread
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from flip_lab.core.clock import tick_s
from flip_lab.core.edits import (
    EDITS,
    Edit,
    InForce,
    dropped_in,
    in_force_from,
)
from flip_lab.core.errors import CommandRefusedError, FlipLabError
from flip_lab.core.events import EventKind, Json
from flip_lab.core.ports import Control
from flip_lab.core.state import RunState
from flip_lab.engines.gate import Gate
from flip_lab.runs.command_checks import checked
from flip_lab.runs.commands import (
    Command,
    answer,
    read_command,
    refusal,
    waiting_commands,
)
from flip_lab.runs.recorder import Recorder
from flip_lab.runs.replay import Replay

if TYPE_CHECKING:
    from flip_lab.engines.run_grid import RunGrid  # loads Flower; a launch must not

_LOOK_EVERY_S = 0.02
_HOLD_S = 0.1
_MOST_ROUNDS = 2**31  # that a run steps at once: more than any run has
_log = logging.getLogger("flip_lab.run")

_Carry: TypeAlias = Callable[[Command], dict[str, Json]]


class ControlRoom(Control):
    """Carries out what users ask of one run.

    Args:
        run_dir: The run's directory.
        recorder: The run's only writer.
        replay: Edits that were made before this process.

    Attributes:
        gate: What the engine's clients pass.
    """

    def __init__(
        self, run_dir: Path, recorder: Recorder, *, replay: Replay | None = None
    ) -> None:
        """Take no command yet."""
        self.gate = Gate()
        self._dir = run_dir
        self._recorder = recorder
        self._replay = replay or Replay()
        self._edits = list(self._replay.edits)
        self._taken = {edit.id for edit in self._edits}
        self._lock = RLock()
        self._closed = Event()
        self._thread = Thread(target=self._listen, name="flip-control", daemon=True)
        self._grid: RunGrid | None = None
        self._signal = ""
        self._stop = self._over = False
        self._at_boundary = True  # no round has begun
        self._round = self._break_round = 0
        self._pause_before: int | None = None
        self._paused_since_s = self._paused_s = 0.0
        self._carriers: Mapping[str, _Carry] = MappingProxyType(
            {
                "pause": self._pause_command,
                "resume": self._resume_command,
                "step": self._step_command,
                "stop": self._stop_command,
            }
        )

    # --- taking commands ---------------------------------------------------------

    def start(self) -> None:
        """Begin to listen; until ``attach`` only a wish to stop is taken."""
        for edit in self._replay.untold:
            self._recorder.emit(EventKind.CONTROL, edit.body(), server_round=0)
        self._thread.start()

    def attach(self, grid: RunGrid, *, rounds_done: int = 0) -> None:
        """Take all commands from now on: the run is about to call its ServerApp.

        A pause that was asked for before comes before the first round.

        Args:
            grid: The run's Grid.
            rounds_done: The round after which the run is taken up; 0 for a new one.
        """
        with self._lock:
            self._grid = grid
            self._round = rounds_done
            self.look()

    def close(self) -> None:
        """Listen no more."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()

    def on_signal(self, number: int, frame: object) -> None:
        """Take a signal as the wish to stop.

        Only noted here: a signal arrives anywhere, also while this very thread records an
        event and holds the lock that recording the wish would need.
        """
        del frame
        self._signal = signal.Signals(number).name

    def _listen(self) -> None:
        while not self._closed.wait(_LOOK_EVERY_S):
            try:
                with self._lock:
                    self.look()
            except Exception:  # noqa: BLE001  # a thread that dies in silence would leave the run alone
                _log.exception("A command could not be carried out.")

    def look(self) -> None:
        """Take the commands that wait."""
        if self._signal and not self._stop:
            self._tell(Command(id="signal", command="stop", author=self._signal), {})
            self._stop = True
        for file in waiting_commands(self._dir):
            self._take(file)

    def _take(self, file: Path) -> None:
        try:
            command = read_command(file)
        except (OSError, ValueError) as error:
            message = f"{file} holds no command: {error!r}"
            body: dict[str, Json] = {"code": "FLIP-300", "message": message}
            self._recorder.emit(EventKind.WARNING, body, server_round=0)
            file.rename(file.with_suffix(".bad"))
            return
        if not self._is_ready_for(command):
            return
        if command.id not in self._taken:
            self._taken.add(command.id)
            answer(self._dir, command.id, self._carry_out(command))
        with suppress(OSError):
            file.unlink()

    def _is_ready_for(self, command: Command) -> bool:
        """Whether the run is so far that the command can be judged."""
        if command.command == "stop" or self._over:
            return True
        if self._grid is None or self._recorder.life.state is RunState.STARTING:
            return False
        if command.command != "set" or self._grid.settings.is_known:
            return True
        named = command.arguments.get("values")
        return isinstance(named, dict) and self._grid.settings.has(named)

    def _carry_out(self, command: Command) -> dict[str, Json]:
        try:
            return self._carrier(command)(command)
        except FlipLabError as error:
            return self._refuse(command, error)
        except Exception as raised:  # noqa: BLE001  # a slip in a command must not cost the run
            _log.warning("A command could not be understood.", exc_info=True)
            error = CommandRefusedError(
                f"The run cannot {command.command} so: {type(raised).__name__}: {raised}.",
                fix="Give plain values, such as run.exclude(3, 7) and not a list of them.",
            )
            return self._refuse(command, error)

    def _refuse(self, command: Command, error: FlipLabError) -> dict[str, Json]:
        refused: dict[str, Json] = {"refused": refusal(error)}
        self._tell(command, {**command.arguments, **refused})
        return refused

    def _carrier(self, command: Command) -> _Carry:
        if self._over and command.command != "stop":
            raise CommandRefusedError(
                f"The run has ended; it cannot {command.command} any more.",
                fix="Fork it to go on from one of its rounds: run.fork(at_round=…).",
            )
        if command.command in EDITS:
            return self._edit_command
        if command.command in self._carriers:
            return self._carriers[command.command]
        known = sorted({*EDITS, *self._carriers})
        raise CommandRefusedError(
            f"There is no command {command.command!r}.", fix=f"Valid: {', '.join(known)}."
        )

    def _tell(self, command: Command, more: Mapping[str, Json]) -> None:
        body = {"id": command.id, "command": command.command, "author": command.author}
        self._recorder.emit(
            EventKind.CONTROL, {**body, **more}, server_round=self._recorder.server_round
        )

    # --- the commands ------------------------------------------------------------

    def _stop_command(self, command: Command) -> dict[str, Json]:
        if not self._stop:
            self._tell(command, {})
            self._stop = True
        return {}

    def _pause_command(self, command: Command) -> dict[str, Json]:
        self._tell(command, {})
        self._pause_before = None
        self._pause(command.author)
        return {}

    def _resume_command(self, command: Command) -> dict[str, Json]:
        self._tell(command, {})
        self._pause_before = None
        self._resume(command.author)
        return {}

    def _step_command(self, command: Command) -> dict[str, Json]:
        number = command.arguments.get("num_rounds", 1)
        if not isinstance(number, int) or not 1 <= number <= _MOST_ROUNDS:
            raise CommandRefusedError(
                f"A run cannot step {number!r} rounds.", fix="Give a whole number from 1."
            )
        self._pause_before = self._round + number + self._at_boundary
        self._tell(command, {"num_rounds": number, "pause_before": self._pause_before})
        self._resume(command.author)
        return {"pause_before": self._pause_before}

    def _edit_command(self, command: Command) -> dict[str, Json]:
        if self._grid is None:
            raise CommandRefusedError(
                f"The run cannot {command.command} yet.", fix="Wait until it is running."
            )
        soon = in_force_from(self._edits, self._round + 1)
        arguments = checked(command, self._grid, soon)
        at_break = bool(self._break_round) and command.command in {"exclude", "include"}
        edit = Edit(
            id=command.id,
            command=command.command,
            author=command.author,
            from_round=self._break_round if at_break else self._round + 1,
            at_break=at_break,
            arguments=arguments,
        )
        self._tell(command, edit.body())
        self._edits.append(edit)
        return {"from_round": edit.from_round}

    # --- pausing -----------------------------------------------------------------

    def _pause(self, author: str, *, because: str = "", broke: bool = False) -> None:
        if self._recorder.life.state is not RunState.RUNNING:
            return
        self.gate.close()
        self._paused_since_s = tick_s()
        more: dict[str, Json] = {"author": author, "because": because, "broke": broke}
        more["server_round"] = self._recorder.server_round  # the event's own is always 0
        self._recorder.enter(RunState.PAUSED, more=more)
        _log.info("Paused by %s. %s", author, because)

    def _resume(self, author: str) -> None:
        if self._recorder.life.state is not RunState.PAUSED:
            return
        self._paused_s += tick_s() - self._paused_since_s
        self._paused_since_s = 0.0
        self._recorder.enter(RunState.RUNNING, more={"author": author})
        self.gate.open()

    def paused_s(self) -> float:
        """Give the seconds that the run has spent paused so far."""
        since_s = self._paused_since_s
        return self._paused_s + (tick_s() - since_s if since_s else 0.0)

    # --- what the run's own thread asks -------------------------------------------

    def stop_requested(self) -> bool:
        """Whether the run should end now and keep what it has."""
        if self._signal:
            with self._lock:
                self.look()
        return self._stop

    def stopped_elsewhere(self, person: str, where: str) -> None:
        """Take note that somebody ended the run where its nodes are.

        Args:
            person: Who; empty when unknown.
            where: The hub's or SuperLink's address.
        """
        with self._lock:
            if not self._stop:
                who = Command(id="hub", command="stop", author=person or "somebody")
                self._tell(who, {"at": where})
                self._stop = True

    def hold(self) -> None:
        """Wait while the run is paused; a wish to stop ends the wait."""
        while not self.gate.wait(_HOLD_S):
            if self.stop_requested():
                return

    def begin_round(self, server_round: int) -> InForce:
        """Wait while the run is paused, then begin a round."""
        with self._lock:
            self._at_boundary = True
            if self._pause_before is not None and server_round >= self._pause_before:
                self._pause_before = None
                self._pause("flip-lab", because="step done")
        while True:
            self.hold()
            with self._lock:
                if self.gate.is_open or self._stop:
                    self._at_boundary = False
                    self._round = server_round
                    return in_force_from(self._edits, server_round)

    def end_round(self) -> None:
        """Take note that a round is over: a step counts from the next one."""
        with self._lock:
            self._at_boundary = True

    def break_in(self, server_round: int, because: str) -> Mapping[int, int]:
        """Stop while a round's replies are looked at, until the user goes on.

        Args:
            server_round: The round.
            because: What was met, in words.

        Returns:
            The nodes whose replies the user leaves out of this round, see ``dropped_in``.
        """
        with self._lock:
            self._break_round = server_round
            self._pause("flip-lab", because=because, broke=True)
        self.hold()
        with self._lock:
            self._break_round = 0
        return self.dropped(server_round)

    def dropped(self, server_round: int) -> Mapping[int, int]:
        """Name the nodes whose replies of a round are left out of its aggregation."""
        with self._lock:
            return dropped_in(self._edits, server_round)

    def in_force(self) -> InForce:
        """Say what the edits come to in the round under way."""
        with self._lock:
            return in_force_from(self._edits, self._round)

    def finish(self) -> None:
        """Wait out a pause, then let nobody pause any more: the run is about to end."""
        while True:
            self.hold()
            with self._lock:
                if self.gate.is_open or self._stop:
                    self._over = True
                    return
