"""Take runs out of a lab as plain data: whole, or in the words that trackers share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from flip_lab.core.events import EventKind, RunEvent, in_force
from flip_lab.exchange.parcels import Parcel
from flip_lab.exchange.records import KeptFile, RoundSpan, RunRecord, Series
from flip_lab.runs.run import Run
from flip_lab.store import query
from flip_lab.store.audit import BIRTHS, labels, read_audit
from flip_lab.store.blobs import Blobs
from flip_lab.store.layout import LabDir

_ERROR = ("code", "what", "fix", "detail")
_BEHIND = ("env_sha256", "git_patch_sha256")
_PRIVATE = frozenset({"launched_from", "working_dir", "search_path"})  # of this machine
_LAUNCHES = BIRTHS - {"import"}  # whoever imported a run did not launch it


def parcel_of(lab: LabDir, run: Run) -> Parcel:
    """Give one run of a lab whole.

    Raises:
        CorruptArtifactError: If a kept file is gone, or no longer matches its hash.
    """
    folder = lab.run_dir(run.run_id)
    spec = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    events = tuple(run.events())
    log = folder / "output.log"
    tags, note = _labels(lab, run)
    facts = in_force(events)
    kept = {file.path.name: file.path for file in _files(lab, facts)}
    return Parcel(
        run_id=run.run_id,
        spec=spec,
        events=events,
        tags=tags,
        note=note,
        log=log if log.is_file() else None,
        folder=folder,
        files={**kept, **_images(lab, facts), **files_behind(lab, spec)},
    )


def files_behind(lab: LabDir, spec: Mapping[str, Any]) -> dict[str, Path]:
    """Give the kept files that stand behind a run: its packages, uncommitted changes.

    Args:
        lab: The lab.
        spec: The run's ``run.json``.

    Returns:
        The files by their SHA-256.

    Raises:
        CorruptArtifactError: If one is gone, or no longer matches its hash.
    """
    lineage: Mapping[str, Any] = spec.get("lineage") or dict[str, Any]()
    hashes = {str(lineage[name]) for name in _BEHIND if lineage.get(name)}
    return {sha256: Blobs(lab).check(sha256) for sha256 in hashes}


def _labels(lab: LabDir, run: Run) -> tuple[tuple[str, ...], str]:
    found = labels(read_audit(lab)).get(run.run_id)
    return (found.tags, found.note) if found else (tuple(run.spec.tags), "")


def record_of(lab: LabDir, run: Run) -> RunRecord:
    """Describe one ended run in the words that trackers share; facts in force only.

    Raises:
        CorruptArtifactError: If a kept file is gone, or no longer matches its hash.
    """
    spec, facts = run.spec, in_force(run.events())
    states = [event for event in facts if event.kind is EventKind.STATE]
    began = [e.time_s for e in states if e.body["state"] in {"starting", "running"}]
    end = states[-1]
    lineage = [event.body for event in facts if event.kind is EventKind.LINEAGE]
    tags, note = _labels(lab, run)
    is_failed = end.body["state"] == "failed"
    return RunRecord(
        run_id=run.run_id,
        source=run.run_id,
        name=spec.name,
        experiment=spec.experiment or spec.name,
        state=str(end.body["state"]),
        created_s=spec.created_s,
        started_s=min(began, default=None),
        ended_s=end.time_s,
        sweep=spec.sweep,
        parent_run_id=spec.parent_run_id,
        forked_at_round=spec.forked_at_round,
        parameters=_parameters(lab, run.run_id),
        lineage=lineage[-1] if lineage else dict[str, Any](),
        tags=tags,
        note=note,
        author=_author(lab, run.run_id),
        error={name: str(end.body.get(name, "")) for name in _ERROR} if is_failed else {},
        rounds=_rounds(facts),
        series=series_of(facts),
        files=_files(lab, facts),
        spec={key: value for key, value in spec.to_json().items() if key not in _PRIVATE},
    )


def _author(lab: LabDir, run_id: str) -> str:
    births = (
        record.author
        for record in read_audit(lab)
        if record.action in _LAUNCHES and run_id in record.run_ids
    )
    return next(births, "")


def _parameters(lab: LabDir, run_id: str) -> dict[str, str]:
    rows = query.table(lab, "parameters", run_ids=[run_id], as_="rows")
    return {row["name"]: row["value"] for row in rows if row["value"] is not None}


def _rounds(facts: Iterable[RunEvent]) -> tuple[RoundSpan, ...]:
    began: dict[int, float] = {}
    spans: list[RoundSpan] = []
    for event in facts:
        if event.kind is EventKind.ROUND_STARTED:
            began[event.server_round] = event.time_s
        elif event.kind is EventKind.ROUND_ENDED:
            spans.append(
                RoundSpan(
                    server_round=event.server_round,
                    started_s=began.get(event.server_round, event.time_s),
                    ended_s=event.time_s,
                    duration_s=cast("float", event.body["duration_s"]),
                )
            )
    return tuple(spans)


def series_of(facts: Iterable[RunEvent]) -> tuple[Series, ...]:
    """Give the curves that are in these facts, each in recorded order."""
    found: dict[tuple[str, str, str], Series] = {}
    for event in facts:
        if event.kind is EventKind.METRIC:
            phase, scope, name = (
                str(event.body[key]) for key in ("phase", "scope", "name")
            )
            series = found.setdefault(
                (phase, scope, name), Series(phase=phase, scope=scope, name=name)
            )
            value = cast("float", event.body["value"])
            series.add(event.server_round, event.time_s, value)
    return tuple(found.values())


def _images(lab: LabDir, facts: Iterable[RunEvent]) -> dict[str, Path]:
    hashes = {
        str(event.body["sha256"])
        for event in facts
        if event.kind is EventKind.LOGGED and "sha256" in event.body
    }
    return {sha256: Blobs(lab).check(sha256) for sha256 in hashes}


def _files(lab: LabDir, facts: Iterable[RunEvent]) -> tuple[KeptFile, ...]:
    blobs = Blobs(lab)
    return tuple(
        KeptFile(
            name=str(event.body["name"]),
            path=blobs.check(str(event.body["sha256"])),
            media_type=cast("str | None", event.body.get("media_type")),
            server_round=event.server_round,
        )
        for event in facts
        if event.kind is EventKind.ARTIFACT
    )
