"""What clients remember between messages of a run, kept on disk.

A node that is restarted in the middle of a run goes on where its clients were. Contexts
are kept by FLIP Lab's own run id: a run that goes on after its hub was restarted is another
run to Flower. Its driver then sends again what was not answered: what clients remembered
before each kind of message of a round is kept, so that one that comes twice gives what it
gave once. A driver that is started again does the interrupted round again from its
beginning; what clients remembered there is kept as well.

They are written in Flower's wire format, whole or not at all: a pickle from an app could
run code the next time it is read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from flwr.app import RecordDict

from flip_lab.engines.flower.state_bytes import state_from_bytes, state_to_bytes

_LOG = logging.getLogger("flip_lab.node")
_MOST_RUNS = 200
_MOST_ROUNDS = 3
_NOW = "now.context"
_BEFORE = ".before"  # after the number of a round
_MOMENT = "moment.json"


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Where in a run a message belongs.

    Attributes:
        run: FLIP Lab's id of the run, else Flower's number as text.
        flower_run: Flower's number of the run.
        server_round: The round, 0 when the message names none.
        kind: What kind of message it is, such as ``train``.
        driver: Names the process that drives the run; empty when nobody says.
    """

    run: str
    flower_run: int
    server_round: int
    kind: str = ""
    driver: str = ""


class ClientContexts:
    """The states of a node's clients, one for each run; for one call of a run at a time.

    Args:
        directory: Where they lie; made when there is something to keep.
        most_bytes: Largest state to keep.
    """

    def __init__(self, directory: Path, *, most_bytes: int) -> None:
        """Look at nothing yet."""
        self._directory = directory
        self._most_bytes = most_bytes

    def load(self, moment: Moment) -> RecordDict:
        """Give a run's state; empty when there is none, or none that can be read."""
        place = self._place(moment.run)
        if not place.is_dir():
            return RecordDict()
        now, before, call = (
            place / _NOW,
            _before_round(place, moment),
            _before(place, moment),
        )
        last = _last(place)
        flower_run, server_round, driver = last
        is_other_run = flower_run != moment.flower_run
        is_same_driver = moment.driver != "" and driver == moment.driver
        again = call if is_same_driver else before  # the message, or the whole round
        if is_other_run and again.exists():
            _link(again, now)
        if server_round != moment.server_round or (is_other_run and not is_same_driver):
            _link(now, before)
            _forget_rounds(place)
        _link(now, call)
        if last != (moment.flower_run, moment.server_round, moment.driver):
            _write(place / _MOMENT, _as_json(moment))
        return self._read(now, moment.run)

    def _read(self, now: Path, run: str) -> RecordDict:
        try:
            content = now.read_bytes()
            return state_from_bytes(content) if content else RecordDict()
        except FileNotFoundError:
            return RecordDict()
        except (OSError, ValueError) as error:
            aside = now.with_suffix(".damaged")
            now.replace(aside)
            _LOG.warning(
                "What clients remembered of run %s cannot be read (%s); they begin anew. "
                "The file is now %s.",
                run,
                error,
                aside,
            )
            return RecordDict()

    def keep(self, moment: Moment, state: RecordDict) -> str:
        """Keep a run's state in place of the one before.

        Returns:
            Why it was not kept; empty when it was.
        """
        place = self._place(moment.run)
        is_new = not place.is_dir()
        if is_new and not len(state):
            return ""
        content = state_to_bytes(state)
        if len(content) > self._most_bytes:
            return (
                f"What a client wants to remember has {len(content) / 2**20:.0f} MiB, more "
                "than message-mb allows: the next message finds what was there before."
            )
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        if is_new:
            for before in (_before_round(place, moment), _before(place, moment)):
                before.touch()  # nothing was remembered
            _write(place / _MOMENT, _as_json(moment))
            self._sweep()
        _write(place / _NOW, content)
        return ""

    def _place(self, run: str) -> Path:
        """Give a directory that no run's id can lead out of ours with."""
        safe = "".join(each if each.isalnum() or each in "-_" else "_" for each in run)
        digest = hashlib.sha256(run.encode()).hexdigest()[:12]
        return self._directory / f"{safe[:64]}-{digest}"

    def _sweep(self) -> None:
        """Forget the runs that nobody asked for the longest."""
        found = sorted(
            self._directory.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True
        )
        for old in found[_MOST_RUNS:]:
            shutil.rmtree(old, ignore_errors=True)


def _before_round(place: Path, moment: Moment) -> Path:
    return place / f"{moment.server_round}{_BEFORE}"


def _before(place: Path, moment: Moment) -> Path:
    kind = "".join(each if each.isalnum() else "_" for each in moment.kind)
    return place / f"{moment.server_round}-{kind[:64]}{_BEFORE}"


def _last(place: Path) -> tuple[int, int, str]:
    """Give run, round and driver of the last message; -1 and nothing if unknown."""
    try:
        told = json.loads((place / _MOMENT).read_text("utf-8"))
        flower_run, server_round, *driver = told
        return int(flower_run), int(server_round), str(*driver)
    except (OSError, ValueError, TypeError):
        return -1, -1, ""


def _as_json(moment: Moment) -> bytes:
    told = [moment.flower_run, moment.server_round, moment.driver]
    return json.dumps(told).encode()


def _link(source: Path, target: Path) -> None:
    """Let a second name stand for the same state; nothing is ever written in place."""
    fresh = target.with_suffix(".link")
    fresh.unlink(missing_ok=True)
    if source.exists():
        os.link(source, fresh)
    else:
        fresh.touch()
    fresh.replace(target)


def _write(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    fresh.write_bytes(content)
    fresh.replace(path)


def _forget_rounds(place: Path) -> None:
    """Keep what was remembered before the newest rounds only."""
    found = [(int(path.stem.partition("-")[0]), path) for path in place.glob(f"*{_BEFORE}")]
    newest = sorted({server_round for server_round, _ in found})[-_MOST_ROUNDS:]
    for server_round, path in found:
        if server_round not in newest:
            path.unlink(missing_ok=True)
