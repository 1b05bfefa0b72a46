"""An endpoint beside a node: a process of its own, so that training does not slow it.

It is started again when it dies; it ends when the node does, however that ends.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import PredictionError
from flip_lab.node.config import NodeConfig
from flip_lab.node.serving import process
from flip_lab.node.serving.listening import Place

_log = logging.getLogger(__name__)

PLACE_FILE = "serve.json"
"""In a node's directory, while its endpoint listens: where that is."""

_GRACE_S = 10.0
_PAUSES_S = (1.0, 2.0, 5.0, 15.0, 60.0)
_LONG_LIFE_S = 60.0  # who lived that long may start again at once


def serve_beside(config: NodeConfig) -> Beside:
    """Start the endpoint of a node in a process of its own.

    Args:
        config: The node's settings; ``serve`` says where it listens.

    Returns:
        A handle; ``stop`` ends it. It returns at once: ``wait`` until it listens.
    """
    return Beside(config)


class Beside:
    """An endpoint beside this process; made by ``serve_beside``, and owned by who did.

    Args:
        config: The node's settings.
    """

    def __init__(self, config: NodeConfig) -> None:
        """Start it."""
        self._config = config
        self._is_over = threading.Event()
        self._is_ready = threading.Event()
        self._place: Place | None = None
        self._error = ""
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._keep_up, name="flip-serve")
        self._thread.daemon = True
        self._thread.start()

    def __enter__(self) -> Self:
        """End it with the ``with`` block."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End it."""
        self.stop()

    def wait(self, timeout_s: float = 120.0) -> Place:
        """Wait until it listens.

        Args:
            timeout_s: How long; importing torch takes seconds.

        Raises:
            PredictionError: If it does not listen by then, or cannot start.
        """
        is_known = self._is_ready.wait(timeout_s)
        if not is_known or self._place is None:
            raise PredictionError(
                f"The endpoint of {self._config.name} does not listen.",
                fix="Correct what its error says; node.log has more.",
                detail=self._error,
            )
        return self._place

    def stop(self) -> None:
        """End it; requests under way are answered."""
        self._is_over.set()
        if (running := self._process) is not None and running.stdin is not None:
            with suppress(OSError):
                running.stdin.close()
        self._thread.join(2 * _GRACE_S)

    def _keep_up(self) -> None:
        failures = 0
        while not self._is_over.is_set():
            began_s = tick_s()
            status = self._tried()
            if self._is_over.is_set():
                return
            if status == process.REFUSED:
                _log.error("The endpoint cannot start: %s", self._error)
                self._is_ready.set()
                return
            lived_s = tick_s() - began_s
            failures = 1 if lived_s > _LONG_LIFE_S else failures + 1
            pause_s = _PAUSES_S[min(failures, len(_PAUSES_S)) - 1]
            _log.warning("The endpoint ended (%s); again in %.0f s.", status, pause_s)
            self._is_over.wait(pause_s)

    def _tried(self) -> int | str:
        """Run it once; give its exit status, or why it has none."""
        try:
            return self._run()
        except (OSError, ValueError) as error:  # no memory, a full disk: they pass
            return f"{type(error).__name__}: {error}"

    def _run(self) -> int:
        """Run it once; give its exit status."""
        self._forget_place()  # a killed node left it
        command = [sys.executable, "-m", "flip_lab.node.serving.process"]
        log = self._config.log_file.open("a", encoding="utf-8")
        with (
            log,
            subprocess.Popen(  # noqa: S603  # our own module
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C is the node's to deal with
            ) as running,
        ):
            self._process = running
            assert running.stdin is not None and running.stdout is not None  # noqa: S101, PT018  # they are pipes
            with suppress(OSError):
                running.stdin.write(process.told_settings(self._config) + "\n")
                running.stdin.flush()
            if self._is_over.is_set():
                running.stdin.close()
            if line := running.stdout.readline():
                self._listens(json.loads(line))
            status = self._ended(running)
        self._forget_place()
        self._process = None
        return status

    def _forget_place(self) -> None:
        (self._config.directory / PLACE_FILE).unlink(missing_ok=True)

    def _listens(self, told: dict[str, Any]) -> None:
        if "error" in told:
            self._error = told["error"]
            return
        path = self._config.directory / PLACE_FILE
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(told), "utf-8")
        draft.replace(path)
        self._place = Place(
            url=told["url"],
            token_file=Path(told["token_file"]),
            process_id=told["process_id"],
        )
        self._is_ready.set()

    def _ended(self, running: subprocess.Popen[str]) -> int:
        """Wait for its end; kill it if it does not come once it was asked for."""
        while True:
            try:
                return running.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                if self._is_over.is_set():
                    running.kill()
