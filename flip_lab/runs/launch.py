"""Start a run: write its directory, then its process, and let go of both."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from threading import Thread
from typing import Any, TypeAlias

from flip_lab.core.callback import Callback
from flip_lab.core.clock import now_s
from flip_lab.core.errors import EngineStartError, StoreError
from flip_lab.core.ids import new_run_id
from flip_lab.engines.environment import process_environment
from flip_lab.runs.checkpoints import Checkpoints
from flip_lab.runs.groups import Group
from flip_lab.runs.inputs import Changes, Launchable, Prepared, prepare
from flip_lab.runs.kept_callbacks import with_callbacks
from flip_lab.runs.life_sign import held_lock
from flip_lab.runs.lineage import capture_lineage
from flip_lab.runs.places import Place
from flip_lab.runs.process import LOCK_VARIABLE, command
from flip_lab.runs.spec import RunSpec
from flip_lab.runs.starter import Order, start_warm
from flip_lab.runs.starter import prepare as prepare_starter
from flip_lab.store.audit_writer import append_audit
from flip_lab.store.blobs import Blobs
from flip_lab.store.layout import LabDir, explained, write_json_atomic

Start: TypeAlias = Callable[[LabDir, RunSpec, int], None]
"""Starts a run: gets the lab, the run, and the run's lock to take over."""


def prepared_run(  # noqa: PLR0913  # one parameter for each thing a launch can settle
    what: Launchable,
    *,
    place: Place,
    changes: Changes,
    checkpoints: Checkpoints,
    group: Group,
    callbacks: Sequence[Callback] = (),
    record_updates: bool = False,
    edits: Sequence[dict[str, Any]] = (),
) -> Prepared:
    """Check what is to be launched; writes nothing.

    Args:
        what: What to run.
        place: Where.
        changes: What the launch changes in the input.
        checkpoints: When checkpoints are written, and which are kept.
        group: What the run belongs to and is called.
        callbacks: What is called at the run's rounds and replies.
        record_updates: Whether the norm of each client's update is recorded.
        edits: What is in force from the first round, see ``edits_at_launch``.

    Raises:
        FlipLabError: If the input will not do.
    """
    blank = replace(
        blank_spec(place, checkpoints, group),
        record_updates=record_updates,
        edits=list(edits),
    )
    prepared = prepare(what, blank, changes)
    return with_callbacks(prepared, callbacks)


def launch_prepared(
    lab: LabDir,
    prepared: Prepared,
    *,
    action: str = "launch",
    because: Mapping[str, Any] | None = None,
    start: Start | None = None,
) -> str:
    """Start a detached run process, for an input that was checked.

    Args:
        lab: The lab that keeps the run.
        prepared: The run.
        action: What the lab's log calls it: ``"launch"``, ``"fork"`` or ``"rerun"``.
        because: What else the log says of it.
        start: Takes the place of starting a process, once the run's directory is there.

    Returns:
        The run's id. The process may not have begun yet.

    Raises:
        StoreError: If the lab will not do; then nothing is left of the run.
        EngineStartError: If the run process could not be started.
    """
    draft, spec = _write_draft(lab, prepared)
    folder = draft
    try:
        with held_lock(draft) as lock:  # before others can see the run: it is not dead
            folder = draft.rename(lab.run_dir(spec.run_id))
            _put_on_record(lab, spec, action, because or {})
            (start or start_process)(lab, spec, lock)
    except StoreError:
        rmtree(folder, ignore_errors=True)
        raise
    except OSError as error:
        rmtree(folder, ignore_errors=True)  # ours alone: a rename replaces no other run
        raise EngineStartError(
            f"The run process could not be started: {error}.",
            fix="Free memory or processes and launch again.",
        ) from error
    return spec.run_id


def _put_on_record(
    lab: LabDir, spec: RunSpec, action: str, because: Mapping[str, Any]
) -> None:
    """Tell the lab's log: what is not on record does not run."""
    body = {
        "name": spec.name,
        "experiment": spec.experiment,
        "sweep": spec.sweep,
        "tags": spec.tags,
        "note": spec.note,
        "on": spec.federation or spec.engine,
    }
    append_audit(lab, action, run_ids=[spec.run_id], body={**body, **because})


def blank_spec(place: Place, checkpoints: Checkpoints, group: Group) -> RunSpec:
    """Give the spec of a new run with what does not depend on its input.

    Raises:
        InvalidValueError: If the checkpoints' settings will not do.
    """
    return RunSpec(
        run_id=group.run_id or new_run_id(),
        name="",
        kind="scenario",
        created_s=now_s(),
        seed=0,
        num_rounds=None,
        num_nodes=0,
        engine=place.engine,
        federation=place.federation,
        workers=place.workers,
        client_timeout_s=place.client_timeout_s,
        run_config={},
        overrides={},
        launched_from=str(place.found_from or Path.cwd()),
        search_path=[str(Path(entry or ".").resolve()) for entry in sys.path],
        checkpoints=checkpoints.checked(),
        experiment=group.experiment,
        sweep=group.sweep,
        tags=list(group.tags),
        note=group.note,
        nodes=place.nodes,
        policy=place.policy,
    )


def _write_draft(lab: LabDir, prepared: Prepared) -> tuple[Path, RunSpec]:
    """Write the run's directory under another name, so that it later appears whole.

    Returns:
        The directory, and the run's spec as it was written.
    """
    final = lab.run_dir(prepared.spec.run_id)
    draft = final.with_name(f".{final.name}")
    try:
        with explained(draft):
            (draft / "control").mkdir(parents=True)
            app_sha256 = prepared.unpack(draft)
        lineage = capture_lineage(Path.cwd(), Blobs(lab)) | {"app_sha256": app_sha256}
        spec = replace(
            prepared.spec,
            working_dir=str(_working_dir(prepared, draft, final)),
            lineage=lineage,
            experiment=prepared.spec.experiment or prepared.spec.name,
        )
        write_json_atomic(draft / "run.json", spec.to_json())
    except BaseException:
        rmtree(draft, ignore_errors=True)
        raise
    return draft, spec


def _working_dir(prepared: Prepared, draft: Path, final: Path) -> Path:
    """Say where an app runs: beside its own files, or where the notebook is."""
    if prepared.spec.kind == "app":
        return final / "app"
    if prepared.spec.kind == "notebook":
        return Path(prepared.spec.working_dir or Path.cwd())
    (draft / "work").mkdir()
    return final / "work"


def start_process(lab: LabDir, spec: RunSpec, lock: int) -> None:
    """Start the process of a run, which takes over the lock.

    Args:
        lab: The lab that keeps the run.
        spec: The run; its directory is there.
        lock: The run's lock, see ``flip_lab.runs.life_sign``.

    Raises:
        OSError: If it cannot be started.
    """
    order = Order(
        lab=lab.root,
        run_dir=lab.run_dir(spec.run_id),
        engine=spec.engine,
        workers=spec.workers,
    )
    with (order.run_dir / "output.log").open("ab") as output:
        if start_warm(order, lock=lock, log=output.fileno()):
            return
        process = subprocess.Popen(  # noqa: S603  # our own module, no shell
            command(order.run_dir),
            env={**process_environment(), LOCK_VARIABLE: str(lock)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[lock],
        )
    # Nobody waits for the run; without this it would stay a zombie of a living kernel.
    Thread(target=process.wait, name="flip-reaper", daemon=True).start()
    prepare_starter(order)
