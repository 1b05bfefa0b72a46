"""What a reader sees: the files that count at one moment, listed before any is read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import orjson

from flip_lab.core.events import superseded_spans
from flip_lab.store.audit import AuditRecord, Labels, audited
from flip_lab.store.journal import journals, resumer_events
from flip_lab.store.layout import LabDir, names_in
from flip_lab.store.manifest import Manifest, Segment, read_manifest

Row = dict[str, Any]
_CONFIGURED = ("seed", "engine", "federation", "num_nodes", "num_rounds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A lab at one moment.

    Attributes:
        lab: The lab.
        run_ids: The runs to read; None for all.
        journals: Journal files by run that goes on, without those that are sealed.
        manifest: Which segments count.
        records: The lab's log.
        labels: What the log says of runs, by run.
        hidden: The runs that were deleted.
    """

    lab: LabDir
    run_ids: frozenset[str] | None
    journals: Mapping[str, list[Path]]
    manifest: Manifest
    records: Sequence[AuditRecord]
    labels: Mapping[str, Labels]
    hidden: frozenset[str]

    @classmethod
    def take(
        cls, lab: LabDir, run_ids: Iterable[str] | None = None, *, with_trash: bool = False
    ) -> Snapshot:
        """Look at a lab now.

        Journals are listed before the manifest is read: a file that is sealed in between
        is in both, and the manifest says so. The other way round it would be in neither.

        Args:
            lab: The lab.
            run_ids: The runs to read; None for all.
            with_trash: Whether deleted runs count, too, until the trash is emptied.

        Raises:
            StoreFormatError: If a newer version of FLIP Lab wrote the lab.
            CorruptArtifactError: If the manifest cannot be read.
        """
        wanted = None if run_ids is None else frozenset(run_ids)
        live = {*names_in(lab.live)}
        names = sorted({*names_in(lab.runs), *live} if wanted is None else wanted)
        found = {
            run_id: journals(lab, run_id) if run_id in live else [] for run_id in names
        }
        manifest = read_manifest(lab)
        sealed = {
            source for part in manifest.segments if part.is_open for source in part.sources
        }
        records, said = audited(lab)
        hidden = frozenset(
            run_id
            for run_id, label in said.items()
            if (label.is_removed if with_trash else label.is_hidden)
        )
        gone = manifest.closed_runs | hidden
        return cls(
            lab=lab,
            run_ids=wanted,
            journals={
                run_id: [path for path in paths if path.name not in sealed]
                for run_id, paths in found.items()
                if run_id not in gone
            },
            manifest=manifest,
            records=records,
            labels=said,
            hidden=hidden,
        )

    @property
    def open_runs(self) -> list[str]:
        """The runs that are not sealed yet."""
        return list(self.journals)

    def counting(self, segment: Segment) -> frozenset[str]:
        """Give the runs of a segment whose facts are asked for."""
        asked = segment.counting - self.hidden
        return asked if self.run_ids is None else asked & self.run_ids

    @property
    def closed(self) -> list[Segment]:
        """The segments of ended runs with something that is asked for."""
        return [each for each in self.manifest.closed if self.counting(each)]

    @property
    def parts(self) -> list[Segment]:
        """The sealed parts of the runs that are not sealed yet."""
        return [
            each
            for each in self.manifest.segments
            if each.is_open and self.counting(each) & self.journals.keys()
        ]

    def superseded(self) -> list[tuple[str, int, int]]:
        """Say what resumed runs made anew: run, and two sequences that enclose it."""
        parts = [(p.run_ids[0], *span) for p in self.parts for span in p.spans]
        live = [
            (run_id, *span)
            for run_id, paths in self.journals.items()
            for span in superseded_spans(resumer_events(paths))
        ]
        return [*parts, *live]

    def only(self, journals: Mapping[str, list[Path]]) -> Snapshot:
        """Give the same moment with some journals and nothing else."""
        return replace(self, journals=journals, manifest=Manifest())

    def specs(self) -> list[Row]:
        """Read what was launched, of the runs that are not sealed yet.

        A file that cannot be read is passed over, so that other runs still can.
        """
        found = (_read_spec(self.lab, run_id) for run_id in self.journals)
        return [spec for spec in found if spec is not None]


def _read_spec(lab: LabDir, run_id: str) -> Row | None:
    try:
        found = orjson.loads((lab.run_dir(run_id) / "run.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    if not isinstance(found, dict):
        return None
    spec = cast("Row", found)
    return spec if spec.get("run_id") == run_id else None


def parameters(spec: Mapping[str, Any]) -> list[Row]:
    """Give all that was configured for a run, as rows of ``parameters``.

    Args:
        spec: The content of a ``run.json``.
    """
    told: dict[str, Any] = {name: spec.get(name) for name in _CONFIGURED}
    scenario = spec.get("scenario")
    if isinstance(scenario, Mapping):
        told |= _flat(cast("Mapping[str, Any]", scenario))
    elif isinstance(config := spec.get("run_config"), Mapping):
        told |= _flat(cast("Mapping[str, Any]", config), "app.")
    return [
        {
            "run_id": spec["run_id"],
            "name": name,
            "value": value if isinstance(value, str) else json.dumps(value),
            "number": float(value) if isinstance(value, int | float) else None,
        }
        for name, value in told.items()
        if value is not None
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(cast("Mapping[str, Any]", value), f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
