"""``lab.models`` of a remote lab: named models, their versions, which is in production."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import quote

from flip_lab.client.answers import Page
from flip_lab.client.answers_lab import ModelVersion, WholeModel
from flip_lab.client.files import arrays_in, download, read_file
from flip_lab.client.frames import Form, ask_frame
from flip_lab.client.uploads import send_path
from flip_lab.client.wire import Wire
from flip_lab.core.errors import ModelNotFoundError

if TYPE_CHECKING:
    from flip_lab.client.files import Arrays
    from flip_lab.client.remote_run import RemoteRun

Stage: TypeAlias = Literal["none", "staging", "production", "archived"]
Which: TypeAlias = "int | Stage | Literal['latest']"
"""A version's number; a stage, for what came into it last; or the highest number."""

_VERSIONS = (
    "SELECT * FROM models WHERE name = coalesce($name, name) "
    "AND stage = coalesce($stage, stage) ORDER BY name, version"
)


class RemoteModels:
    """The model registry of a remote lab, with the verbs of ``lab.models``.

    ``lab.models()`` lists all versions; ``lab.models["digits"]`` is one model;
    ``"digits" in lab.models`` and ``for name in lab.models`` do what one expects.

    Args:
        wire: Whom to ask.
    """

    def __init__(self, wire: Wire) -> None:
        """Ask nothing yet."""
        self._wire = wire

    def register(  # one parameter for each thing to settle
        self,
        run: RemoteRun | str,
        name: str,
        *,
        artifact: str = "model",
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
        """
        return self._register(
            name=name,
            run_id=getattr(run, "run_id", run),
            artifact=artifact,
            at_round=at_round,
            note=note,
            tags=list(tags),
        )

    def register_file(
        self, path: str | Path, name: str, *, note: str = "", tags: Iterable[str] = ()
    ) -> ModelVersion:
        """Make a safetensors file from here the next version of a model.

        Args:
            path: The file; it is uploaded.
            name: The model.
            note: A note on the version.
            tags: Its tags.

        Raises:
            UploadTypeError: If it is no safetensors file.
            InvalidValueError: If the name, a tag or the note will not do.
            StoreError: If it cannot be read.
        """
        upload = send_path(self._wire, Path(path).expanduser(), kind="model")
        return self._register(name=name, upload=upload, note=note, tags=list(tags))

    def __call__(
        self, name: str | None = None, *, stage: Stage | None = None, as_: Form = "pandas"
    ) -> Any:  # noqa: ANN401  # as Form says
        """Give the table ``models``: one row a version, by name and number.

        Args:
            name: Only versions of this model.
            stage: Only versions of this stage.
            as_: ``"pandas"``, ``"arrow"`` or ``"rows"``.
        """
        values = {"name": name, "stage": stage}
        question = {"of": "sql", "statement": _VERSIONS, "parameters": values}
        return ask_frame(self._wire, question, as_)

    list = __call__

    def __getitem__(self, name: str) -> WholeModel:
        """Give a model with all its versions.

        Raises:
            ModelNotFoundError: If there is none of this name.
        """
        return self._wire.get(_place(name), WholeModel)

    def __contains__(self, name: object) -> bool:
        try:
            return bool(self[str(name)])
        except ModelNotFoundError:
            return False

    def __iter__(self) -> Iterator[str]:
        versions = self._wire.pages("/models", Page[ModelVersion])
        return iter(dict.fromkeys(version.name for version in versions))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def version(self, name: str, version: Which = "production") -> ModelVersion:
        """Give one version.

        Args:
            name: The model.
            version: Its number, a stage, or ``"latest"``.

        Raises:
            ModelNotFoundError: If there is none.
        """
        return self._wire.get(_place(name, version), ModelVersion)

    def promote(self, name: str, version: int, stage: Stage) -> ModelVersion:
        """Move a version to a stage; the one that was in production is archived then.

        Args:
            name: The model.
            version: Its number.
            stage: ``"none"``, ``"staging"``, ``"production"`` or ``"archived"``.

        Returns:
            The version as it is then.

        Raises:
            ModelNotFoundError: If there is no such version.
            ModelStageError: If it cannot be moved there.
        """
        asked = {"stage": stage}
        return self._wire.send("PATCH", _place(name, version), ModelVersion, asked)

    def roll_back(self, name: str) -> ModelVersion:
        """Bring back the version that was in production before; again: the one before it.

        Raises:
            ModelNotFoundError: If there is no such model.
            ModelStageError: If no other version was in production.
        """
        return self._wire.send("POST", f"{_place(name)}/roll-back", ModelVersion)

    def delete(self, name: str, version: int) -> None:
        """Take a version off the registry; its number is not given again.

        Raises:
            ModelNotFoundError: If there is no such version.
            ModelStageError: If it is in production.
        """
        self._wire.ask("DELETE", _place(name, version))

    def download(self, name: str, path: str | Path, version: Which = "production") -> Path:
        """Bring a version's safetensors file here; it appears whole or not at all.

        Args:
            name: The model.
            path: The file, or a directory that is there; an old file is replaced.
            version: Its number, a stage, or ``"latest"``.

        Returns:
            The file's absolute path.

        Raises:
            ModelNotFoundError: If there is no such version.
            CorruptArtifactError: If what came does not match its hash.
            StoreNotWritableError: If the file cannot be written.
        """
        found = self.version(name, version)
        called = f"{name}-{found.version}.safetensors"
        return download(self._wire, _file(name, found.version), path, name=called)

    def arrays(self, name: str, version: Which = "production") -> Arrays:
        """Give a version's arrays by name; arguments and errors as of ``download``."""
        content = read_file(self._wire, _file(name, version))
        return arrays_in(content, what=f"{name} {version}")

    def __repr__(self) -> str:
        return (
            f"<RemoteModels of {self._wire.line.address.url}: {', '.join(self) or 'none'}>"
        )

    def _register(self, **asked: object) -> ModelVersion:
        return self._wire.send("POST", "/models", ModelVersion, asked, is_safe=True)


def _place(name: str, version: Which | None = None) -> str:
    place = f"/models/{quote(name, safe='')}"
    return place if version is None else f"{place}/versions/{quote(str(version), safe='')}"


def _file(name: str, version: Which) -> str:
    return f"{_place(name, version)}/file"
