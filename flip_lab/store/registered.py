"""The model registry as the lab's log tells it: a reading of actions, the last wins.

Who registers, promotes, rolls back or deletes adds one line to ``audit.jsonl``; so the
registry is chained, has an author for everything, and a kill leaves it as it was before or
as it is after. A version holds all that is known of it: it outlives its run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, cast, get_args

from flip_lab.store.audit import AuditRecord, audited
from flip_lab.store.blobs import SHA256
from flip_lab.store.layout import LabDir

Stage: TypeAlias = Literal["none", "staging", "production", "archived"]
"""Where a version stands: new, a candidate, in use, or put away."""

STAGES: tuple[Stage, ...] = get_args(Stage)

REGISTER, PROMOTE = "register_model", "promote_model"
ROLL_BACK, DELETE = "roll_back_model", "delete_model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where a version comes from, as it was known when it was registered.

    Attributes:
        run_id: The run; ``None`` for a file from elsewhere.
        artifact: What the run calls the file; of a file from elsewhere, its name.
        server_round: The round it was aggregated in; ``None`` where nobody knows.
        metrics: Aggregated metrics of that round; those of an evaluation on the server are
            called ``NAME_central``.
        scenario: Name of the run's scenario or app; ``None`` likewise.
        scenario_fingerprint: Hash of the scenario's numbers; ``None`` for others.
        input_schema: What the model takes and gives: shape and names of the features,
            names of the classes; ``None`` where the scenario does not tell.
        num_parameters: Numbers in its arrays.
    """

    run_id: str | None = None
    artifact: str
    server_round: int | None = None
    metrics: Mapping[str, float]
    scenario: str | None = None
    scenario_fingerprint: str | None = None
    input_schema: Mapping[str, Any] | None = None
    num_parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One version of a model: a kept file, where it comes from, and where it stands.

    Attributes:
        name: The model.
        version: Its number, from 1; one that was deleted is never given again.
        stage: ``"none"``, ``"staging"``, ``"production"`` or ``"archived"``.
        sha256: Hash of its file, a safetensors file.
        size_bytes: Length of its file.
        lineage: Where it comes from.
        tags: Its tags, sorted.
        note: Its note; may be empty.
        registered_s: When it was registered, seconds since the Unix epoch.
        registered_by: Who did that.
        staged_s: When its stage was changed last; when it was registered, if never.
        staged_by: Who did that.
        changed: Sequence, in the lab's log, of the last action that changed it.
    """

    name: str
    version: int
    stage: Stage
    sha256: str
    size_bytes: int
    lineage: Lineage
    tags: tuple[str, ...]
    note: str
    registered_s: float
    registered_by: str
    staged_s: float
    staged_by: str
    changed: int

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.stage})"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """What is registered under one name.

    Attributes:
        name: The name.
        versions: Its versions by number, in order, without deleted ones.
        last: The highest number ever given.
        produced: Versions in the order in which they came into production; a roll back
            takes the end of it off.
    """

    name: str
    versions: Mapping[int, ModelVersion]
    last: int
    produced: tuple[int, ...]

    @property
    def production(self) -> ModelVersion | None:
        """The version that is in production; at most one is."""
        return self.newest("production")

    @property
    def latest(self) -> ModelVersion | None:
        """The version with the highest number."""
        return self.versions[max(self.versions)] if self.versions else None

    @property
    def before(self) -> ModelVersion | None:
        """The version that a roll back brings into production; ``None`` if none is left."""
        now = self.production
        left = (n for n in reversed(self.produced) if n in self.versions)
        before = next((n for n in left if now is None or n != now.version), None)
        return None if before is None else self.versions[before]

    def newest(self, stage: Stage) -> ModelVersion | None:
        """Give the version of a stage that came into it last; ``None`` if none is in it."""
        there = [each for each in self.versions.values() if each.stage == stage]
        return max(there, key=lambda each: (each.changed, each.version), default=None)


def registered_in(lab: LabDir) -> dict[str, RegisteredModel]:
    """Give every model of a lab that has a version, by name.

    Raises:
        StoreError: If the log cannot be read.
        StoreFormatError: If a newer version of FLIP Lab wrote it.
    """
    return registered(audited(lab)[0])


def registered(records: Iterable[AuditRecord]) -> dict[str, RegisteredModel]:
    """Say what is registered after these actions.

    Args:
        records: The log, or its beginning, the oldest first.

    Returns:
        Models by name that have a version. A damaged record says nothing.
    """
    found = numbered(records)
    return {name: found[name] for name in sorted(found) if found[name].versions}


def numbered(records: Iterable[AuditRecord]) -> dict[str, RegisteredModel]:
    """Do as ``registered``, with the models whose versions were all deleted."""
    found: dict[str, RegisteredModel] = {}
    for record in records:
        effect = _EFFECTS.get(record.action)
        name, version = record.body.get("model"), record.body.get("version")
        if effect is None or not isinstance(name, str) or not isinstance(version, int):
            continue
        before = found.get(name) or RegisteredModel(
            name=name, versions={}, last=0, produced=()
        )
        found[name] = effect(before, version, record)
    return found


def _register(model: RegisteredModel, version: int, record: AuditRecord) -> RegisteredModel:
    new = _version(model.name, version, record)
    if new is None or version <= model.last:
        return model
    return replace(model, versions={**model.versions, version: new}, last=version)


def _promote(model: RegisteredModel, version: int, record: AuditRecord) -> RegisteredModel:
    stage = record.body.get("stage")
    if version not in model.versions or stage not in STAGES:
        return model
    changed = dict(model.versions)
    former = model.production
    if stage == "production" and former is not None:
        # Staging holds what may go into production next; this one was there already.
        changed[former.version] = _staged(former, "archived", record)
    changed[version] = _staged(changed[version], stage, record)
    is_new = stage == "production" and model.produced[-1:] != (version,)
    produced = (*model.produced, version) if is_new else model.produced
    return replace(model, versions=changed, produced=produced)


def _roll_back(
    model: RegisteredModel, version: int, record: AuditRecord
) -> RegisteredModel:
    if version not in model.versions or version not in model.produced:
        return model
    at = len(model.produced) - model.produced[::-1].index(version)
    shorter = replace(model, produced=model.produced[:at])
    body = {**record.body, "stage": "production"}
    return _promote(shorter, version, replace(record, body=body))


def _delete(model: RegisteredModel, version: int, _: AuditRecord) -> RegisteredModel:
    left = {n: each for n, each in model.versions.items() if n != version}
    return replace(model, versions=left)


_EFFECTS: Mapping[str, Callable[[RegisteredModel, int, AuditRecord], RegisteredModel]] = (
    MappingProxyType(
        {REGISTER: _register, PROMOTE: _promote, ROLL_BACK: _roll_back, DELETE: _delete}
    )
)


def _staged(version: ModelVersion, stage: Stage, record: AuditRecord) -> ModelVersion:
    return replace(
        version,
        stage=stage,
        staged_s=record.time_s,
        staged_by=record.author,
        changed=record.sequence,
    )


def _version(name: str, version: int, record: AuditRecord) -> ModelVersion | None:
    body = record.body
    try:
        told: dict[str, Any] = {**body["lineage"], "run_id": record.run_id}
        sha256, tags = str(body["sha256"]), cast("list[str]", body["tags"])
        if not SHA256.fullmatch(sha256):
            return None
        return ModelVersion(
            name=name,
            version=version,
            stage="none",
            sha256=sha256,
            size_bytes=int(body["size_bytes"]),
            lineage=Lineage(**told),
            tags=tuple(sorted(map(str, tags))),
            note=str(body["note"]),
            registered_s=record.time_s,
            registered_by=record.author,
            staged_s=record.time_s,
            staged_by=record.author,
            changed=record.sequence,
        )
    except (KeyError, TypeError, ValueError):
        return None
