"""What a remote run recorded: its tables, and the files that it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flip_lab.client.files import arrays_in, download, read_file
from flip_lab.client.frames import Form, ask_frame
from flip_lab.client.run_reading import RunReading

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from flip_lab.client.files import Arrays

_LOGGED = (
    "SELECT * FROM logged WHERE run_id = $run_id AND name = coalesce($name, name) "
    "ORDER BY sequence"
)


class RunTables(RunReading):
    """Gives the tables and the files of one run, with the values that a local one has."""

    def metrics(self, *, as_: Form = "pandas") -> Any:  # noqa: ANN401  # as Form says
        """Give the table ``metrics`` of this run: one row a round and aggregated metric."""
        return self._table("metrics", as_)

    def rounds(self, *, as_: Form = "pandas") -> Any:  # noqa: ANN401  # as Form says
        """Give the table ``rounds`` of this run: one row for each round that began."""
        return self._table("rounds", as_)

    def clients(self, *, as_: Form = "pandas") -> Any:  # noqa: ANN401  # as Form says
        """Give the table ``clients`` of this run: one row a round, phase and node."""
        return self._table("clients", as_)

    def client_metrics(self, *, as_: Form = "pandas") -> Any:  # noqa: ANN401  # as Form says
        """Give the table ``client_metrics``: one row a round, node and reported number."""
        return self._table("client_metrics", as_)

    def commands(self, *, as_: Form = "pandas") -> Any:  # noqa: ANN401  # as Form says
        """Give the table ``commands`` of this run: one row for each thing it was asked."""
        return self._table("commands", as_)

    def settings_by_round(self) -> pd.DataFrame:
        """Give the settings in force, a row for each round from which they changed.

        Returns:
            As ``Run.settings_by_round``.

        Raises:
            MissingExtraError: If pandas is not installed.
        """
        rows = self._table("settings", "pandas")
        from flip_lab.runs.settings import settings_frame  # loads pandas, which is here

        return settings_frame(rows)

    def artifacts(self, *, as_: Form = "pandas") -> Any:  # noqa: ANN401  # as Form says
        """Give the table ``artifacts`` of this run: one row for each file that it keeps."""
        return self._table("artifacts", as_)

    def logged(self, name: str | None = None, *, as_: Form = "pandas") -> Any:  # noqa: ANN401  # as Form says
        """Give the table ``logged``: histograms, images, matrices from ``flip_lab.log``.

        Args:
            name: Only what was logged under this name; ``None`` gives all.
            as_: ``"pandas"``, ``"arrow"`` or ``"rows"``.
        """
        values = {"run_id": self.run_id, "name": name}
        question = {"of": "sql", "statement": _LOGGED, "parameters": values}
        return ask_frame(self._wire, question, as_)

    def _table(self, name: str, as_: Form) -> Any:  # noqa: ANN401  # as Form says
        question = {"of": "table", "name": name, "runs": [self.run_id]}
        return ask_frame(self._wire, question, as_)

    def artifact(self, name: str) -> bytes:
        """Give the content of a kept file, once it was compared with its hash.

        Args:
            name: What the run calls it, or the ``sha256`` of a logged image.

        Raises:
            NoResultError: If the run keeps no file of this name; the names are listed.
            CorruptArtifactError: If what came does not match its hash.
        """
        return read_file(self._wire, self._file(name))

    def arrays(self, name: str = "model") -> Arrays:
        """Give the arrays of a kept file by name; ``model`` is the final model.

        Raises:
            NoResultError: If the run keeps no file of this name, or it holds no arrays.
            CorruptArtifactError: If what came does not match its hash.
            MissingExtraError: If safetensors is not installed.
        """
        return arrays_in(self.artifact(name), what=f"{name!r} of run {self.run_id}")

    def download(self, name: str, path: str | Path) -> Path:
        """Bring a kept file here; it appears whole or not at all.

        What breaks off goes on where it stopped.

        Args:
            name: As for ``artifact``.
            path: The file, or a directory that is there; an old file is replaced.

        Returns:
            The file's absolute path.

        Raises:
            NoResultError: If the run keeps no file of this name; the names are listed.
            CorruptArtifactError: If what came does not match its hash.
            StoreNotWritableError: If the file cannot be written.
            LabUnreachableError: If the lab is away for longer than a request may take.
        """
        return download(self._wire, self._file(name), path, name=name)

    def _file(self, name: str) -> str:
        return f"{self._place}/artifacts/{quote(name, safe='')}"
