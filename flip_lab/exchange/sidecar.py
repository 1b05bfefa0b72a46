"""``flip_lab.json``: a run's description that travels beside what the other tool keeps.

Trackers know neither rounds nor phases nor forks, and some refuse names that we allow. The
sidecar holds all of a run but its curves, so that a run that comes back is the run that
left. A run without one is read as well as its tool's own words allow.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from flip_lab.core.errors import DamagedSourceError, NewerSourceError
from flip_lab.exchange.names import empty_series
from flip_lab.exchange.records import KeptFile, RoundSpan, RunRecord, Series

FILE = "flip_lab.json"
"""Its name, in every format."""

FORMAT = 1
_LONGEST = 100  # characters of a name that become part of a file's name
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_APART = frozenset({"series", "files"})
_FIELDS = {field.name for field in fields(RunRecord)} - _APART


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """What a sidecar told.

    Attributes:
        run: The fields of the record.
        keys: Phase, scope and name of each metric by the other tool's key.
        names: Name, media type and round of each kept file by its place.
    """

    run: Mapping[str, Any]
    keys: Mapping[str, tuple[str, str, str]]
    names: Mapping[str, tuple[str, str | None, int]]

    def files(self, folder: Path) -> tuple[KeptFile, ...]:
        """Give the kept files that lie in a folder, without the sidecar itself."""
        found: list[KeptFile] = []
        for path in sorted(folder.rglob("*")):
            place = path.relative_to(folder).as_posix()
            if path.is_file() and place != FILE:
                name, media_type, server_round = self.names.get(place, (place, None, 0))
                found.append(
                    KeptFile(
                        name=name,
                        path=path,
                        media_type=media_type,
                        server_round=server_round,
                    )
                )
        return tuple(found)

    def series(self, key: str) -> Series:
        """Give the series that a key stands for, without points."""
        if key not in self.keys:
            return empty_series(key)
        phase, scope, name = self.keys[key]
        return Series(phase=phase, scope=scope, name=name)


def write(
    record: RunRecord,
    keys: Mapping[str, Series],
    folder: Path,
    *,
    with_files: bool = False,
) -> None:
    """Describe a run, all but its points, in a folder that other tools keep for it.

    Args:
        record: The run.
        keys: Its series by the keys that the other tool knows them by.
        folder: Where ``flip_lab.json`` goes; made if it does not exist.
        with_files: Whether the run's kept files are copied there as well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places: dict[str, KeptFile] = {}
    for number, file in enumerate(record.files if with_files else ()):
        place = f"{number}-{_UNSAFE.sub('_', file.name)[:_LONGEST]}"
        places[place] = file
        shutil.copyfile(file.path, folder / place)
    run = {name: getattr(record, name) for name in sorted(_FIELDS)}
    run["rounds"] = [asdict(span) for span in record.rounds]
    names = {key: each.identity for key, each in keys.items()}
    files = {
        place: (file.name, file.media_type, file.server_round)
        for place, file in places.items()
    }
    body = {"format": FORMAT, "run": run, "series": names, "files": files}
    text = json.dumps(body, indent=1, default=dict)
    (folder / FILE).write_text(text, encoding="utf-8")


def read(path: Path) -> Sidecar:
    """Read a sidecar.

    Args:
        path: The file; a missing one tells nothing.

    Raises:
        NewerSourceError: If a newer version of FLIP Lab wrote it.
        DamagedSourceError: If it cannot be read.
    """
    if not path.is_file():
        return Sidecar(run={}, keys={}, names={})
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        told = int(body["format"])
        if told > FORMAT:
            raise NewerSourceError(
                f"{path} has format {told}; this version reads up to {FORMAT}.",
                fix="Update FLIP Lab (pip install -U flip-lab).",
            )
        run = {name: value for name, value in body["run"].items() if name in _FIELDS}
        run["rounds"] = tuple(RoundSpan(**span) for span in run["rounds"])
        run["tags"] = tuple(run["tags"])
        keys = {key: (str(a), str(b), str(c)) for key, (a, b, c) in body["series"].items()}
        names = {place: (str(a), b, int(c)) for place, (a, b, c) in body["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedSourceError(
            f"{path} cannot be read as the description of a run ({error!r}).",
            fix="Copy the export again from where it was made.",
        ) from error
    return Sidecar(run=run, keys=keys, names=names)
