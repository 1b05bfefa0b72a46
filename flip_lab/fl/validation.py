"""Read what a user wrote into a dataclass, or say in our own words why it cannot be.

Pydantic does the checking; this module turns its findings into coded errors with the path
of the value, what may stand there, and the nearest valid key.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, field, fields, is_dataclass, make_dataclass
from functools import lru_cache
from types import GenericAlias, NoneType, SimpleNamespace, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NoReturn,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import ConfigDict, TypeAdapter, ValidationError

from flip_lab.core.errors import InvalidValueError, ScenarioError, UnknownKeyError, nearest

T = TypeVar("T")

# No silent conversion, no unknown key, no NaN: what is written is what is run.
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_NOUNS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def read(kind: type[T], data: Mapping[str, Any], *, prefix: str = "") -> T:
    """Build a dataclass from plain data, strictly.

    Args:
        kind: The dataclass; ``annotated_types`` beside its fields give the ranges.
        data: Nested tables, lists and scalars, as TOML or JSON gives them.
        prefix: Where ``data`` stands in the whole, with its dot, for messages.

    Raises:
        UnknownKeyError: If a key means nothing; the message names the nearest valid one.
        InvalidValueError: If a value has the wrong type or lies outside its range.
        ScenarioError: If a required key is missing.
    """
    try:
        # JSON, because pydantic's strict mode takes a table for a dataclass only there.
        checked = _adapter(kind).validate_json(json.dumps([data], default=str))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        _refuse(kind, data, (first["type"], first["loc"][1:], prefix))
    return cast("T", checked[0])


def read_options(
    builder: Callable[..., Any], options: Mapping[str, Any], *, prefix: str
) -> dict[str, Any]:
    """Check the options of a builder, and fill in its defaults.

    Args:
        builder: A partitioner, model or strategy of a registry.
        options: What the scenario says, by name.
        prefix: Where the options stand in the scenario, with its dot.

    Raises:
        UnknownKeyError: If the builder has no such option; names the nearest one.
        InvalidValueError: If a value has the wrong type or lies outside its range.
        ScenarioError: If an option without a default is missing.
    """
    checked = cast("object", read(options_type(builder), options, prefix=prefix))
    return dict(vars(checked))


@lru_cache(maxsize=64)  # the same few functions, at each launch
def options_type(builder: Callable[..., Any]) -> type[Any]:
    """Give the options of a builder as a dataclass: its keyword-only plain arguments.

    Args:
        builder: A function of a registry, or a class, whose arguments are all options.

    Returns:
        A dataclass with the arguments that a scenario file can hold: booleans, numbers,
        texts, and lists and choices of them.
    """
    function = builder.__init__ if inspect.isclass(builder) else builder
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(builder).parameters.items()
        if inspect.isclass(builder) or parameter.kind is parameter.KEYWORD_ONLY
    }
    # Only these annotations are looked up: others may name modules that are not loaded.
    wanted = {name: parameter.annotation for name, parameter in parameters.items()}
    hints = get_type_hints(
        SimpleNamespace(__annotations__=wanted), function.__globals__, include_extras=True
    )
    return make_dataclass(
        f"{builder.__name__}Options",
        [
            (name, hints[name], field(default=_default(parameter)))
            for name, parameter in parameters.items()
            if _is_plain(hints[name])
        ],
        kw_only=True,
    )


def describe(hint: Any) -> str:  # noqa: ANN401  # any type hint
    """Say in words what may stand where a value has this type.

    Returns:
        Such as ``a number > 0 and ≤ 0.9``, ``a whole number`` or ``'iid' or 'shard'``.
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        limits = " and ".join(_limit(rule) for rule in parts[1:])
        return f"{describe(parts[0])} {limits}"
    if origin in {Union, UnionType}:
        return " or ".join(describe(part) for part in parts if part is not NoneType)
    if origin is Literal:
        return " or ".join(repr(part) for part in parts)
    if origin in {list, tuple}:
        return "a list"
    return _NOUNS.get(hint, "a table")


@lru_cache(maxsize=64)
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """Give a strict reader; the tuple is there to carry the settings to the dataclass."""
    return TypeAdapter(cast("Any", GenericAlias(tuple, (kind,))), config=_STRICT)


def _refuse(
    kind: type[Any],
    data: Mapping[str, Any],
    finding: tuple[str, tuple[int | str, ...], str],
) -> NoReturn:
    """Put one finding of pydantic into our words.

    Raises:
        UnknownKeyError: If a key means nothing.
        ScenarioError: If a key is missing.
        InvalidValueError: If a value is none that may stand there.
    """
    problem, location, prefix = finding
    path: list[str] = []
    value: Any = data
    hint: Any = kind
    holder: Any = kind
    for step in location:
        # pydantic also names the member of a union that it tried; that is no step down.
        is_key = isinstance(value, Mapping) and (
            step in value or problem.startswith("missing")
        )
        if isinstance(step, int) or is_key:
            holder, hint = hint, _below(hint, step)
            value = _get(value, step)
            path.append(f"[{step}]" if isinstance(step, int) else f".{step}")
    where = prefix + "".join(path).removeprefix(".")
    if problem in {"unexpected_keyword_argument", "extra_forbidden"}:
        valid = [item.name for item in fields(holder)]
        raise UnknownKeyError(
            f"There is no key {where!r}.", fix=nearest(str(location[-1]), valid)
        ) from None
    if problem.startswith("missing"):
        raise ScenarioError(
            f"{where!r} is missing.", fix=f"Set it to {describe(hint)}."
        ) from None
    raise InvalidValueError(
        f"{where} is {value!r}.", fix=f"Set it to {describe(hint)}."
    ) from None


def _get(container: Any, step: int | str) -> Any:  # noqa: ANN401  # any value
    """Give what stands at a place; ``None`` where a key is missing."""
    return container[step] if isinstance(step, int) else container.get(step)


def _below(hint: Any, step: int | str) -> Any:  # noqa: ANN401  # any type hint
    """Give the type one step below a type."""
    if isinstance(step, int):
        return get_args(hint)[0]
    if is_dataclass(hint):
        return get_type_hints(hint, include_extras=True).get(step, Any)
    return get_args(hint)[-1] if get_args(hint) else Any


def _limit(rule: object) -> str:
    """Put one constraint into words."""
    match rule:
        case Gt(gt):
            return f"> {gt}"
        case Ge(ge):
            return f"≥ {ge}"
        case Lt(lt):
            return f"< {lt}"
        case Le(le):
            return f"≤ {le}"
        case MinLen(length):
            return f"of length ≥ {length}"
        case _:
            return str(rule)


def _default(parameter: inspect.Parameter) -> Any:  # noqa: ANN401  # any default
    return MISSING if parameter.default is parameter.empty else parameter.default


def _is_plain(hint: Any) -> bool:  # noqa: ANN401  # any type hint
    """Whether a scenario file can hold a value of this type."""
    if get_origin(hint) is Annotated:
        return _is_plain(get_args(hint)[0])
    if get_origin(hint) in {Union, UnionType, list}:
        return all(_is_plain(part) for part in get_args(hint))
    return hint in _NOUNS or hint is NoneType or get_origin(hint) is Literal
