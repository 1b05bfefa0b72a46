"""The lab's warm Ray session: started once runs ask for it, and handed to those after."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flip_lab.core.clock import tick_s
from flip_lab.runs import life_sign

ADDRESS_VARIABLE = "FLIP_LAB_RAY_ADDRESS"
"""Where a run process looks for the lab's session."""

_OTHER_SESSIONS = (ADDRESS_VARIABLE, "RAY_ADDRESS")
_LATEST_S = 60.0  # the first run starts a Ray of its own: not two at once
_PATIENCE_S = 10.0
# A launcher's own variables do not reach actors that are there already, so all must agree;
# but for those that say only where somebody sits.
_ANY_VALUE = frozenset({"_", "PWD", "OLDPWD", "SHLVL", "COLUMNS", "LINES", "WINDOWID"})
_ANY_VALUE_AFTER = ("FLIP_LAB_", "JPY_", "PYTEST_", "SSH_", "TERM", "TMUX", "VSCODE_")


def _telling(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name not in _ANY_VALUE and not name.startswith(_ANY_VALUE_AFTER)
    }


@dataclass(kw_only=True)
class _Session:
    """A Ray session in a process of its own.

    Attributes:
        process: Keeps the session until its standard input closes.
        environment: The variables that its actors have.
        address: ``host:port``; empty until it is ready.
        runs: Directories of the runs that were told of it.
    """

    process: subprocess.Popen[bytes]
    environment: Mapping[str, str]
    address: str = ""
    runs: set[Path] = field(default_factory=set[Path])

    def look_after(self) -> bool:
        """Learn the address; say whether the session lives."""
        if not self.address and self.process.stdout is not None:
            with suppress(ValueError, KeyError):
                line = self.process.stdout.readline()  # does not block
                self.address = str(json.loads(line)["address"]) if line else ""
        return self.process.poll() is None

    def is_in_use(self) -> bool:
        self.runs = {run for run in self.runs if life_sign.is_alive(run)}
        return bool(self.runs)

    def close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        try:
            self.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True, kw_only=True)
class _Wish:
    run_dir: Path
    environment: Mapping[str, str]
    workers: int
    since_s: float = field(default_factory=tick_s)

    def is_due(self) -> bool:
        waited = tick_s() - self.since_s > _LATEST_S
        return waited or not life_sign.is_alive(self.run_dir)


class WarmRay:
    """Keeps a Ray session while runs want one; closes what no run uses any longer."""

    def __init__(self) -> None:
        """Have none."""
        self._session: _Session | None = None
        self._retired: list[_Session] = []
        self._wish: _Wish | None = None

    def expect(self, request: Mapping[str, Any]) -> None:
        """Take a run on Ray as a sign of more; sessions of others are left to them."""
        environment: Mapping[str, str] = request["needs"]["environment"]
        if request["engine"] != "ray" or any(map(environment.get, _OTHER_SESSIONS)):
            return
        if self._session is not None:
            if _telling(self._session.environment) == _telling(environment):
                return
            self.retire()
        self._wish = _Wish(
            run_dir=Path(request["run_dir"]),
            environment=environment,
            workers=int(request["workers"]),
        )

    def variables(self, request: Mapping[str, Any]) -> dict[str, str]:
        """Give what tells a run of the session, if it is ready and the run is for Ray."""
        environment: Mapping[str, str] = request["needs"]["environment"]
        session = self._session
        if request["engine"] != "ray" or session is None or not session.look_after():
            return {}
        others = _telling(session.environment) != _telling(environment)
        if not session.address or others or any(map(environment.get, _OTHER_SESSIONS)):
            return {}
        session.runs.add(Path(request["run_dir"]))
        return {ADDRESS_VARIABLE: session.address}

    def look_after(self) -> None:
        """Start a session that is due, notice one that has died, end those out of use."""
        if self._session is not None and not self._session.look_after():
            self._session.close()
            self._session = None
        if self._wish is not None and self._wish.is_due():
            self._session, self._wish = _start(self._wish), None
        for session in [one for one in self._retired if not one.is_in_use()]:
            self._retired.remove(session)
            session.close()

    def retire(self) -> None:
        """Hand the session to no further run; it ends with the last one that uses it."""
        if self._session is not None:
            self._retired.append(self._session)
            self._session = None

    def close(self) -> None:
        """End every session."""
        self.retire()
        for session in self._retired:
            session.close()
        self._retired.clear()


def _start(wish: _Wish) -> _Session | None:
    try:
        process = subprocess.Popen(  # noqa: S603  # our own module, no shell
            [
                *(sys.executable, "-P", "-m", "flip_lab.engines.ray_session"),
                *("--workers", str(wish.workers)),
            ],
            env=dict(wish.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    except OSError:
        return None  # runs on Ray then start their own
    if process.stdout is not None:
        os.set_blocking(process.stdout.fileno(), False)
    return _Session(process=process, environment=wish.environment)
