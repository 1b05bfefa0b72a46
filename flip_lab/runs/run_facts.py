"""What is known of one run: its spec, its events, its tables, its files."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from flip_lab.core.errors import NoResultError
from flip_lab.core.events import RunEvent
from flip_lab.runs.checkpoint_files import CheckpointFolder
from flip_lab.runs.checkpoints import Checkpoint
from flip_lab.runs.spec import RunSpec
from flip_lab.store.events import EventTail
from flip_lab.store.layout import LabDir
from flip_lab.store.query import sql, table

if TYPE_CHECKING:
    import pandas as pd

    from flip_lab.core.scenario import Scenario
    from flip_lab.runs.artifacts import Arrays

Frame = Literal["pandas", "arrow"]
_BLOCK_BYTES = 2**16


def _last_lines(file: Path, count: int) -> list[str]:
    """Read the end of a text file, block by block until it holds so many lines."""
    found, begin = b"", file.stat().st_size
    with file.open("rb") as opened:
        while begin and found.count(b"\n") <= count:
            end, begin = begin, max(0, begin - _BLOCK_BYTES)
            opened.seek(begin)
            found = opened.read(end - begin) + found
    lines = found.decode(errors="replace").splitlines()
    return lines[-count:] if count else []


class RunFacts:
    """Reads one run of a lab; any number of handles may look at it at once.

    Args:
        lab: The lab that keeps the run.
        run_id: The run's id.

    Raises:
        RunNotFoundError: If the lab keeps no such run.
    """

    def __init__(self, lab: LabDir, run_id: str) -> None:
        """Read the run's spec; events are read when asked for."""
        self._lab = lab
        self._dir = lab.run_dir(run_id)
        self._spec = RunSpec.load(self._dir)
        self._reader: EventTail | None = None
        self._reading = Lock()

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._spec.run_id

    @property
    def name(self) -> str:
        """The scenario's or the app's name."""
        return self._spec.name

    @property
    def spec(self) -> RunSpec:
        """The run as it was asked for."""
        return self._spec

    @property
    def lab_path(self) -> Path:
        """The directory of the lab that keeps the run: ``Lab(run.lab_path)`` opens it."""
        return self._lab.root

    @property
    def working_dir(self) -> Path:
        """Where the app ran: relative paths that it wrote to are below."""
        return Path(self._spec.working_dir)

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The rounds that the run can be taken up or forked from, oldest first."""
        folder = CheckpointFolder(self._dir)
        return [manifest.checkpoint() for manifest in folder.manifests()]

    def events(self, *, after: int = -1) -> list[RunEvent]:
        """Give the events whose sequence is above ``after``, in order, without a gap.

        Asked for what follows its last answer, it reads only what is new.
        """
        with self._reading:
            reader, self._reader = self._reader, None  # one that fails is not asked again
            if reader is None or reader.reached != after:
                reader = EventTail(self._lab, self.run_id, after=after)
            found = reader.poll()
            self._reader = reader
            return found

    def logs(self, *, tail: int | None = None) -> str:
        """Give what the run's processes printed.

        Args:
            tail: Only that many last lines, 0 or more; ``None`` gives all.
        """
        file = self._dir / "output.log"
        if not file.exists():
            return ""
        if tail is None:
            return file.read_text(encoding="utf-8", errors="replace")
        return "\n".join(_last_lines(file, tail))

    def metrics(self, *, as_: Frame = "pandas") -> Any:  # noqa: ANN401  # pandas or Arrow
        """Give the table ``metrics`` of this run: one row a round and aggregated metric."""
        return table(self._lab, "metrics", run_ids=[self.run_id], as_=as_)

    def clients(self, *, as_: Frame = "pandas") -> Any:  # noqa: ANN401  # pandas or Arrow
        """Give the table ``clients`` of this run: one row a round, phase and node."""
        return table(self._lab, "clients", run_ids=[self.run_id], as_=as_)

    def client_metrics(self, *, as_: Frame = "pandas") -> Any:  # noqa: ANN401  # either
        """Give the table ``client_metrics``: one row a round, node and reported number."""
        return table(self._lab, "client_metrics", run_ids=[self.run_id], as_=as_)

    def commands(self, *, as_: Frame = "pandas") -> Any:  # noqa: ANN401  # pandas or Arrow
        """Give the table ``commands`` of this run: one row for each thing it was asked."""
        return table(self._lab, "commands", run_ids=[self.run_id], as_=as_)

    def settings_by_round(self) -> pd.DataFrame:
        """Give the settings in force, a row for each round from which they changed.

        Returns:
            A column for each setting, such as ``train.learning_rate`` or
            ``run.excluded``; numbers where all of a column are, otherwise text. The index
            is ``from_round``.
        """
        from flip_lab.runs.settings import settings_frame  # loads pandas

        return settings_frame(table(self._lab, "settings", run_ids=[self.run_id]))

    def logged(self, name: str | None = None, *, as_: Frame = "pandas") -> Any:  # noqa: ANN401  # either
        """Give the table ``logged``: histograms, images, matrices from ``flip_lab.log``.

        Numbers are in ``metrics`` and ``client_metrics``. An image's PNG is
        ``run.artifact(sha256)``, with the hash that stands here.

        Args:
            name: Only what was logged under this name; ``None`` gives all.
            as_: ``"pandas"`` or ``"arrow"``.
        """
        return sql(
            self._lab,
            "SELECT * FROM logged WHERE run_id = $run_id AND name = coalesce($name, name) "
            "ORDER BY sequence",
            {"run_id": self.run_id, "name": name},
            as_=as_,
        )

    def artifacts(self, *, as_: Frame = "pandas") -> Any:  # noqa: ANN401  # either
        """Give the table ``artifacts`` of this run: one row for each file that it keeps."""
        from flip_lab.runs.artifacts import list_artifacts

        return list_artifacts(self._lab, self.run_id, as_=as_)

    def artifact(self, name: str) -> bytes:
        """Give the content of a kept file.

        Args:
            name: What the run calls it; of several of one name, the newest. Or the
                ``sha256`` of a logged image.

        Raises:
            NoResultError: If the run keeps no file of this name; the names are listed.
            CorruptArtifactError: If it is gone, or no longer matches its hash.
        """
        from flip_lab.runs.artifacts import artifact_bytes

        return artifact_bytes(self._lab, self.run_id, name)

    def artifact_path(self, name: str) -> Path:
        """Say where a kept file lies; nobody may write to it. Errors as ``artifact``."""
        from flip_lab.runs.artifacts import artifact_path

        return artifact_path(self._lab, self.run_id, name)

    def arrays(self, name: str = "model") -> Arrays:
        """Give the arrays of a kept file by name; ``model`` is the final model.

        Raises:
            NoResultError: If the run keeps no file of this name, or it holds no arrays.
            CorruptArtifactError: If it is gone, or no longer matches its hash.
        """
        from flip_lab.runs.artifacts import artifact_arrays

        return artifact_arrays(self._lab, self.run_id, name)

    @cached_property
    def scenario(self) -> Scenario:
        """The scenario as it was run, overrides included.

        Raises:
            NoResultError: If the run was launched from an app, not a scenario.
        """
        from flip_lab.fl.scenarios import scenario_from_dict

        if self._spec.scenario is None:
            raise NoResultError(
                f"Run {self.run_id} was launched from the app {self.name!r}.",
                fix="Only runs of a scenario have one; see run.spec.run_config.",
            )
        return scenario_from_dict(self._spec.scenario)
