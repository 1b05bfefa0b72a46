"""``lab.models``: named models, their versions, and which of them is in production."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flip_lab.core.errors import ModelError
from flip_lab.runs.deliver_models import DeliveredModels, Which
from flip_lab.runs.finding import selected
from flip_lab.runs.registry_actions import (
    delete_model,
    find_model,
    promote_model,
    register_model,
    roll_back_model,
)
from flip_lab.runs.registry_sources import MODEL, source_of_file, source_of_run
from flip_lab.store import query
from flip_lab.store.blobs import Blobs
from flip_lab.store.registered import (
    ModelVersion,
    RegisteredModel,
    Stage,
    registered_in,
)

if TYPE_CHECKING:
    from flip_lab.runs.artifacts import Arrays
    from flip_lab.runs.run import Run


class Models(DeliveredModels):
    """The model registry of a lab.

    A version is a file of arrays that never changes, known by its hash, with all that was
    known of it: it outlives its run, and travels with backups. What is done here is on
    record in ``audit``, with its author.

    ``lab.models()`` lists all versions; ``lab.models["digits"]`` is one model;
    ``"digits" in lab.models`` and ``for name in lab.models`` do what one expects.

    Methods that change the registry raise ``StoreNotWritableError`` if the lab cannot be
    written; then nothing was done.

    Args:
        lab: The lab's directory.
    """

    def register(
        self,
        run: Run | str,
        name: str,
        *,
        artifact: str = MODEL,
        at_round: int | None = None,
        note: str = "",
        tags: Iterable[str] = (),
    ) -> ModelVersion:
        """Make arrays of a run the next version of a model.

        The same arrays are registered once: again, the version that has them is given.

        Args:
            run: The run, or its id.
            name: The model: letters, digits, spaces and ``. _ + -``.
            artifact: What the run calls the file; ``"model"`` is the final model.
            at_round: Take the model of this round's checkpoint instead.
            note: A note on the version.
            tags: Its tags.

        Raises:
            RunNotFoundError: If there is no such run.
            ModelError: If the run keeps no such arrays.
            NoCheckpointError: If there is no good checkpoint of that round.
            InvalidValueError: If the name, a tag or the note will not do.
            CorruptArtifactError: If the file is gone, or no longer matches its hash.
        """
        run_id = selected(self._lab, run)[0]
        source = source_of_run(self._lab, run_id, artifact=artifact, at_round=at_round)
        return register_model(self._lab, source, name, note=note, tags=tags)

    def register_file(
        self, path: str | Path, name: str, *, note: str = "", tags: Iterable[str] = ()
    ) -> ModelVersion:
        """Make a safetensors file from elsewhere the next version of a model.

        Args:
            path: The file; it is copied.
            name: The model.
            note: A note on the version.
            tags: Its tags.

        Raises:
            ModelError: If it is no safetensors file.
            InvalidValueError: If the name, a tag or the note will not do.
            StoreError: If it cannot be read.
        """
        source = source_of_file(self._lab, Path(path).expanduser())
        return register_model(self._lab, source, name, note=note, tags=tags)

    def __call__(
        self,
        name: str | None = None,
        *,
        stage: Stage | None = None,
        as_: Literal["pandas", "arrow", "rows"] = "pandas",
    ) -> Any:  # noqa: ANN401  # pandas, Arrow or plain
        """Give the table ``models``: one row a version, by name and number.

        Args:
            name: Only versions of this model.
            stage: Only versions of this stage.
            as_: ``"pandas"``, ``"arrow"`` or ``"rows"``.
        """
        return query.sql(
            self._lab,
            "SELECT * FROM models WHERE name = coalesce($name, name) "
            "AND stage = coalesce($stage, stage) ORDER BY name, version",
            {"name": name, "stage": stage},
            as_=as_,
        )

    list = __call__

    def __getitem__(self, name: str) -> RegisteredModel:
        """Give a model with all its versions.

        Raises:
            ModelNotFoundError: If there is none of this name.
        """
        return find_model(registered_in(self._lab), name)

    def __contains__(self, name: object) -> bool:
        return name in registered_in(self._lab)

    def __iter__(self) -> Iterator[str]:
        return iter(registered_in(self._lab))

    def __len__(self) -> int:
        return len(registered_in(self._lab))

    def promote(self, name: str, version: int, stage: Stage) -> ModelVersion:
        """Move a version to a stage.

        One version at a time is in production. The one that was there is archived: staging
        is for what may go into production next. ``roll_back`` finds it again.

        Args:
            name: The model.
            version: Its number.
            stage: ``"none"``, ``"staging"``, ``"production"`` or ``"archived"``.

        Returns:
            The version as it is then.

        Raises:
            ModelNotFoundError: If there is no such version.
            ModelStageError: If there is no such stage.
            CorruptArtifactError: If it shall go into production and its file is damaged.
        """
        return promote_model(self._lab, name, version, stage)

    def roll_back(self, name: str) -> ModelVersion:
        """Bring back the version that was in production before; again: the one before it.

        Returns:
            The version that is in production then; the other one is archived.

        Raises:
            ModelNotFoundError: If there is no such model.
            ModelStageError: If no other version was in production.
            CorruptArtifactError: If that version's file is damaged.
        """
        return roll_back_model(self._lab, name)

    def delete(self, name: str, version: int) -> None:
        """Take a version off the registry; its number is not given again.

        Raises:
            ModelNotFoundError: If there is no such version.
            ModelStageError: If it is in production.
        """
        delete_model(self._lab, name, version)

    def path(self, name: str, version: Which = "production") -> Path:
        """Say where a version's file lies, once it was compared with its hash.

        Args:
            name: The model.
            version: Its number, a stage, or ``"latest"``.

        Returns:
            A safetensors file that nobody may write to.

        Raises:
            ModelNotFoundError: If there is no such version.
            CorruptArtifactError: If the file is gone, or no longer matches its hash.
        """
        return Blobs(self._lab).check(self.version(name, version).sha256)

    def arrays(self, name: str, version: Which = "production") -> Arrays:
        """Give a version's arrays by name; arguments and errors as of ``path``.

        Raises:
            ModelError: If NumPy has no such arrays: bfloat16 is for torch to read.
        """
        import safetensors.numpy

        path = self.path(name, version)
        try:
            return safetensors.numpy.load_file(path)  # pyright: ignore[reportUnknownMemberType]  # its os.PathLike lacks an argument
        except (TypeError, ValueError) as error:
            raise ModelError(
                f"{self.version(name, version)} holds arrays that NumPy cannot ({error}).",
                fix="Read the file with torch: safetensors.torch.load_file(path).",
            ) from error

    def __repr__(self) -> str:
        return f"<Models of {self._lab.root}: {', '.join(self) or 'none'}>"
