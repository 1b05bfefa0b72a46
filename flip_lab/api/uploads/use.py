"""What an upload is good for, once it is whole and checked."""

from __future__ import annotations

from pathlib import Path

from flip_lab.api.uploads.archives import app_root
from flip_lab.api.uploads.kept import Uploads
from flip_lab.api.uploads.record import Upload
from flip_lab.core.errors import UploadError
from flip_lab.core.scenario import Scenario
from flip_lab.fl.scenarios import scenario_from_toml
from flip_lab.runs.lab import Lab
from flip_lab.store.layout import LabDir


def app_of_upload(lab: Lab, upload_id: str) -> Path | Scenario:
    """Give what ``Lab.launch`` takes of an uploaded Flower App or scenario.

    Args:
        lab: The lab that it was uploaded to.
        upload_id: The upload.

    Returns:
        The directory of the unpacked Flower App, or the scenario. A launch copies what it
        needs: the upload may go afterwards.

    Raises:
        NoSuchPlaceError: If there is no such upload, or it was swept.
        UploadError: If it is not whole yet, or holds neither.
    """
    upload = whole(Uploads(LabDir(lab.path)), upload_id)
    if upload.kind == "app":
        return app_root(upload.app)
    if upload.kind == "scenario":
        text = upload.data.read_text(encoding="utf-8")
        return scenario_from_toml(text, where=upload.name)
    raise UploadError(
        f"{upload.name} is of the kind {upload.kind!r}: it cannot be launched.",
        fix="Upload a zipped Flower App or a scenario's TOML file.",
    )


def model_of_upload(lab: Lab, upload_id: str) -> tuple[Path, str]:
    """Give the file of an uploaded model, and what its sender calls it.

    Raises:
        NoSuchPlaceError: If there is no such upload, or it was swept.
        UploadError: If it is not whole yet, or no model.
    """
    upload = whole(Uploads(LabDir(lab.path)), upload_id)
    if upload.kind != "model":
        raise UploadError(
            f"{upload.name} is of the kind {upload.kind!r}: no model can be registered "
            "from it.",
            fix="Upload a safetensors file.",
        )
    return upload.data, upload.name


def whole(uploads: Uploads, upload_id: str) -> Upload:
    """Give an upload that has arrived and is what it says.

    Raises:
        NoSuchPlaceError: If there is no such upload, or it was swept.
        UploadError: If something of it is missing.
    """
    upload = uploads.checked(upload_id)
    if not upload.is_whole:
        raise UploadError(
            f"Of {upload.name} {upload.offset:,} of {upload.size_bytes:,} bytes arrived.",
            fix=f"Send the rest: PATCH /uploads/{upload_id}.",
        )
    return upload
