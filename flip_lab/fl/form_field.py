"""One value that can be set, described from its type: for forms, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, cast, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt

from flip_lab.fl.validation import describe

Kind: TypeAlias = Literal["boolean", "integer", "number", "text", "list", "scalar", "prose"]
"""What is typed: ``scalar`` is any of the first four, ``prose`` is only shown."""

_KINDS: Mapping[Any, Kind] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "text",
    list: "list",
}
_UNITS = {"s": "s", "ms": "ms", "bytes": "bytes", "mib": "MiB", "percent": "%"}


@dataclass(frozen=True, kw_only=True)
class FormField:
    """One value that can be set.

    Attributes:
        path: Its dotted path, as ``Scenario.override`` takes it.
        label: What to call it.
        kind: What is typed.
        of: What the elements of a list are; the kind itself otherwise.
        words: What may stand there, as messages say it: ``a number > 0``.
        help: What it means; may be empty.
        unit: Its unit, such as ``s``; empty where it has none.
        default: What holds when nothing is set.
        choices: Names or words to choose from; empty where anything may stand.
        is_closed: Whether nothing but the choices will do.
        about: What the chosen one is, in one sentence; may be empty.
        least: The smallest number that will do; ``None`` sets no limit.
        most: The largest one.
        above: The number it must be greater than.
        below: The number it must be less than.
        is_option: Whether it is an option of the chosen partitioner, model or strategy.
        is_optional: Whether it may be left empty.
        empty: What it means to leave it empty; may be empty itself.
    """

    path: str
    label: str
    kind: Kind
    of: Kind
    words: str
    help: str = ""
    unit: str = ""
    default: Any = None
    choices: tuple[str, ...] = ()
    is_closed: bool = False
    about: str = ""
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    is_option: bool = False
    is_optional: bool = False
    empty: str = ""


def form_field(path: str, hint: Any, **more: Any) -> FormField:  # noqa: ANN401  # any type hint, fields of FormField
    """Describe one value from its type.

    Args:
        path: Its dotted path; the last part names it.
        hint: Its type, ``annotated_types`` constraints included.
        more: Further fields; ``help_text`` for ``help``.
    """
    inner, rules = _stripped(hint)
    words = [str(each) for each in get_args(inner)] if get_origin(inner) is Literal else []
    kind, of = _kind(inner)
    name = path.rpartition(".")[2].replace("-", "_")
    known: dict[str, Any] = {
        "label": label_of(name),
        "kind": kind,
        "of": of,
        "words": describe(hint),
        "unit": _UNITS.get(name.rpartition("_")[2], "") if "_" in name else "",
        "choices": tuple(words),
        "is_closed": bool(words),
        "is_optional": NoneType in get_args(hint),
        **_limits(rules),
        "help": more.pop("help_text", ""),
    }
    return FormField(path=path, **{**known, **more})


def label_of(name: str) -> str:
    """Turn a name into a label: ``num_rounds`` is the *Number of rounds*."""
    words = name.strip("_").split("_")
    if len(words) > 1 and words[-1] in _UNITS:
        words = words[:-1]
    if len(words) > 1 and words[0] == "num":
        words = ["number of", *words[1:]]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def _stripped(hint: Any) -> tuple[Any, tuple[object, ...]]:  # noqa: ANN401  # any type hint
    """Take constraints and ``None`` off a type; give both."""
    if get_origin(hint) is Annotated:
        inner, *rules = get_args(hint)
        return _stripped(inner)[0], tuple(rules)
    if get_origin(hint) in {Union, UnionType}:
        parts = [part for part in get_args(hint) if part is not NoneType]
        return _stripped(parts[0]) if len(parts) == 1 else (hint, ())
    return hint, ()


def _kind(hint: Any) -> tuple[Kind, Kind]:  # noqa: ANN401  # any type hint
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "text", "text"
    if origin is list:
        return "list", _kind(_stripped(parts[0])[0])[0]
    if origin is tuple:
        return "prose", "prose"
    kind = _KINDS.get(hint, "scalar")
    return kind, kind


def _limits(rules: tuple[object, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for rule in rules:
        match rule:
            case Gt(gt):
                found["above"] = cast("float", gt)
            case Ge(ge):
                found["least"] = cast("float", ge)
            case Lt(lt):
                found["below"] = cast("float", lt)
            case Le(le):
                found["most"] = cast("float", le)
            case _:
                pass
    return found
