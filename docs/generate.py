"""Write the pages that are made from the code: ``make docs``.

A test compares what this makes with what is committed, so these pages cannot go stale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields
from inspect import getdoc
from pathlib import Path
from typing import Any, cast, get_type_hints

from click import Command, Parameter
from typer.core import TyperGroup
from typer.main import get_command

from flip_lab.api.reference import reference_json
from flip_lab.cli.main import app
from flip_lab.core.registry import Registry
from flip_lab.core.scenario import (
    DataSpec,
    Expectation,
    ModelSpec,
    Scenario,
    StrategySpec,
    TrainSpec,
)
from flip_lab.fl.data.catalog import DATASETS
from flip_lab.fl.docstrings import meanings
from flip_lab.fl.models import MODELS
from flip_lab.fl.partitioners import PARTITIONERS
from flip_lab.fl.schema import option_items
from flip_lab.fl.strategies import STRATEGIES
from flip_lab.fl.validation import describe
from flip_lab.store.schema import reference_page

DOCS = Path(__file__).parent
NOTICE = "<!-- Made by docs/generate.py (`make docs`); do not edit. -->"

SCENARIO_INTRODUCTION = """\
A scenario says *what* to run, in TOML: names and numbers only. Nothing is converted
silently: a text is not a number, and an unknown key is an error
([FLIP-102](../errors/FLIP-102.md)). What the names may be stands in [Names](names.md)."""

NAMES_INTRODUCTION = """\
What a scenario can name, and the options each takes. Installed plug-ins add to these
lists; a wrong name is answered with the nearest one and with all that would work
([FLIP-101](../errors/FLIP-101.md))."""

COMMANDS_INTRODUCTION = """\
Every command takes `--help`. With `--json` it prints, last on standard output, one JSON
object on one line; progress and errors go to standard error. Exit status: 0 when all went
well, 1 for an error or a failed run, 130 after Ctrl-C (the run was stopped and its results
are kept)."""

ERRORS_INTRODUCTION = """\
Every error that FLIP Lab raises on purpose has a code, says what happened and what to do
next. 1xx scenario and data, 2xx app, 3xx run, 4xx store, 5xx engine and federation, 6xx
installation, 7xx API."""


def pages() -> dict[Path, str]:
    """Make every generated page, by its path."""
    return {
        DOCS / "reference" / "scenario.md": scenario_page(),
        DOCS / "reference" / "names.md": names_page(),
        DOCS / "reference" / "tables.md": reference_page(),
        DOCS / "reference" / "cli.md": commands_page(),
        DOCS / "reference" / "openapi.json": reference_json(),
        DOCS / "errors" / "index.md": errors_page(),
    }


def scenario_page() -> str:
    """Describe the scenario file: every table and key, with type, range and default."""
    tables = (
        ("The top of the file", Scenario),
        ("`[data]`", DataSpec),
        ("`[model]`", ModelSpec),
        ("`[strategy]`", StrategySpec),
        ("`[train]`", TrainSpec),
        ("`[[expect]]`", Expectation),
    )
    return (
        "\n\n".join(
            [
                NOTICE,
                "# The scenario file",
                SCENARIO_INTRODUCTION,
                *(f"## {title}\n\n{_keys(kind)}" for title, kind in tables),
            ]
        ).rstrip("\n")
        + "\n"
    )


def _keys(kind: type[Any]) -> str:
    """Make the table of one part's keys; parts of parts have their own section."""
    hints = get_type_hints(kind, include_extras=True)
    said = meanings(kind)
    rows = [
        f"| `{item.name}` | {describe(hints[item.name])} | {_default(item)} "
        f"| {_markdown(said[item.name])} |"
        for item in fields(kind)
    ]
    return "\n".join(["| key | value | default | meaning |", "|---|---|---|---|", *rows])


def _default(item: Field[Any]) -> str:
    value = item.default
    if item.default_factory is not MISSING:
        value = item.default_factory()
    if value is MISSING:
        return "required"
    if isinstance(value, bool | int | float):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if value and isinstance(value, str) else ""


def names_page() -> str:
    """List what a scenario can name, each with its options."""
    registries: tuple[tuple[str, Registry[Any], str], ...] = (
        ("Data sets: `data.dataset`", DATASETS, ""),
        ("Partitioners: `data.partitioner`", PARTITIONERS, "data.options"),
        ("Models: `model.name`", MODELS, "model.options"),
        ("Strategies: `strategy.name`", STRATEGIES, "strategy.options"),
    )
    sections = (
        f"## {title}\n\n" + "\n".join(_things(registry, options))
        for title, registry, options in registries
    )
    return (
        "\n\n".join(
            [
                NOTICE,
                "# Names",
                NAMES_INTRODUCTION,
                *sections,
            ]
        )
        + "\n"
    )


def _things(registry: Registry[Any], options: str) -> Iterator[str]:
    for name in registry.names():
        thing = registry.get(name)
        yield f"- **`{name}`**: {_markdown((getdoc(thing) or '').splitlines()[0])}"
        if options:
            yield from _options(thing, options)


def _options(thing: Callable[..., Any], prefix: str) -> Iterator[str]:
    for item in option_items(thing):
        default = _default(item)
        said = f" (default {default})" if default.startswith("`") else ""
        yield f"    - `{prefix}.{item.name}`: {describe(item.type)}{said}"


def commands_page() -> str:
    """Describe every command of ``flip-lab`` as its own help does."""
    group = cast(TyperGroup, get_command(app))
    parts = [NOTICE, "# The command `flip-lab`", COMMANDS_INTRODUCTION]
    for name, command in _commands(group):
        parts += [f"## `flip-lab {name}`", command.help or ""]
        parts.append("\n".join(_parameter(item) for item in command.params))
    return "\n\n".join(parts) + "\n"


def _commands(group: TyperGroup) -> Iterator[tuple[str, Command]]:
    """Give every command, also those of groups, by what is typed for it."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from ((f"{name} {below}", each) for below, each in _commands(command))
        else:
            yield name, command


def _parameter(item: Parameter) -> str:
    """Describe one argument or option."""
    said = getattr(item, "help", None) or ""
    if item.param_type_name == "argument":
        return f"- **`{str(item.name).upper()}`** {said}".rstrip()
    flag = not getattr(item, "is_flag", False)
    value = f" {item.type.name.upper()}" if flag else ""
    default = f" Default: `{item.default}`." if flag and item.default is not None else ""
    return f"- **`{item.opts[0]}{value}`** {said}{default}".rstrip()


def errors_page() -> str:
    """List the pages of the error codes by their titles."""
    titles = (
        (page.stem, page.read_text(encoding="utf-8").splitlines()[0].partition(": ")[2])
        for page in sorted((DOCS / "errors").glob("FLIP-*.md"))
    )
    return (
        "\n\n".join(
            [
                NOTICE,
                "# Errors",
                ERRORS_INTRODUCTION,
                "\n".join(f"- [{code}]({code}.md): {title}" for code, title in titles),
            ]
        )
        + "\n"
    )


def _markdown(text: str) -> str:
    """Turn docstring markup into Markdown's, safe inside a table."""
    return text.replace("``", "`").replace("|", r"\|")


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(DOCS.parent))
