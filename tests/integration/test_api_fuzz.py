"""Whatever is sent to the API: no fault of ours, nothing that is not documented."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import flip_lab
from flip_lab.api.access import TokenAccess
from flip_lab.api.app import create_app
from flip_lab.fl.scenarios import scenario_text
from flip_lab.runs import launch, requests
from flip_lab.runs.life_sign import is_alive
from flip_lab.store.layout import LabDir

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the packages that it stands on
    import schemathesis
    from schemathesis import GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
    )


@schemathesis.serializer("application/offset+octet-stream")
def pieces(_: Any, value: Any) -> bytes:  # noqa: ANN401  # a generated body
    """Send a piece of an upload as the bytes that it is."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


TOKEN = "a-token-for-fuzzing"  # noqa: S105  # of a lab that lives for a minute
EXAMPLES = 10
"""Requests of each operation and kind: about a minute for all of them."""

CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"
OPERATIONS = [
    (f"{method.upper()} {path}", mode)
    for path, methods in json.loads(REFERENCE.read_text())["paths"].items()
    for method, operation in methods.items()
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or {"parameters", "requestBody"} & operation.keys()
]
"""What is asked, in which way: where nothing can be said, nothing can be wrong."""


@dataclass(frozen=True)
class Fuzzed:
    """What is asked.

    Attributes:
        schema: The API's reference, and how to ask.
        run_id: A run that there is.
    """

    schema: Any
    run_id: str


@pytest.fixture(scope="module")
def fuzzed(
    tmp_path_factory: pytest.TempPathFactory, until: Callable[[Callable[[], bool]], None]
) -> Iterator[Fuzzed]:
    """Give the API of a lab with a run that ended; no launch starts a process there."""
    lab = flip_lab.Lab(tmp_path_factory.mktemp("fuzz") / "lab")
    run = lab.launch("hospitals", overrides={"train.num_rounds": 2}, on="in_process")
    run.result(240)
    until(lambda: not is_alive(lab.path / "runs" / run.run_id))  # it seals what it wrote

    def start(*_: object) -> None:
        """Start nothing: hundreds of runs would be launched."""

    def started(lab: LabDir, prepared: Any, **more: Any) -> str:  # noqa: ANN401  # a prepared run
        return launch.launch_prepared(lab, prepared, **{**more, "start": start})

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the generators' packages
        patch.setattr(requests, "launch_prepared", started)
        patch.setattr("flip_lab.runs.forks.launch_prepared", started)
        patch.setattr("flip_lab.runs.resume.start_process", start)
        app = create_app(lab, TokenAccess(TOKEN, name="fuzz"))
        schema = schemathesis.openapi.from_asgi("/flip/v1/openapi.json", app)
        yield Fuzzed(schema=schema, run_id=run.run_id)


def name_what_there_is(case: Any, fuzzed: Fuzzed) -> None:  # noqa: ANN401  # a generated request
    """Let a request mean a run, a scenario or a text that there is; else all is 404."""
    if "run_id" in (case.path_parameters or {}) and case.method != "DELETE":
        case.path_parameters["run_id"] = fuzzed.run_id
    if "name" in (case.path_parameters or {}):
        name = "hospitals" if "/scenarios/" in case.path else "model"
        case.path_parameters["name"] = name
    if case.path == "/flip/v1/runs" and isinstance(case.body, dict):
        for key in ("toml", "upload"):
            case.body.pop(key, None)
        case.body |= {"scenario": "hospitals", "on": "in_process"}
    if case.path == "/flip/v1/scenarios/check" and isinstance(case.body, dict):
        case.body["toml"] = scenario_text("hospitals")


@pytest.mark.parametrize(("label", "mode"), OPERATIONS)
def test_every_operation_keeps_its_word(
    label: str, mode: GenerationMode, fuzzed: Fuzzed
) -> None:
    """Valid and broken requests alike get what the reference says, and never a 5xx."""
    operation = fuzzed.schema.find_operation_by_label(label)
    assert operation is not None

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(case=operation.as_strategy(generation_mode=mode), is_known=st.booleans())
    def ask(case: Any, *, is_known: bool) -> None:  # noqa: ANN401  # a generated request
        if (
            is_known
            and "run_id" in (case.path_parameters or {})
            and case.method != "DELETE"
        ):
            case.path_parameters["run_id"] = fuzzed.run_id
        case.headers = {
            **(case.headers or {}),
            "Authorization": f"Bearer {TOKEN}",
            "Host": "localhost",
        }
        case.call_and_validate(checks=CHECKS)

    ask()
