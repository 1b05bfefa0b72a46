"""Take an ended run up again from its newest checkpoint, as the same run."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import (
    CorruptArtifactError,
    EngineStartError,
    IllegalTransitionError,
    NoCheckpointError,
)
from flip_lab.core.events import EventKind, RunEvent, in_force
from flip_lab.core.state import RunLife, RunState
from flip_lab.runs import life_sign
from flip_lab.runs.checkpoint_files import CheckpointFolder
from flip_lab.runs.checkpoints import Manifest
from flip_lab.runs.commands import drop_wishes
from flip_lab.runs.launch import start_process
from flip_lab.runs.places import Place
from flip_lab.runs.recorder import Recorder
from flip_lab.runs.spec import RunSpec
from flip_lab.runs.took_part import with_those_who_took_part
from flip_lab.store.audit import Labels, labels
from flip_lab.store.audit_writer import writing
from flip_lab.store.compaction import reopen
from flip_lab.store.events import read_events
from flip_lab.store.journal import RESUMER, JournalWriter
from flip_lab.store.layout import LabDir, write_json_atomic

_PAUSE_S = 0.05
_PATIENCE_S = 30.0  # a process that has ended its run may still be tidying up


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where a run is taken up.

    Attributes:
        server_round: The last round that is done; 0 begins anew.
        after: Sequence of the last event that stays in force.
        lost: What is wrong with newer checkpoints.
    """

    server_round: int
    after: int
    lost: list[CorruptArtifactError]


def resume_run(lab: LabDir, spec: RunSpec, place: Place) -> RunSpec:
    """Start a new process for a run that failed or was stopped.

    Args:
        lab: The lab that keeps it.
        spec: The run.
        place: Where it goes on.

    Returns:
        The run's spec from now on.

    Raises:
        IllegalTransitionError: If the run has completed, or its process lives.
        NoCheckpointError: If there are rounds, but no good checkpoint of one.
        StoreNotWritableError: If the lab cannot be written.
        EngineStartError: If the process could not be started.
    """
    run_dir = lab.run_dir(spec.run_id)
    with _lock(lab, spec.run_id) as lock:
        events = read_events(lab, spec.run_id)
        _check_state(spec.run_id, _state_in(events))
        start = find_start(lab, spec, events)
        _put_on_record(lab, spec.run_id, place, start)
        spec = replace(
            spec,
            engine=place.engine,
            federation=place.federation,
            workers=place.workers,
            nodes=with_those_who_took_part(lab, spec, place).nodes,
        )
        write_json_atomic(run_dir / "run.json", spec.to_json())
        # Edits that nobody took are taken now; the rest was about the process that died.
        drop_wishes(run_dir, frozenset({"stop", "pause", "resume", "step"}))
        reopen(lab, spec.run_id)
        _tell(lab, spec, _state_in(events), start)
        life_sign.forget_end(run_dir)
        try:
            start_process(lab, spec, lock)
        except OSError as error:
            raise EngineStartError(
                f"The run process could not be started: {error}.",
                fix="Free memory or processes and resume again.",
            ) from error
    return spec


def _put_on_record(lab: LabDir, run_id: str, place: Place, start: Start) -> None:
    """Tell the lab's log; who deletes a run looks there that it does not live.

    Raises:
        IllegalTransitionError: If the run was deleted meanwhile.
    """
    with writing(lab) as log:
        if labels(log.records()).get(run_id, Labels()).is_hidden:
            raise IllegalTransitionError(
                f"Run {run_id} was deleted.",
                fix=f"Take it out of the trash first: lab.undelete({run_id!r}).",
            )
        body = {
            "on": place.federation or place.engine,
            "resumed_from_round": start.server_round,
        }
        log.append("resume", run_ids=[run_id], body=body)


@contextmanager
def _lock(lab: LabDir, run_id: str) -> Generator[int]:
    """Take the lock of an ended run, once its process and whoever looks have let go."""
    end_s = tick_s() + _PATIENCE_S
    while True:
        _check_state(run_id, _state_in(read_events(lab, run_id)))
        try:
            with life_sign.held_lock(lab.run_dir(run_id)) as lock:
                yield lock
                return
        except BlockingIOError:
            if tick_s() > end_s:
                _check_state(run_id, RunState.RUNNING)
            time.sleep(_PAUSE_S)


def _check_state(run_id: str, state: RunState) -> None:
    """Refuse to resume what has not failed and was not stopped.

    Raises:
        IllegalTransitionError: If the run is in another state.
    """
    if state in {RunState.FAILED, RunState.STOPPED}:
        return
    fix = (
        "Fork it to go on from one of its checkpoints: run.fork(…)."
        if state is RunState.COMPLETED
        else "Wait until it has ended, or end it with run.stop()."
    )
    raise IllegalTransitionError(
        f"Run {run_id} is {state}; only a run that failed or was stopped can be resumed.",
        fix=fix,
    )


def _state_in(events: list[RunEvent]) -> RunState:
    states = [event.body["state"] for event in events if event.kind is EventKind.STATE]
    return RunState(str(states[-1])) if states else RunState.PENDING


def find_start(lab: LabDir, spec: RunSpec, events: list[RunEvent]) -> Start:
    """Find the newest checkpoint that is good, and remove those that are not.

    Args:
        lab: The lab that keeps the run.
        spec: The run.
        events: All its events.

    Raises:
        NoCheckpointError: If there are rounds, but no good checkpoint of one.
        StoreFormatError: If a newer version wrote one.
    """
    folder = CheckpointFolder(lab.run_dir(spec.run_id))
    last = events[-1].sequence if events else -1
    lost: list[CorruptArtifactError] = []
    for server_round in reversed(folder.rounds()):
        try:
            manifest = folder.manifest(server_round)
            folder.check(manifest)
        except CorruptArtifactError as error:
            lost.append(error)
        else:
            own = manifest.run_id == spec.run_id
            if (
                not own or manifest.sequence <= last
            ):  # a power cut may cost the journal more
                after = manifest.sequence if own else -1
                return Start(server_round=server_round, after=after, lost=lost)
        folder.remove(folder.folder(server_round))
    if rounds_done(events):
        raise NoCheckpointError(**why_none(spec, []))
    return Start(server_round=0, after=-1, lost=lost)


def rounds_done(events: list[RunEvent]) -> int:
    """Count the rounds that have ended, each once."""
    facts = in_force(events)
    return len({e.server_round for e in facts if e.kind is EventKind.ROUND_ENDED})


def why_none(
    spec: RunSpec, kept: list[Manifest], at_round: int | None = None
) -> dict[str, str]:
    """Say that there is no checkpoint, why that may be, and which ones there are.

    Args:
        spec: The run.
        kept: The checkpoints that there are.
        at_round: The round that was asked for; ``None`` for any.

    Returns:
        The arguments of a ``NoCheckpointError``.
    """
    of = "" if at_round is None else f" of round {at_round}"
    what = f"Run {spec.run_id} keeps no checkpoint{of}."
    if kept:
        rounds = ", ".join(str(each.server_round) for each in kept)
        return {
            "what": what,
            "fix": f"Checkpoints are kept of the rounds {rounds}; keep more with "
            "checkpoints=Checkpoints(keep_every=…).",
        }
    if not spec.checkpoints.every:
        why = "it was launched with Checkpoints(every=0)"
    else:
        why = "a round in the middle can be taken up only where strategy.start makes it"
    return {
        "what": f"{what[:-1]}: {why}.",
        "fix": "Launch it again with the same seed: the numbers will be the same.",
    }


def _tell(lab: LabDir, spec: RunSpec, state: RunState, start: Start) -> None:
    """Write that the run goes on, and what is superseded by it."""
    writer = JournalWriter(lab, spec.run_id, role=RESUMER)
    first = writer.next_sequence
    recorder = Recorder(spec.run_id, writer, first=first, life=RunLife((state,)))
    try:
        recorder.enter(
            RunState.PENDING,
            more={
                "resumed_from_round": start.server_round,
                "resumed_after": start.after,
                "engine": spec.engine,
                "workers": spec.workers,
            },
        )
        for error in start.lost:
            body = {"code": error.code, "message": f"{error.what} {error.fix}"}
            recorder.emit(EventKind.WARNING, body, server_round=start.server_round)
    finally:
        recorder.close()
