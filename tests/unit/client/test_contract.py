"""Client and server speak of the same: each answer and each request is in the reference."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jsonschema
import pytest
from pydantic import BaseModel

from flip_lab.boards.run.board import Observable
from flip_lab.boards.run.commands import Steerable
from flip_lab.client import answers, answers_lab
from flip_lab.client.remote_lab import RemoteLab
from flip_lab.client.remote_run import RemoteRun
from flip_lab.core.errors import FlipLabError
from flip_lab.core.policy import RoundPolicy
from flip_lab.core.stopping import StopRule
from flip_lab.testing.desk import RUN, Desk

ROOT = Path(__file__).parents[3]
REFERENCE: dict[str, Any] = json.loads(
    (ROOT / "docs" / "reference" / "openapi.json").read_text(encoding="utf-8")
)
ODD_NUMBERS = {"NaN", "Infinity", "-Infinity"}
Schema = dict[str, Any]

ANSWERS: list[tuple[str, str, type[BaseModel]]] = [
    ("get", "/about", answers.About),
    ("get", "/alerts", answers.Page[answers_lab.Alert]),
    ("get", "/federations", answers_lab.Places),
    ("get", "/models", answers.Page[answers_lab.ModelVersion]),
    ("post", "/models", answers_lab.ModelVersion),
    ("get", "/models/{name}", answers_lab.WholeModel),
    ("post", "/models/{name}/roll-back", answers_lab.ModelVersion),
    ("get", "/models/{name}/versions/{version}", answers_lab.ModelVersion),
    ("patch", "/models/{name}/versions/{version}", answers_lab.ModelVersion),
    ("get", "/nodes", answers.Page[answers_lab.Node]),
    ("post", "/frames", answers.FrameAnswer),
    ("post", "/runs", answers.WholeRun),
    ("get", "/runs/{run_id}", answers.WholeRun),
    ("patch", "/runs/{run_id}", answers.WholeRun),
    ("post", "/runs/{run_id}/commands", answers.CommandTaken),
    ("get", "/runs/{run_id}/events", answers.Events),
    ("post", "/runs/{run_id}/fork", answers.WholeRun),
    ("get", "/runs/{run_id}/pack", answers.PackedRun),
    ("post", "/runs/{run_id}/resume", answers.WholeRun),
    ("get", "/scenarios", answers_lab.ScenarioCards),
    ("get", "/uploads/{upload_id}", answers_lab.UploadState),
]


@pytest.mark.parametrize(("method", "place", "model"), ANSWERS, ids=str)
def test_whatever_the_reference_allows_can_be_read(
    method: str, place: str, model: type[BaseModel]
) -> None:
    """A field that the server renames, drops or widens fails here."""
    operation = REFERENCE["paths"][f"/flip/v1{place}"][method]
    [good] = [
        operation["responses"][s] for s in ("200", "201") if s in operation["responses"]
    ][-1:]
    theirs = good["content"]["application/json"]["schema"]
    ours = model.model_json_schema()
    found = misfits(theirs, ours, whole=ours, path=model.__name__)
    assert [each for each in found if not _is_told_in_words(each)] == []


def _is_told_in_words(misfit: str) -> bool:
    """Leave out columns of which the tables say in words what they hold.

    A server that says something else there is of another version, and told to be (721).
    """
    return bool(re.search(r"\.(state|stage|scenario|metrics) may be", misfit))


def misfits(theirs: Schema, ours: Schema, *, whole: Schema, path: str) -> Iterator[str]:
    """Say what a value of their schema may be that ours does not take."""
    theirs, ours = _resolved(theirs, REFERENCE), _resolved(ours, whole)
    if not {"type", "anyOf", "enum", "const", "properties"} & ours.keys():
        return  # anything
    if options := theirs.get("anyOf", theirs.get("oneOf")):
        for option in options:
            yield from misfits(option, ours, whole=whole, path=path)
        return
    if "anyOf" in ours:
        tried = [[*misfits(theirs, o, whole=whole, path=path)] for o in ours["anyOf"]]
        yield from min(tried, key=len)
    else:
        yield from _plain_misfits(theirs, ours, path)
        yield from _misfits_inside(theirs, ours, whole, path)


def _misfits_inside(
    theirs: Schema, ours: Schema, whole: Schema, path: str
) -> Iterator[str]:
    for name, field in ours.get("properties", {}).items():
        if name in theirs.get("properties", {}):
            sub = theirs["properties"][name]
            yield from misfits(sub, field, whole=whole, path=f"{path}.{name}")
        if name in ours.get("required", []) and name not in theirs.get("required", []):
            yield f"{path}.{name} may be missing"
    for inner in ("items", "additionalProperties"):
        if isinstance(ours.get(inner), dict):
            sub = theirs.get(inner)
            sub = sub if isinstance(sub, dict) else {}
            yield from misfits(sub, ours[inner], whole=whole, path=f"{path}[]")


def _plain_misfits(theirs: Schema, ours: Schema, path: str) -> Iterator[str]:
    words = {*theirs.get("enum", [theirs["const"]] if "const" in theirs else [])}
    known = {*ours.get("enum", [ours["const"]] if "const" in ours else [])}
    wanted, kind = ours.get("type"), theirs.get("type")
    if wanted == "number" and (kind == "integer" or (words and words <= ODD_NUMBERS)):
        return
    if known and not (words and words <= known):
        yield f"{path} may be {words - known or kind}"
    elif wanted is not None and wanted != kind and not (words and wanted == "string"):
        yield f"{path} may be {kind}, and must be {wanted}"
    elif ours.get("format") != theirs.get("format") and "format" in ours:
        yield f"{path} need not be a {ours['format']}"


def _resolved(schema: Schema, whole: Schema) -> Schema:
    while "$ref" in schema:
        place: Any = whole
        for part in schema["$ref"].removeprefix("#/").split("/"):
            place = place[part]
        schema = place
    return schema


def test_a_server_that_drifts_is_found_out() -> None:
    """The comparison itself sees what is missing, renamed or of another type."""
    ours = answers.CommandTaken.model_json_schema()
    theirs = json.loads(json.dumps(ours))
    assert [*misfits(theirs, ours, whole=ours, path="x")] == []
    theirs["properties"]["is_taken"] = {"type": "string"}
    theirs["required"].remove("command")
    del theirs["properties"]["id"], theirs["required"][theirs["required"].index("id")]
    found = " ".join(misfits(theirs, ours, whole=ours, path="x"))
    assert "x.is_taken may be string" in found
    assert "x.command may be missing" in found
    assert "x.id may be missing" in found


# --- requests -----------------------------------------------------------------------------

RULE = StopRule(patience=3, metric="eval_loss")
LAB: list[Callable[[RemoteLab], object]] = [
    lambda lab: lab.about(),
    lambda lab: lab.alerts(limit=5),
    lambda lab: lab.federations(),
    lambda lab: lab.nodes(),
    lambda lab: lab.nodes("one"),
    lambda lab: lab.scenarios(),
    lambda lab: lab.run("one"),
    lambda lab: lab.launch("hospitals"),
    lambda lab: lab.launch(
        "hospitals",
        on="ray",
        num_nodes=3,
        workers=2,
        seed=1,
        overrides={"train.num_rounds": 3, "data.options": [1, 2.5]},
        client_timeout_s=3.5,
        checkpoint_every=0,
        experiment="e",
        sweep="s",
        tags=["a"],
        note="n",
        record_updates=True,
        stop_when=RULE,
        break_when=["loss is nan", "always"],
        key="k",
    ),
    lambda lab: lab.launch(
        "hospitals", stop_when="eval_accuracy >= 0.9", break_when="always"
    ),
    lambda lab: lab.launch(
        "hospitals",
        on="hub",
        nodes="eu and not slow",
        policy=RoundPolicy(deadline_s=9, quorum=1.0, over_selection=0.3),
    ),
    lambda lab: lab.launch(str(ROOT / "scenarios" / "hospitals.toml")),
    lambda lab: lab.runs(as_="rows"),
    lambda lab: lab.runs("seed < ?", parameters=[3], archived=True, limit=2, as_="rows"),
    lambda lab: lab.runs({"seed": [1, 2]}, tag=["a"], state="failed", as_="arrow"),
    lambda lab: lab.metrics("m", runs="one", phase="train", keys=["seed"], as_="rows"),
    lambda lab: lab.clients(runs=["one"], server_round=range(3), as_="rows"),
    lambda lab: lab.client_metrics(["m"], partition_id=1, as_="rows"),
    lambda lab: lab.sql("SELECT ?", [1], as_="rows"),
    lambda lab: lab.experiments(as_="rows"),
    lambda lab: lab.sweeps(as_="rows"),
    lambda lab: lab.delete("one"),
    lambda lab: lab.models(as_="rows"),
    lambda lab: list(lab.models),
    lambda lab: lab.models["m"],
    lambda lab: lab.models.version("m", "latest"),
    lambda lab: lab.models.register("one", "m", at_round=2, note="n", tags=["t"]),
    lambda lab: lab.models.promote("m", 1, "staging"),
    lambda lab: lab.models.roll_back("m"),
    lambda lab: lab.models.delete("m", 1),
    lambda lab: lab.models.arrays("m"),
    lambda lab: lab.upload(ROOT / "tests" / "integration" / "apps" / "slow"),
]
RUNS: list[Callable[[RemoteRun], object]] = [
    lambda run: run.state,
    lambda run: run.settings,
    lambda run: run.events(after=3),
    lambda run: run.logs(),
    lambda run: run.logs(tail=0),
    lambda run: run.metrics(as_="rows"),
    lambda run: run.logged("h", as_="rows"),
    lambda run: run.artifact("model"),
    lambda run: run.report("/nowhere/r.html", theme="light"),
    lambda run: run.pause(),
    lambda run: run.resume(),
    lambda run: run.step(2),
    lambda run: run.stop(),
    lambda run: run.set({"train.learning_rate": 0.1}, momentum=0.5),
    lambda run: run.set_policy(RoundPolicy(deadline_s=2.0), quorum=None),
    lambda run: run.policy,
    lambda run: run.exclude(1, 2**63),
    lambda run: run.include(1),
    lambda run: run.stop_when("eval_accuracy >= 0.9", budget_s=3, epsilon=1.5),
    lambda run: run.stop_when(patience=2, metric="eval_loss", goal="min"),
    lambda run: run.break_when("client drift > 2"),
    lambda run: run.clear(),
    lambda run: run.clear("id"),
    lambda run: run.fork(),
    lambda run: run.fork(
        2, seed=1, num_nodes=3, overrides={"a-b": 1}, on="ray", workers=1, learning_rate=0.1
    ),
    lambda run: run.fork(
        checkpoint_every=2, experiment="e", sweep="s", tags=["t"], note="n"
    ),
    lambda run: run.resume_from_checkpoint(on="ray", workers=2),
    lambda run: run.note("n"),
    lambda run: run.tag("t"),
    lambda run: run.archive(),
]


def _require_known(desk: Desk) -> None:
    assert desk.asked
    for asked in desk.asked:
        place, path = asked.url.path, asked.url.raw_path.decode().partition("?")[0]
        fits = [p for p in REFERENCE["paths"] if re.fullmatch(_pattern(p), path)]
        assert fits, f"{place} is not in the reference"
        operation = REFERENCE["paths"][fits[0]].get(asked.method.lower())
        assert operation, f"{asked.method} {place} is not in the reference"
        known = {p["name"] for p in operation.get("parameters", []) if p["in"] == "query"}
        assert {*parse_qs(asked.url.query.decode())} <= known
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" in content:
            schema = {**REFERENCE, **content["application/json"]["schema"]}
            jsonschema.Draft202012Validator(schema).validate(json.loads(asked.content))


def _pattern(template: str) -> str:
    return re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))


@pytest.mark.parametrize("verb", LAB)
def test_requests_of_a_lab_are_in_the_reference(
    desk: Desk, lab: RemoteLab, verb: Callable[[RemoteLab], object]
) -> None:
    """Paths, methods, parameters and bodies are those that the server knows."""
    with suppress(FlipLabError):
        verb(lab)
    if verb is not LAB[0]:
        _require_known(desk)


@pytest.mark.parametrize("verb", RUNS)
def test_requests_of_a_run_are_in_the_reference(
    desk: Desk, run: RemoteRun, verb: Callable[[RemoteRun], object]
) -> None:
    """Likewise."""
    with suppress(FlipLabError):
        verb(run)
    _require_known(desk)


def test_a_run_can_be_watched_and_steered_in_a_notebook(run: RemoteRun) -> None:
    """``flip_lab.watch`` takes it as it takes a local one."""
    watched: Observable = run
    assert isinstance(run, Steerable)
    assert (watched.run_id, watched.name) == (RUN["run_id"], RUN["name"])
