"""The lab's starter: ``python -m flip_lab.runs.starter_process``, one for each lab.

It keeps a nursery warm for whoever launches runs in the lab, renews it when code or
environment have changed, and ends soon after its last user. It is light itself: the warm
process, which may do nothing but wait and fork, is a child of it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import FlipLabError
from flip_lab.engines.frames import receive_frame, send_frame
from flip_lab.runs import life_sign, starter_needs
from flip_lab.runs.starter_needs import are_unchanged, is_of_this_user, modified_ns
from flip_lab.runs.starter_ray import WarmRay
from flip_lab.runs.starter_warmth import Warmth

_TICK_S = 0.25  # how often it looks after its nursery and its users
_PATIENCE_S = 0.3  # with a user who has begun to say something
_RETRY_S = 60.0  # after a nursery that could not import what it needs
_HANDOVER_ATTEMPTS = 20


class Starter:
    """Serves one lab.

    Args:
        lab: The lab's directory.
        listening: Where users connect.
        grace_s: How long to stay without users, seconds.
    """

    def __init__(self, lab: Path, listening: socket.socket, *, grace_s: float) -> None:
        """Begin without users, and cold."""
        self._lab = lab
        self._lab_identity = _identity(lab)
        self._grace_s = grace_s
        self._needed_s = tick_s()
        self._listening = listening
        self._users: dict[int, socket.socket] = {}
        self._runs: set[Path] = set()
        self._warmth: Warmth | None = None
        self._not_before_s = -_RETRY_S
        self._ray = WarmRay()
        self._inherited = starter_needs.inherited()
        code = (getattr(module, "__file__", None) for module in [*sys.modules.values()])
        self._own_code = modified_ns([file for file in code if file is not None])
        self._is_leaving = False

    def adopt(self, user: socket.socket) -> None:
        """Take a user's connection; its closing is the user's end."""
        user.settimeout(_PATIENCE_S)
        self._users[user.fileno()] = user

    def serve(self) -> None:
        """Serve until the last user has been gone for a while, or the lab is."""
        while not self._is_leaving and self._is_needed():
            waiting = [self._listening, *self._users.values()]
            for ready in select.select(waiting, [], [], _TICK_S)[0]:
                if ready is self._listening:
                    self._welcome()
                elif ready.fileno() in self._users:
                    self._listen_to(ready)
            self._look_after()
        self.leave()

    def leave(self) -> None:
        """Close every connection, and let go of the warm processes."""
        self._is_leaving = True
        self._listening.close()
        for user in self._users.values():
            user.close()
        self._users.clear()
        self._ray.close()
        self._cool_down()

    def _welcome(self) -> None:
        user = self._listening.accept()[0]
        if is_of_this_user(user):
            self.adopt(user)
        else:
            user.close()

    def _is_needed(self) -> bool:
        if _identity(self._lab) != self._lab_identity:
            return False
        if not self._users:
            self._runs = {run for run in self._runs if life_sign.is_alive(run)}
        if self._users or self._runs:
            self._needed_s = tick_s()
        return tick_s() - self._needed_s < self._grace_s

    def _look_after(self) -> None:
        self._ray.look_after()
        try:
            if self._warmth is not None:
                self._warmth.look_after()
        except (FlipLabError, OSError) as error:
            self._cool_down(error)

    def _listen_to(self, user: socket.socket) -> None:
        try:
            request, fds = receive_frame(user)
        except (EOFError, OSError, ValueError):
            del self._users[user.fileno()]
            user.close()
            return
        try:
            if request["kind"] == "adopt":
                self.adopt(socket.socket(fileno=os.dup(fds[0])))
            elif not are_unchanged(self._own_code):
                self.leave()  # before the launcher hears of it, so that it starts another
            elif request["needs"]["inherited"] == self._inherited:
                self._runs.add(Path(request["run_dir"]))
                self._answer(request, fds)
        finally:
            for descriptor in fds:
                os.close(descriptor)

    def _answer(self, request: Mapping[str, Any], fds: Sequence[int]) -> None:
        """Start a run, or keep silent: the launcher starts it cold, and asks for warmth."""
        needs = request["needs"]
        self._ray.expect(request)
        warmth = self._warmth
        fitting = warmth is not None and warmth.fits(needs)
        try:
            if request["kind"] == "prepare" and not fitting:
                self._warm_up(needs["environment"])
            elif request["kind"] == "launch" and warmth is not None and fitting:
                warmth.start(request, fds, more=self._ray.variables(request))
        except (FlipLabError, OSError) as error:
            self._cool_down(error)

    def _warm_up(self, environment: Mapping[str, str]) -> None:
        if tick_s() - self._not_before_s < 0:
            return
        self._cool_down()
        self._ray.retire()
        self._warmth = Warmth(environment)

    def _cool_down(self, error: Exception | None = None) -> None:
        warmth, self._warmth = self._warmth, None
        if error is not None:
            print(error, file=sys.stderr, flush=True)  # noqa: T201  # its log, in the lab
            if warmth is not None and not warmth.is_warm:
                self._not_before_s = tick_s() + _RETRY_S
        if warmth is not None:
            warmth.close()


def _identity(lab: Path) -> tuple[int, int] | None:
    try:
        found = lab.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _hand_over(user: socket.socket, meeting_point: str) -> bool:
    """Introduce a user to the starter that was faster."""
    with socket.socket(socket.AF_UNIX) as other, suppress(OSError):
        other.connect(meeting_point)
        if is_of_this_user(other):
            send_frame(other, {"kind": "adopt"}, [user.fileno()])
            return True
    return False


def _nothing(number: int, frame: object) -> None:
    del number, frame


def _end(number: int, frame: object) -> None:
    del number, frame
    sys.exit(0)


def main(lab: Path, grace_s: float, descriptor: int) -> int:
    """Be the lab's starter, or hand the user over to the one that there is.

    Args:
        lab: The lab's directory.
        grace_s: How long to stay without users, seconds.
        descriptor: The connection of whoever started this.

    Returns:
        Exit status: 1 when another process has the name and does not answer.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _nothing)  # not ignored: that would be inherited
    user = socket.socket(fileno=descriptor)
    meeting_point = starter_needs.meeting_point(lab)
    for _ in range(_HANDOVER_ATTEMPTS):
        listening = socket.socket(socket.AF_UNIX)
        try:
            listening.bind(meeting_point)  # the kernel gives a name to one process only
            listening.listen()
        except OSError:
            listening.close()
            if _hand_over(user, meeting_point):
                return 0
            time.sleep(_TICK_S)
            continue
        starter = Starter(lab, listening, grace_s=grace_s)
        starter.adopt(user)
        signal.signal(signal.SIGTERM, _end)
        try:
            starter.serve()
        finally:
            starter.leave()
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
