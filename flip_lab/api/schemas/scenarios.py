"""Scenarios: what can be launched by name, and whether a text is one."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from flip_lab.api.schemas.base import Asked, Values


class ScenarioCard(BaseModel):
    """A scenario in a gallery.

    Attributes:
        name: What a launch calls it.
        title: One line about it.
        description: What one learns from it; Markdown.
        dataset: Its data set.
        partitioner: How the data is split over the nodes.
        num_nodes: How many nodes there are.
        model: What is trained.
        strategy: How the server aggregates.
        num_rounds: Rounds of training.
        fingerprint: Hash of all that changes a run's numbers.
        picture: Where its picture is, seen from this answer.
    """

    name: str
    title: str
    description: str
    dataset: str
    partitioner: str
    num_nodes: int
    model: str
    strategy: str
    num_rounds: int
    fingerprint: str
    picture: str


class ScenarioCards(BaseModel):
    """All scenarios that can be launched by name.

    Attributes:
        items: Sorted by name.
    """

    items: list[ScenarioCard]


class ScenarioField(BaseModel):
    """One value that can be set; what is not so is left out.

    Attributes:
        path: Its dotted path, as a launch's `overrides` takes it.
        label: What to call it.
        kind: `boolean`, `integer`, `number`, `text`, `list`, `scalar` or `prose`.
        of: What the elements of a list are; the kind itself otherwise.
        words: What may stand there, in words.
        help: What it means.
        unit: Its unit.
        default: What holds when nothing is set.
        choices: Names to choose from.
        is_closed: Whether nothing but the choices will do.
        about: What the chosen one is.
        least: The smallest number that will do.
        most: The largest one.
        above: The number it must be greater than.
        below: The number it must be less than.
        is_option: Whether it is an option of the chosen partitioner, model or strategy.
        is_optional: Whether it may be left empty.
    """

    path: str
    label: str
    kind: str
    of: str
    words: str
    help: str
    unit: str
    default: Any
    choices: list[str]
    is_closed: bool
    about: str
    least: float | None
    most: float | None
    above: float | None
    below: float | None
    is_option: bool
    is_optional: bool


class WholeScenario(BaseModel):
    """A scenario with all that can be set in it.

    Attributes:
        name: What a launch calls it.
        title: One line about it.
        description: What one learns from it; Markdown.
        toml: The text of its file.
        scenario: The same as data, defaults filled in.
        fields: What can be set, with ranges and words; its values are the defaults.
        expectations: What a run of it must show, one sentence each.
        fingerprint: Hash of all that changes a run's numbers.
        words: How its data lies on the nodes, in words: for those who cannot see the
            picture.
    """

    name: str
    title: str
    description: str
    toml: str
    scenario: dict[str, Any]
    fields: list[ScenarioField]
    expectations: list[str]
    fingerprint: str
    words: str


class ScenarioCheck(Asked):
    """A scenario to look at; nothing is launched.

    Attributes:
        toml: The text of its file.
        overrides: Values to change, by dotted path.
    """

    toml: str = Field(max_length=500_000)
    overrides: Values = Field(default_factory=dict)


class CheckedScenario(BaseModel):
    """A scenario that can be launched.

    Attributes:
        scenario: All its values, defaults filled in.
        fields: What can be set, with ranges and words.
        fingerprint: Hash of all that changes a run's numbers.
        toml: The same as the text of a file.
    """

    scenario: dict[str, Any]
    fields: list[ScenarioField]
    fingerprint: str
    toml: str
