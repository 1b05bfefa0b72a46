"""What users' conditions do to a run's rounds: stop at a break, end the run by a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flwr.app import Message

from flip_lab.core.condition import Condition
from flip_lab.core.errors import ClientsFailedError, StoreError
from flip_lab.core.events import EventKind, Json, RunEvent
from flip_lab.core.policy import LATE
from flip_lab.core.round_numbers import RoundNumbers
from flip_lab.core.stopping import RoundPast, StopRule
from flip_lab.engines.run_grid import RunGrid, StopRun
from flip_lab.runs.control_room import ControlRoom
from flip_lab.runs.recorder import Recorder

if TYPE_CHECKING:
    from flip_lab.runs.breaks import Breaks


class RoundSteering:
    """Looks at a round's replies before they are aggregated, and at its end.

    Args:
        run_dir: The run's directory.
        room: Knows what users asked for.
        grid: The run's Grid.
        recorder: The run's only writer.
        past: The rounds that an earlier process of the run has done.
    """

    def __init__(
        self,
        run_dir: Path,
        room: ControlRoom,
        grid: RunGrid,
        recorder: Recorder,
        past: Sequence[RoundPast] = (),
    ) -> None:
        """Set no condition yet: the edits of each round say which are in force."""
        self._dir = run_dir
        self._room = room
        self._grid = grid
        self._recorder = recorder
        self._past = list(past)
        self._metrics: dict[str, float] = {}
        self._breaks: Breaks | None = None
        self._armed: set[str] = set()

    def note(self, metrics: Mapping[str, float]) -> None:
        """Take in metrics of the round under way."""
        self._metrics |= metrics

    def replied(self, server_round: int, replies: list[Message]) -> list[Message]:
        """Stop here if a condition is met, and leave out what the user leaves out.

        Args:
            server_round: The round.
            replies: The training replies, before they are aggregated.

        Returns:
            Those that are to be aggregated.

        Raises:
            ClientsFailedError: If none of them is left.
            StopRun: If the user ends the run while it is stopped here.
        """
        breaks = self._arm()
        met = breaks and breaks.look(
            server_round,
            replies,
            self._grid.sent_arrays,
            dict(self._metrics),
            self._grid.partition_of,
            durations_s=dict(self._grid.training_durations_s),
        )
        dropped = self._grid.found(self._room.dropped(server_round))
        if met is not None:
            self._keep_replies(server_round, met.because, replies)
            dropped = self._grid.found(self._room.break_in(server_round, met.because))
            self._grid.check_stop()
        if not dropped:
            return replies
        kept = [each for each in replies if each.metadata.src_node_id not in dropped]
        if not kept:
            raise ClientsFailedError(
                f"All {len(replies)} replies of round {server_round} were left out.",
                fix="Leave out fewer clients at a break, or stop the run.",
            )
        return kept

    def _arm(self) -> Breaks | None:
        """Let the conditions that are in force now be the ones that are looked at."""
        armed = self._room.in_force().armed
        wanted = {key: e for key, e in armed.items() if e.command == "break_when"}
        if self._breaks is None and wanted:
            from flip_lab.runs.breaks import Breaks  # most runs have none

            self._breaks = Breaks(self._recorder.emit)
        breaks = self._breaks
        if breaks is None:
            return None
        for gone in self._armed - wanted.keys():
            breaks.clear(gone)
        for key in (each for each in wanted if each not in self._armed):  # in order
            told = cast("dict[str, Any]", wanted[key].arguments)
            if "function" in told:
                breaks.add_pickled(key, str(told["function"]))
            else:
                breaks.add(key, Condition.parse(str(told["condition"])))
        self._armed = set(wanted)
        return breaks

    def _keep_replies(
        self, server_round: int, because: str, replies: list[Message]
    ) -> None:
        """Keep the replies for ``run.inspect``; a full disk must not end the run."""
        from flip_lab.runs.inspection_writing import write_inspection

        try:
            write_inspection(
                self._dir,
                server_round=server_round,
                because=because,
                replies=replies,
                sent=self._grid.sent_arrays,
                partition_of=self._grid.partition_of,
                metrics=dict(self._metrics),
                durations_s=dict(self._grid.training_durations_s),
            )
        except StoreError as error:
            body: dict[str, Json] = {
                "code": error.code,
                "message": f"The replies cannot be kept to inspect: {error.what}",
            }
            self._recorder.emit(EventKind.WARNING, body, server_round=server_round)

    def round_over(self, server_round: int) -> None:
        """End the run if a rule says so.

        Raises:
            StopRun: With the reason.
        """
        done = self._grid.last_round
        numbers = RoundNumbers(
            server_round=server_round, metrics=self._metrics, failures=done.failures
        )
        self._metrics = {}
        self._past.append(
            RoundPast(numbers=numbers, duration_s=done.duration_s, num_bytes=done.num_bytes)
        )
        for edit in self._room.in_force().armed.values():
            if edit.command != "stop_when":
                continue
            rule = StopRule.from_json(cast("dict[str, Any]", edit.arguments["rule"]))
            if because := rule.after_round(self._past):
                raise StopRun(because)


def rounds_past(events: Sequence[RunEvent]) -> list[RoundPast]:
    """Read what an earlier process of a run has done.

    Args:
        events: The run's events that are in force.
    """
    metrics: dict[int, dict[str, float]] = {}
    failures: dict[int, int] = {}
    num_bytes: dict[int, int] = {}
    past: list[RoundPast] = []
    for event in events:
        body, at = cast("dict[str, Any]", event.body), event.server_round
        if event.kind is EventKind.METRIC:
            metrics.setdefault(at, {})[body["name"]] = float(body["value"])
        elif event.kind is EventKind.CLIENT:
            is_failed = body["error_code"] not in {0, LATE}
            failures[at] = failures.get(at, 0) + is_failed
            num_bytes[at] = num_bytes.get(at, 0) + body["bytes_down"] + body["bytes_up"]
        elif event.kind is EventKind.ROUND_ENDED:
            numbers = RoundNumbers(
                server_round=at,
                metrics=metrics.setdefault(at, {}),  # callbacks log at the very end, too
                failures=failures.get(at, 0),
            )
            past.append(
                RoundPast(
                    numbers=numbers,
                    duration_s=float(body["duration_s"]),
                    num_bytes=num_bytes.get(at, 0),
                )
            )
    return past
