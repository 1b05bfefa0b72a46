"""What may be uploaded, and whether a file is what it says it is."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NoReturn, TypeAlias, get_args

from flip_lab.api.uploads.archives import app_root, unpack
from flip_lab.core.errors import ModelError, UploadTypeError, nearest

Kind: TypeAlias = Literal["app", "scenario", "model", "data"]
"""A zipped Flower App, a scenario's TOML, a safetensors file, a CSV or Parquet file."""

KINDS: tuple[Kind, ...] = get_args(Kind)

_ENDINGS: Mapping[str, Kind] = MappingProxyType(
    {
        ".zip": "app",
        ".fab": "app",
        ".toml": "scenario",
        ".safetensors": "model",
        ".csv": "data",
        ".parquet": "data",
    }
)
_LONGEST_NAME = 200
_LARGEST_TOML_BYTES = 2**20
_PARQUET = b"PAR1"
_ROWS = 1000  # of a CSV file that must be of one width
_LONGEST_LINE = 2**22
_SAMPLE = 2**14  # characters that show what separates the columns
_PART_BYTES = 2**20


def check_name(name: str) -> None:
    """Refuse a file's name that is more than a name.

    Raises:
        UploadTypeError: If it is empty, too long, a path, or cannot be printed.
    """
    is_plain = name.isprintable() and not {"/", "\\"} & {*name}
    if not is_plain or not 0 < len(name.strip(" .")) <= len(name) <= _LONGEST_NAME:
        raise UploadTypeError(
            f"A file cannot be called {name[:_LONGEST_NAME]!r}.",
            fix=f"Give its name without directories, 1 to {_LONGEST_NAME} characters.",
        )


def kind_of(name: str, kind: str | None) -> Kind:
    """Say what a file shall be.

    Args:
        name: Its name.
        kind: What its sender says; ``None`` goes by the name's ending.

    Raises:
        UploadTypeError: If files of this kind are not taken.
    """
    if kind is not None:
        if kind in KINDS:
            return kind
        raise UploadTypeError(f"There is no kind {kind!r:.80}.", fix=nearest(kind, KINDS))
    found = _ENDINGS.get(Path(name).suffix.lower())
    if found is None:
        raise UploadTypeError(
            f"{name} is of no kind that is taken.",
            fix=f"Send a file that ends in {', '.join(_ENDINGS)}, or say its kind.",
        )
    return found


def examine(kind: Kind, name: str, data: Path, app: Path) -> None:
    """Make sure that a file is what it says it is; an app is unpacked.

    Args:
        kind: What it says it is.
        name: What its sender calls it.
        data: The file.
        app: Where the files of a Flower App go; it appears whole or not at all.

    Raises:
        UploadTypeError: If it is something else, or an archive that is not safe.
        FlipLabError: If it is an app or a scenario with a fault of its own.
        StoreNotWritableError: If an app cannot be unpacked.
    """
    if kind == "app":
        _app(name, data, app)
    else:
        _LOOKS[kind](name, data)


def _app(name: str, data: Path, app: Path) -> None:
    from flip_lab.engines.apps import read_manifest

    draft = app.with_name(f".{app.name}")
    with unpack(name, data, draft) as files:
        project = app_root(files) / "pyproject.toml"
        if project.is_file() and project.stat().st_size > _LARGEST_TOML_BYTES:
            _refuse(name, "a Flower App: its pyproject.toml has more than a MiB")
        read_manifest(project.parent)
        files.rename(app)


def _scenario(name: str, data: Path) -> None:
    from flip_lab.fl.scenarios import scenario_from_toml

    if data.stat().st_size > _LARGEST_TOML_BYTES:
        _refuse(name, "a scenario: it has more than a MiB")
    try:
        text = data.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        _refuse(name, f"a scenario: it is no text in UTF-8 ({error})")
    scenario_from_toml(text, where=name)


def _model(name: str, data: Path) -> None:
    from flip_lab.runs.registry_sources import num_parameters

    try:
        num_parameters(data)
    except ModelError as error:
        _refuse(name, f"a safetensors file ({error.__cause__})")


def _data(name: str, data: Path) -> None:
    with data.open("rb") as file:
        is_parquet = file.read(len(_PARQUET)) == _PARQUET
    if is_parquet:
        _parquet(name, data)
    else:
        _csv(name, data)


_LOOKS: Mapping[Kind, Callable[[str, Path], None]] = MappingProxyType(
    {"scenario": _scenario, "model": _model, "data": _data}
)


def _parquet(name: str, data: Path) -> None:
    from pyarrow import parquet  # pyright: ignore[reportMissingTypeStubs]  # it has none

    try:
        parquet.read_schema(data)  # pyright: ignore[reportUnknownMemberType]  # as above
    except (ValueError, OSError) as error:  # Arrow's own errors are one or the other
        _refuse(name, f"a Parquet file ({error})")


def _csv(name: str, data: Path) -> None:
    """Look whether all of it is text, and its first rows are of one width.

    Raises:
        UploadTypeError: If not.
    """
    line = 0
    try:
        for part in _texts(data):
            line = len(part) - 1 - part.rindex("\n") if "\n" in part else line + len(part)
            if "\0" in part or line > _LONGEST_LINE:
                _refuse(name, "a CSV file: it is no text in lines")
    except UnicodeDecodeError as error:
        _refuse(name, f"a CSV file in UTF-8 ({error})")
    try:
        widths = {len(row) for row in islice(_rows(data), _ROWS) if row}
    except csv.Error as error:
        _refuse(name, f"a CSV file ({error})")
    if len(widths) != 1:
        told = f"rows of {sorted(widths)} columns" if widths else "no row"
        _refuse(name, f"a table: it has {told}")


def _texts(data: Path) -> Iterator[str]:
    """Decode a file bit by bit.

    Raises:
        UnicodeDecodeError: If it is no UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    with data.open("rb") as file:
        while part := file.read(_PART_BYTES):
            yield decoder.decode(part)
    yield decoder.decode(b"", final=True)


def _rows(data: Path) -> Iterator[list[str]]:
    with data.open(encoding="utf-8-sig", newline="") as file:
        begin = file.read(_SAMPLE)
        try:
            dialect = csv.Sniffer().sniff(begin, delimiters=",;\t|")
        except csv.Error:  # one column
            dialect = csv.excel
        file.seek(0)
        yield from csv.reader(file, dialect, strict=True)


def _refuse(name: str, what: str) -> NoReturn:
    """Say that a file is not what it says.

    Raises:
        UploadTypeError: Always.
    """
    raise UploadTypeError(
        f"{name} is not {what}.", fix="Send the file itself, or say the kind that it is."
    )
