"""Models, and what changes them."""

from __future__ import annotations

from pydantic import BaseModel, Field, model_validator

from flip_lab.api.schemas.base import Asked
from flip_lab.api.schemas.launches import Name, Note
from flip_lab.api.schemas.tables import row_schema
from flip_lab.store.registered import Stage

ModelRow = row_schema("models", "ModelRow")


class WholeModel(BaseModel):
    """A model with all its versions.

    Attributes:
        name: The model.
        production: The version that is in production; null if none is.
        before: The version that a roll back brings back; null if there is none.
        versions: All of them, by number.
    """

    name: str
    production: int | None
    before: int | None
    versions: list[ModelRow]  # pyright: ignore[reportInvalidTypeForm]  # made from the table


class RegisterAsked(Asked):
    """A version to register. Exactly one of `run_id` and `upload` says where it is.

    Attributes:
        name: The model: letters, digits, spaces and `. _ + -`.
        run_id: A run that keeps arrays.
        upload: The id of an uploaded safetensors file.
        artifact: What the run calls the file.
        at_round: Take the model of this round's checkpoint instead.
        note: A note on the version.
        tags: Its tags.
    """

    name: Name
    run_id: Name | None = None
    upload: Name | None = None
    artifact: Name = "model"
    at_round: int | None = Field(default=None, ge=0, le=2**31 - 1)
    note: Note = ""
    tags: list[Name] = Field(default=[], max_length=100)

    @model_validator(mode="after")
    def _one_source(self) -> RegisterAsked:
        if (self.run_id is None) == (self.upload is None):
            raise ValueError("give exactly one of run_id and upload")
        if self.upload is not None and self.at_round is not None:
            raise ValueError("at_round is of a run")
        return self


class StageAsked(Asked):
    """Where a version shall stand.

    Attributes:
        stage: The stage.
    """

    stage: Stage
