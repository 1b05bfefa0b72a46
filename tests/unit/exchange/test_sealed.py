"""A sealed directory is read as it was sealed, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flip_lab.core.errors import (
    DamagedSourceError,
    FlipLabError,
    ForeignFormatError,
    NewerSourceError,
)
from flip_lab.exchange import sealed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a sealed directory with two files."""
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"")
    sealed.seal(tmp_path, {"made_as": "parquet", "runs": ["x"]})
    return tmp_path


def _edit(folder: Path, **values: object) -> None:
    path = folder / sealed.FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_an_untouched_directory_passes(folder: Path) -> None:
    """The manifest comes back with what it was given."""
    assert sealed.check(folder, made_as="parquet")["runs"] == ["x"]


@pytest.mark.parametrize(
    ("harm", "error"),
    [
        (lambda at: (at / "part" / "a").write_bytes(b"abd"), DamagedSourceError),
        (lambda at: (at / "part" / "a").write_bytes(b"ab"), DamagedSourceError),
        (lambda at: (at / "b").unlink(), DamagedSourceError),
        (lambda at: (at / sealed.FILE).write_text("{"), DamagedSourceError),
        (lambda at: (at / sealed.FILE).write_text("[]"), DamagedSourceError),
        (lambda at: (at / sealed.FILE).unlink(), ForeignFormatError),
        (lambda at: _edit(at, made_as="ro-crate"), ForeignFormatError),
        (lambda at: _edit(at, format=2), NewerSourceError),
        (
            lambda at: _edit(at, files={"../x": {"sha256": "", "size_bytes": 0}}),
            DamagedSourceError,
        ),
    ],
)
def test_harm_is_noticed(
    harm: Callable[[Path], object], error: type[FlipLabError], folder: Path
) -> None:
    """A changed, cut, missing or foreign file is named with a code."""
    harm(folder)
    with pytest.raises(error):
        sealed.check(folder, made_as="parquet")
