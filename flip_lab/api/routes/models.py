"""The model registry: versions, which of them is in production, and their files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import APIRouter, Path, Query, Request, Response

from flip_lab.api.documents import told
from flip_lab.api.etags import require_fresh, tag_of
from flip_lab.api.kept_files import BYTES_TOLD, kept_response
from flip_lab.api.paging import USUAL, Cursor, Limit, cursor_at, place_of
from flip_lab.api.replies import JSON, state, to_json
from flip_lab.api.schemas.base import Page
from flip_lab.api.schemas.models import ModelRow, RegisterAsked, StageAsked, WholeModel
from flip_lab.api.service import Reader, Service, Serving, Writer
from flip_lab.api.uploads.use import model_of_upload
from flip_lab.core.clock import at_utc
from flip_lab.runs.artifacts import SAFETENSORS
from flip_lab.runs.registry_actions import (
    delete_model,
    find_model,
    promote_model,
    register_model,
    roll_back_model,
)
from flip_lab.runs.registry_sources import Source, source_of_file, source_of_run
from flip_lab.store.blobs import Blobs
from flip_lab.store.registered import ModelVersion, RegisteredModel, Stage, registered_in

router = APIRouter(prefix="/models", tags=["models"])

Named: TypeAlias = Annotated[str, Path(max_length=200, description="The model.")]
Number: TypeAlias = Annotated[
    int, Path(ge=1, le=2**31 - 1, description="The version's number.")
]
Which: TypeAlias = Annotated[
    Annotated[int, Path(ge=1, le=2**31 - 1)] | Stage | Literal["latest"],
    Path(
        description="The version's number; a stage, for what came into it last; or the "
        "highest number."
    ),
]
OnlyNamed: TypeAlias = Annotated[
    str | None, Query(max_length=200, description="Only versions of this model.")
]
OnlyStage: TypeAlias = Annotated[
    Stage | None, Query(description="Only versions of this stage.")
]


def _row(version: ModelVersion) -> dict[str, Any]:
    """Give a version as the table ``models`` shows it."""
    told_: dict[str, Any] = asdict(version)
    lineage = told_.pop("lineage")
    del told_["changed"]
    for name in ("registered", "staged"):
        told_[f"{name}_at"] = at_utc(told_.pop(f"{name}_s"))
    return {**told_, **lineage}


def _whole(model: RegisteredModel) -> dict[str, Any]:
    now, before = model.production, model.before
    return {
        "name": model.name,
        "production": None if now is None else now.version,
        "before": None if before is None else before.version,
        "versions": [_row(version) for version in model.versions.values()],
    }


def _fresh(
    request: Request, shown: Callable[[Any], dict[str, Any]]
) -> Callable[[Any], None]:
    """Give what refuses a change of something that is not as it was seen."""

    def check(found: Any) -> None:  # noqa: ANN401  # a version or a model
        require_fresh(request, tag_of(to_json(shown(found))))

    return check


@router.get("", response_model=Page[ModelRow], responses=told(304))
def list_models(  # noqa: PLR0913  # one parameter for each thing to choose by
    request: Request,
    service: Serving,
    person: Reader,
    *,
    name: OnlyNamed = None,
    stage: OnlyStage = None,
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Response:
    """List all versions, by name and number."""
    del person
    question = ["models", name, stage]
    after: tuple[str, int] | None = None
    if cursor is not None:
        last = place_of(cursor, question, kinds=(str, int))
        after = (last[0], last[1])
    models = registered_in(service.lab_dir)
    found = [
        version
        for model in models.values()
        for version in model.versions.values()
        if (name is None or version.name == name)
        and (stage is None or version.stage == stage)
        and (after is None or (version.name, version.version) > after)
    ]
    page, following = found[:limit], None
    if len(found) > limit:
        following = cursor_at(question, [page[-1].name, page[-1].version])
    body = {"items": [_row(each) for each in page], "next_cursor": following}
    return state(request, body)


@router.post(
    "",
    status_code=201,
    response_model=ModelRow,
    responses={
        200: {"model": ModelRow, "description": "This model had the file already."},
        **told(404, 409, changes=True),
    },
)
def register_version(service: Serving, person: Writer, asked: RegisterAsked) -> Response:
    """Make arrays of a run, or an uploaded file, the next version of a model.

    The same arrays are registered once: again, the version that has them is given.
    """
    del person
    before = registered_in(service.lab_dir).get(asked.name)
    version = register_model(
        service.lab_dir,
        _source(service, asked),
        asked.name,
        note=asked.note,
        tags=asked.tags,
    )
    was_there = before is not None and version.version in before.versions
    return _version(version, status=200 if was_there else 201)


def _source(service: Service, asked: RegisterAsked) -> Source:
    if asked.upload is not None:
        path, name = model_of_upload(service.lab, asked.upload)
        return source_of_file(service.lab_dir, path, name=name)
    return source_of_run(
        service.lab_dir,
        service.run(asked.run_id or "").run_id,
        artifact=asked.artifact,
        at_round=asked.at_round,
    )


@router.get("/{name}", response_model=WholeModel, responses=told(304, 404))
def show_model(request: Request, service: Serving, person: Reader, name: Named) -> Response:
    """Give a model with all its versions."""
    del person
    return state(request, _whole(find_model(registered_in(service.lab_dir), name)))


@router.post(
    "/{name}/roll-back",
    response_model=ModelRow,
    responses=told(404, 409, 412, changes=True),
)
def roll_back(request: Request, service: Serving, person: Writer, name: Named) -> Response:
    """Bring the version into production that was there before; again: the one before it.

    `If-Match` takes the tag of the whole model.
    """
    del person
    check = _fresh(request, _whole)
    return _version(roll_back_model(service.lab_dir, name, check=check))


@router.get("/{name}/versions/{version}", response_model=ModelRow, responses=told(304, 404))
def show_version(
    request: Request, service: Serving, person: Reader, name: Named, version: Which
) -> Response:
    """Give one version."""
    del person
    return state(request, _row(service.lab.models.version(name, version)))


@router.patch(
    "/{name}/versions/{version}",
    response_model=ModelRow,
    responses=told(404, 409, 412, changes=True),
)
def move_version(  # what it is about, and what is asked
    request: Request,
    service: Serving,
    person: Writer,
    name: Named,
    version: Number,
    *,
    asked: StageAsked,
) -> Response:
    """Move a version to a stage; the one that was in production is archived then."""
    del person
    check = _fresh(request, _row)
    return _version(promote_model(service.lab_dir, name, version, asked.stage, check=check))


@router.delete(
    "/{name}/versions/{version}",
    status_code=204,
    responses=told(404, 409, 412, changes=True),
)
def delete_version(
    request: Request, service: Serving, person: Writer, name: Named, version: Number
) -> Response:
    """Take a version that is not in production off the registry."""
    del person
    delete_model(service.lab_dir, name, version, check=_fresh(request, _row))
    return Response(status_code=204)


@router.get(
    "/{name}/versions/{version}/file",
    response_class=Response,
    responses={**BYTES_TOLD, **told(304, 404, 416)},
)
def show_version_file(
    request: Request, service: Serving, person: Reader, name: Named, version: Which
) -> Response:
    """Give a version's safetensors file, compared with its hash; ranges are understood.

    Its `ETag` is its SHA-256.
    """
    del person
    found = service.lab.models.version(name, version)
    return kept_response(
        request,
        Blobs(service.lab_dir),
        found.sha256,
        media_type=SAFETENSORS,
        filename=f"{found.name}-{found.version}.safetensors",
    )


def _version(version: ModelVersion, *, status: int = 200) -> Response:
    content = to_json(_row(version))
    headers = {"ETag": tag_of(content)}
    return Response(content, status, headers=headers, media_type=JSON)
