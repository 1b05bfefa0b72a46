"""Conduct one run from its spec: open the engine, call the ServerApp, keep the result."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path

import safetensors.numpy
from flwr.app import Context, RecordDict

from flip_lab.core.errors import FlipLabError, ServerAppError
from flip_lab.core.events import EventKind
from flip_lab.core.holding import Holding
from flip_lab.core.notice import Notice
from flip_lab.core.seeds import Stream
from flip_lab.core.state import RunState
from flip_lab.engines.base import AppSource, Engine, EngineGrid, Job, unheard_holding
from flip_lab.engines.catalogue import ENGINES
from flip_lab.engines.failures import failure_tail
from flip_lab.engines.flower.aggregate import fast_strategies
from flip_lab.engines.flower.legacy_loop import hooked_legacy_server
from flip_lab.engines.flower.strategy_loop import hooked_strategies
from flip_lab.engines.round_policy import PolicyInForce
from flip_lab.engines.run_grid import RunGrid, StopRun
from flip_lab.engines.seeding import seed_globals
from flip_lab.fl.scenarios import scenario_from_dict
from flip_lab.runs.checkpoint_keeper import CheckpointKeeper
from flip_lab.runs.data_lineage import HeldByNodes, record_simulated
from flip_lab.runs.durations import keep_durations, load_durations
from flip_lab.runs.hooks import RunHooks
from flip_lab.runs.late_before import as_late_before
from flip_lab.runs.leftovers import Home
from flip_lab.runs.observers import observed
from flip_lab.runs.resources import ResourceSampler
from flip_lab.runs.round_steering import RoundSteering, rounds_past
from flip_lab.runs.spec import RunSpec
from flip_lab.runs.stage import ClientRaised, Stage

_log = logging.getLogger("flip_lab.run")


def conduct(stage: Stage) -> RunState:
    """Run to the end, whatever the end is, and record it.

    Args:
        stage: What the run process has at hand.

    Returns:
        The final state.
    """
    recorder, because = stage.recorder, ""
    try:
        home = {} if stage.debugger else asdict(Home.here())  # a kernel is no home
        recorder.enter(RunState.STARTING, more=home)
        stage.control.start()
        final = _perform(stage)
    except StopRun as stop:
        final = RunState.COMPLETED if stop.because else RunState.STOPPED
        because = stop.because
    except BaseException as raised:  # noqa: BLE001  # an app may even call sys.exit
        return _fail(stage, raised)
    stage.control.finish()
    recorder.enter(final, more={"because": because} if because else {})
    return final


def _fail(stage: Stage, raised: BaseException) -> RunState:
    error = _explained(raised)
    _log.error("%s", error)
    stage.recorder.enter(RunState.FAILED, error)
    if stage.debugger is not None:
        stage.debugger.caught(raised)
    return RunState.FAILED


def _explained(raised: BaseException) -> FlipLabError:
    if isinstance(raised, FlipLabError):
        return raised
    if isinstance(raised, ClientRaised):
        return raised.error
    return ServerAppError(
        f"The ServerApp raised {type(raised).__name__}: {raised}",
        fix="Mend the ServerApp; its traceback stands below.",
        detail=failure_tail(raised),
    )


def _perform(stage: Stage) -> RunState:
    spec = stage.spec
    if spec.scenario is not None and spec.federation is None:
        record_simulated(scenario_from_dict(spec.scenario), stage.recorder.emit)
    app = stage.app()
    seed_globals(Stream(seed=spec.seed, phase="server"))
    server_app = app.load_server_app()
    with ExitStack() as stack:
        grid = _grid(stage, stack.enter_context(_engine(stage).open(_job(stage, app))))
        stack.callback(grid.tell_missing)
        keeper = CheckpointKeeper(
            stage.run_dir, spec.checkpoints, grid=grid, recorder=stage.recorder
        )
        stack.callback(keeper.close)
        steering = RoundSteering(
            stage.run_dir,
            stage.control,
            grid,
            stage.recorder,
            past=rounds_past(stage.earlier),
        )
        grid.on_round_over = steering.round_over
        hooks = RunHooks(grid, stage.recorder, keeper, steering)
        stack.enter_context(fast_strategies())
        stack.enter_context(hooked_strategies(hooks))
        stack.enter_context(hooked_legacy_server(hooks, grid.check_stop))
        stack.callback(_keep_model, stage, hooks)
        stack.callback(
            lambda: keep_durations(stage.run_dir, spec, grid.training_durations_s)
        )
        stack.enter_context(
            observed(stage, grid, note=steering.note, arrays=lambda: hooks.arrays)
        )
        stage.recorder.enter(RunState.RUNNING)
        stage.control.attach(grid, rounds_done=keeper.newest_round)
        sampler = ResourceSampler(stage.recorder, stage.run_dir)
        stack.callback(sampler.close)
        sampler.start()
        gc.freeze()  # what is imported stays: looking it through takes a tenth of a second
        server_app(grid=grid, context=_server_context(grid, spec))
        if hooks.stop is not None:
            raise hooks.stop  # so that a real federation hears of it too
        grid.end_round()
    return RunState.COMPLETED


def _job(stage: Stage, app: AppSource) -> Job:
    spec = stage.spec
    return Job(
        run_id=spec.run_id,
        seed=spec.seed,
        num_nodes=spec.num_nodes,
        run_config=spec.run_config,
        app=app,
        answers_describe=spec.kind == "scenario",
        workers=spec.workers,
        work_dir=Path(spec.working_dir),
        client_timeout_s=spec.client_timeout_s,
        durations_s=load_durations(stage.run_dir, spec),
        nodes=spec.nodes,
        gate=stage.control.gate,
        notify=partial(_note, stage),
        check_stop=partial(_leave_if_stopped, stage),
        stopped_by=stage.control.stopped_elsewhere,
        held=_held(stage),
    )


def _held(stage: Stage) -> Callable[[Holding], None]:
    """Give what takes in what real nodes hold."""
    if stage.spec.scenario is None:
        return unheard_holding
    scenario = scenario_from_dict(stage.spec.scenario)
    return HeldByNodes(scenario.data.num_partitions, stage.recorder.emit).hear


def _leave_if_stopped(stage: Stage) -> None:
    """Leave what an engine waits in.

    Raises:
        StopRun: If a stop was requested.
    """
    if stage.control.stop_requested():
        raise StopRun


def _grid(stage: Stage, inner: EngineGrid) -> RunGrid:
    grid = RunGrid(
        inner,
        emit=stage.recorder.emit,
        control=stage.control,
        seed=stage.spec.seed,
        run_config=stage.spec.run_config,
        records_updates=stage.spec.record_updates,
    )
    grid.choice = stage.spec.nodes
    grid.policy = _policy(stage)
    return grid


def _policy(stage: Stage) -> PolicyInForce:
    spec = stage.spec
    late = spec.late_before
    return PolicyInForce(
        spec.policy,
        seed=spec.seed,
        late_before=None if late is None else as_late_before(late),
        notify=partial(_note, stage),
    )


def _engine(stage: Stage) -> Engine:
    if stage.spec.federation is None:
        return ENGINES.get(stage.spec.engine)()
    from flip_lab.engines.deployment import DeploymentEngine
    from flip_lab.engines.federations import load_federation

    return DeploymentEngine(
        load_federation(stage.spec.federation, Path(stage.spec.launched_from))
    )


def _server_context(grid: RunGrid, spec: RunSpec) -> Context:
    return Context(
        run_id=grid.run.run_id,
        node_id=1,
        node_config={},
        state=RecordDict(),
        run_config=dict(spec.run_config),
    )


def _note(stage: Stage, notice: Notice) -> None:
    """Put on record what an engine has to tell."""
    recorder = stage.recorder
    body = asdict(notice)
    recorder.emit(EventKind.WARNING, body, server_round=recorder.server_round)


def _keep_model(stage: Stage, hooks: RunHooks) -> None:
    """Keep the newest aggregated arrays, also of a run that was stopped or failed."""
    if hooks.arrays is None:
        return
    arrays = {name: array.numpy() for name, array in hooks.arrays.items()}
    try:
        content = safetensors.numpy.save(arrays)
    except (KeyError, TypeError, ValueError) as error:
        message = f"The model holds arrays that safetensors cannot keep: {error}"
        body = {"code": "FLIP-306", "message": message}
        stage.recorder.emit(EventKind.WARNING, body, server_round=hooks.server_round)
        return
    kept = stage.blobs.put(content)
    stage.recorder.emit(
        EventKind.ARTIFACT,
        {
            "name": "model",
            "sha256": kept.sha256,
            "size_bytes": kept.size_bytes,
            "media_type": "application/vnd.safetensors",
        },
        server_round=hooks.server_round,
    )
