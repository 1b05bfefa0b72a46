"""Scenarios: the gallery, one whole with its picture, and whether a text is one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Path, Query, Request, Response

from flip_lab.api.documents import content, told
from flip_lab.api.keeping import OfNothing
from flip_lab.api.pictures import picture_of
from flip_lab.api.replies import reply, state, tagged
from flip_lab.api.schemas.scenarios import (
    CheckedScenario,
    ScenarioCards,
    ScenarioCheck,
    WholeScenario,
)
from flip_lab.api.service import Reader, Serving
from flip_lab.boards.launcher.schema import expectation_text
from flip_lab.core.errors import NoSuchPlaceError, nearest
from flip_lab.core.scenario import Scenario
from flip_lab.fl.scenarios import (
    scenario_from_toml,
    scenario_names,
    scenario_text,
    scenario_to_dict,
    scenario_to_toml,
)
from flip_lab.fl.schema import scenario_fields
from flip_lab.views.scenario_picture import scenario_words
from flip_lab.views.theme import Theme

ScenarioName: TypeAlias = Annotated[str, Path(description="What a launch calls it.")]

For: TypeAlias = Annotated[Theme, Query(description="The page that it is for.")]

router = APIRouter(prefix="/scenarios", tags=["scenarios"], route_class=OfNothing)

_SVG = "image/svg+xml"
_ALONE = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


@router.get("", response_model=ScenarioCards, responses=told(304))
def list_scenarios(request: Request, service: Serving, person: Reader) -> Response:
    """List the scenarios that can be launched by name."""
    del service, person
    found = [scenario_from_toml(scenario_text(name)) for name in scenario_names()]
    names = scenario_names()
    cards = [_card(*pair) for pair in zip(names, found, strict=True)]
    return state(request, {"items": cards})


@router.get("/{name}", response_model=WholeScenario, responses=told(304, 404, 501))
def show_scenario(
    request: Request, service: Serving, person: Reader, name: ScenarioName
) -> Response:
    """Give one scenario whole: its file, its fields, what a run of it must show."""
    del person
    text, scenario = _found(name)
    body = {
        "name": name,
        "title": scenario.title,
        "description": scenario.description,
        "toml": text,
        "scenario": scenario_to_dict(scenario),
        "fields": _fields(scenario),
        "expectations": [expectation_text(each) for each in scenario.expect],
        "fingerprint": scenario.fingerprint,
        "words": scenario_words(picture_of(service.lab_dir, scenario)),
    }
    return state(request, body)


@router.get(
    "/{name}/picture.svg",
    response_class=Response,
    responses={200: content(_SVG), **told(304, 404, 501)},
)
def show_picture(
    request: Request,
    service: Serving,
    person: Reader,
    name: ScenarioName,
    theme: For = "light",
) -> Response:
    """Draw how a scenario's data lies over its nodes: each bar is a node."""
    del person
    _, scenario = _found(name)
    svg = picture_of(service.lab_dir, scenario).svg(theme)
    headers = {"Content-Security-Policy": _ALONE, "X-Content-Type-Options": "nosniff"}
    return tagged(request, svg.encode(), media_type=_SVG, headers=headers)


@router.post("/check", response_model=CheckedScenario, responses=told(changes=True))
def check_scenario(service: Serving, person: Reader, asked: ScenarioCheck) -> Response:
    """Say whether a text is a scenario, and what it is whole; launches nothing.

    What is wrong with it is a problem with the code of the error and a fix.
    """
    del service, person
    scenario = scenario_from_toml(asked.toml, asked.overrides, where="toml")
    return reply(
        {
            "scenario": scenario_to_dict(scenario),
            "fields": _fields(scenario),
            "fingerprint": scenario.fingerprint,
            "toml": scenario_to_toml(scenario),
        }
    )


def _found(name: str) -> tuple[str, Scenario]:
    if name not in scenario_names():
        raise NoSuchPlaceError(
            f"There is no scenario {name!r}.", fix=nearest(name, scenario_names())
        )
    text = scenario_text(name)
    return text, scenario_from_toml(text, where=name)


def _card(name: str, scenario: Scenario) -> dict[str, Any]:
    return {
        "name": name,
        "title": scenario.title,
        "description": scenario.description,
        "dataset": scenario.data.dataset,
        "partitioner": scenario.data.partitioner,
        "num_nodes": scenario.data.num_partitions,
        "model": scenario.model.name,
        "strategy": scenario.strategy.name,
        "num_rounds": scenario.train.num_rounds,
        "fingerprint": scenario.fingerprint,
        "picture": f"scenarios/{name}/picture.svg",
    }


def _fields(scenario: Scenario) -> list[dict[str, Any]]:
    return [asdict(field) for field in scenario_fields(scenario)]
