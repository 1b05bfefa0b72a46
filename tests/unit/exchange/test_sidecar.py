"""What travels beside a tracker's own files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flip_lab.core.errors import DamagedSourceError, NewerSourceError
from flip_lab.exchange import sidecar
from flip_lab.exchange.names import keys_of
from flip_lab.exchange.records import RunRecord


def test_a_run_comes_back_whole(
    record: RunRecord, told: Callable[[RunRecord], dict[str, object]], tmp_path: Path
) -> None:
    """All but the points returns, the kept files under their names."""
    keys = keys_of(record.series)
    sidecar.write(record, keys, tmp_path / "home", with_files=True)
    aside = sidecar.read(tmp_path / "home" / sidecar.FILE)
    files = aside.files(tmp_path / "home")
    assert aside.run == told(record)
    assert {key: aside.series(key).identity for key in keys} == {
        key: series.identity for key, series in keys.items()
    }
    assert [(each.name, each.media_type, each.server_round) for each in files] == [
        ("../model", "x/y", 4)
    ]
    assert files[0].path.read_bytes() == b"weights"


def test_without_a_sidecar_nothing_is_told(tmp_path: Path) -> None:
    """A run that was never here is no mistake."""
    aside = sidecar.read(tmp_path / sidecar.FILE)
    assert not aside.run
    assert aside.series("loss").name == "loss"


def test_a_newer_sidecar_is_refused(record: RunRecord, tmp_path: Path) -> None:
    """The message says which format it has."""
    sidecar.write(record, {}, tmp_path)
    path = tmp_path / sidecar.FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(NewerSourceError, match="format 99"):
        sidecar.read(path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": null}'])
def test_a_damaged_sidecar_is_refused(text: str, tmp_path: Path) -> None:
    """Whatever is wrong with it, the error has a code."""
    path = tmp_path / sidecar.FILE
    path.write_text(text)
    with pytest.raises(DamagedSourceError):
        sidecar.read(path)
