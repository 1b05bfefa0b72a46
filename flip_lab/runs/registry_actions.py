"""What changes the model registry: each action is one line of the lab's log.

Whoever acts keeps all others from it meanwhile, so what is decided by the registry as it
was read holds when the line is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import TypeAlias

from flip_lab.core.errors import (
    InvalidValueError,
    ModelNotFoundError,
    ModelStageError,
    nearest,
)
from flip_lab.runs.groups import name_of, note_of, tags_of
from flip_lab.runs.registry_sources import Source
from flip_lab.store.audit_writer import AuditWriter, writing
from flip_lab.store.blobs import Blobs
from flip_lab.store.layout import LabDir
from flip_lab.store.registered import (
    DELETE,
    PROMOTE,
    REGISTER,
    ROLL_BACK,
    STAGES,
    ModelVersion,
    RegisteredModel,
    numbered,
    registered_in,
)

Check: TypeAlias = Callable[[ModelVersion], None]
"""Looks at a version before it is changed, while nobody else can; raises to refuse."""

_MOST = 20  # versions that an error names
_NAME = re.compile(r"\w[\w .+-]{0,99}")


def _anything(_: object) -> None:
    """Let everything be changed."""


def model_name(name: object) -> str:
    """Check what a model shall be called; the name may become that of a file.

    Raises:
        InvalidValueError: If it will not do.
    """
    text = name_of("A model", name)
    if _NAME.fullmatch(text):
        return text
    raise InvalidValueError(
        f"A model is called {text!r}.",
        fix="Give 1 to 100 letters, digits, spaces and . _ + -, a letter or digit first.",
    )


def register_model(
    lab: LabDir, source: Source, name: str, *, note: str = "", tags: Iterable[str] = ()
) -> ModelVersion:
    """Register a kept file as a version; one that this model has already stays as it is.

    Args:
        lab: The lab.
        source: The file.
        name: The model.
        note: A note on the version.
        tags: Its tags.

    Returns:
        The version with this file.

    Raises:
        InvalidValueError: If the name, a tag or the note will not do.
        CorruptArtifactError: If the file is gone.
        StoreNotWritableError: If the log cannot be written; then nothing was done.
    """
    model, text = model_name(name), note_of(note)
    labels = tags_of([tags] if isinstance(tags, str) else tags)
    sha256 = source.file.sha256
    with writing(lab) as log:
        before = numbered(log.records()).get(model)
        for version in before.versions.values() if before else ():
            if version.sha256 == sha256:
                return version
        Blobs(lab).spare(sha256)
        number = before.last + 1 if before else 1
        lineage = asdict(source.lineage)
        run_id = lineage.pop("run_id")
        body = {
            "model": model,
            "version": number,
            "sha256": sha256,
            "size_bytes": source.file.size_bytes,
            "lineage": lineage,
            "tags": sorted(labels),
            "note": text,
        }
        log.append(REGISTER, run_ids=() if run_id is None else (run_id,), body=body)
        return _now(log, model).versions[number]


def promote_model(
    lab: LabDir, name: str, version: int, stage: str, *, check: Check = _anything
) -> ModelVersion:
    """Move a version to a stage; what was in production before is archived then.

    Args:
        lab: The lab.
        name: The model.
        version: Its number.
        stage: ``"none"``, ``"staging"``, ``"production"`` or ``"archived"``.
        check: Looks at the version first.

    Returns:
        The version as it is then.

    Raises:
        ModelNotFoundError: If there is no such version.
        ModelStageError: If there is no such stage.
        CorruptArtifactError: If it shall go into production and its file is damaged.
        StoreNotWritableError: If the log cannot be written; then nothing was done.
    """
    if stage not in STAGES:
        raise ModelStageError(f"There is no stage {stage!r}.", fix=nearest(stage, STAGES))
    if stage == "production":
        Blobs(lab).check(find_version(registered_in(lab), name, version).sha256)
    with writing(lab) as log:
        found = find_version(numbered(log.records()), name, version)
        check(found)
        if found.stage == stage:
            return found
        _append(log, PROMOTE, found, {"stage": stage})
        return _now(log, name).versions[version]


def roll_back_model(
    lab: LabDir, name: str, *, check: Callable[[RegisteredModel], None] = _anything
) -> ModelVersion:
    """Bring the version into production that was there before; again: the one before it.

    Args:
        lab: The lab.
        name: The model.
        check: Looks at the model first, while nobody else can change it.

    Returns:
        The version that is in production then; the other one is archived.

    Raises:
        ModelNotFoundError: If there is no such model.
        ModelStageError: If no other version was in production.
        CorruptArtifactError: If that version's file is damaged.
        StoreNotWritableError: If the log cannot be written; then nothing was done.
    """
    while True:
        before = find_model(registered_in(lab), name).before
        if before is not None:  # read here: others need not wait for that
            Blobs(lab).check(before.sha256)
        with writing(lab) as log:
            model = find_model(numbered(log.records()), name)
            check(model)
            if model.before != before:  # somebody moved a version meanwhile
                continue
            found = _require_before(model)
            _append(log, ROLL_BACK, found, {})
            return _now(log, name).versions[found.version]


def _require_before(model: RegisteredModel) -> ModelVersion:
    """Give the version that was in production before.

    Raises:
        ModelStageError: If there is none.
    """
    if model.before is not None:
        return model.before
    now = model.production
    what = f"only version {now.version} was" if now else "no version was ever"
    raise ModelStageError(
        f"{model.name!r} cannot be rolled back: {what} in production.",
        fix="lab.models.promote(name, version, 'production') puts one there.",
    )


def delete_model(
    lab: LabDir, name: str, version: int, *, check: Check = _anything
) -> ModelVersion:
    """Take a version off the registry; its file goes with the next collection.

    Args:
        lab: The lab.
        name: The model.
        version: Its number, which is not given again.
        check: Looks at the version first.

    Returns:
        The version as it was.

    Raises:
        ModelNotFoundError: If there is no such version.
        ModelStageError: If it is in production.
        StoreNotWritableError: If the log cannot be written; then nothing was done.
    """
    with writing(lab) as log:
        found = find_version(numbered(log.records()), name, version)
        check(found)
        if found.stage == "production":
            raise ModelStageError(
                f"Version {version} of {name!r} is in production and cannot be deleted.",
                fix="Put another one there first, or move it: "
                f"lab.models.promote({name!r}, {version}, 'archived').",
            )
        _append(log, DELETE, found, {})
    return found


def find_model(models: dict[str, RegisteredModel], name: str) -> RegisteredModel:
    """Give the model of a name.

    Raises:
        ModelNotFoundError: If there is none with a version.
    """
    known = {each: model for each, model in models.items() if model.versions}
    if name in known:
        return known[name]
    raise ModelNotFoundError(
        f"No model {name!r} is registered.",
        fix=nearest(name, known) if known else "lab.models.register(run, name) makes one.",
    )


def find_version(
    models: dict[str, RegisteredModel], name: str, version: int
) -> ModelVersion:
    """Give a version of a model by its number.

    Raises:
        ModelNotFoundError: If there is none.
    """
    versions = find_model(models, name).versions
    if not isinstance(version, bool) and version in versions:
        return versions[version]
    raise ModelNotFoundError(
        f"{name!r} has no version {version!r}.",
        fix=f"Its versions: {', '.join(map(str, _shown([*versions])))}.",
    )


def _shown(versions: Sequence[int]) -> Sequence[object]:
    return versions if len(versions) <= _MOST else (versions[0], "…", *versions[-_MOST:])


def _append(
    log: AuditWriter, action: str, version: ModelVersion, body: dict[str, str]
) -> None:
    log.append(action, body={"model": version.name, "version": version.version, **body})


def _now(log: AuditWriter, name: str) -> RegisteredModel:
    return numbered(log.records())[name]
