"""How two runs differ: settings, edits, code; the first thing to ask of two results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from flip_lab.core.kinship import Trunk, common_trunk
from flip_lab.runs.edits import edit_text, edits_of
from flip_lab.runs.family import read_links
from flip_lab.runs.spec import RunSpec
from flip_lab.store import query
from flip_lab.store.blobs import Blobs
from flip_lab.store.layout import LabDir

if TYPE_CHECKING:
    import pandas as pd

    from flip_lab.analysis.differences import CodeDiff

_TEXTS = frozenset({".py", ".toml", ".md", ".yaml", ".yml", ".json"})
_KEPT = {
    "git_patch_sha256": "lineage/uncommitted.patch",
    "env_sha256": "lineage/packages.txt",
}

_METRICS = """
    WITH ours AS (
        SELECT name, phase, scope, server_round, arg_max(value, sequence) AS value, run_id
        FROM metrics WHERE run_id IN ($first, $second) AND server_round > $shared
        GROUP BY ALL
    )
    SELECT name, phase, scope, server_round,
        any_value(value) FILTER (run_id = $first) AS first,
        any_value(value) FILTER (run_id = $second) AS second, second - first AS difference
    FROM ours GROUP BY name, phase, scope, server_round
    ORDER BY name, phase, scope, server_round
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class RunDiff:
    """How one run became another.

    Attributes:
        first: The id of the first run.
        second: The id of the second.
        configuration: The settings that differ: a row a setting, a column a run; a missing
            one is not set there.
        code: How the files behind them differ: the app's code, or the scenario as TOML;
            ``lineage/packages.txt`` with the packages that were installed; and
            ``lineage/uncommitted.patch`` with what differed from the commit.
        trunk: The rounds that both share, where one is a fork of the other or both are of
            a third; ``None`` if there are none.
        edits: What users changed in one of them only: ``run_id``, ``from_round``,
            ``command``, ``edit`` in words, ``author``.
        metrics: Their metrics after the rounds that they share: ``name``, ``phase``,
            ``scope``, ``server_round``, ``first``, ``second``, ``difference``.
    """

    first: str
    second: str
    configuration: pd.DataFrame
    code: CodeDiff
    trunk: Trunk | None
    edits: pd.DataFrame
    metrics: pd.DataFrame

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs that anybody chose; metrics are no choice."""
        return self.configuration.empty and not self.code.text and self.edits.empty

    @property
    def relation(self) -> str:
        """What the two have to do with each other; empty for runs without a common round.

        Such as ``b is a fork of a: rounds 1 to 5 are the same``.
        """
        if self.trunk is None:
            return ""
        shared = f"rounds 1 to {self.trunk.last_round} are the same"
        pairs = ((self.first, self.second), (self.second, self.first))
        for parent, fork in pairs:
            if parent == self.trunk.run_id:
                return f"{fork} is a fork of {parent}: {shared}"
        return f"both are forks of {self.trunk.run_id}: {shared}"

    def __repr__(self) -> str:
        files = len(self.code.added) + len(self.code.removed) + len(self.code.changed)
        edits = f", {len(self.edits)} edits" if len(self.edits) else ""
        shared = f"; {self.relation}" if self.trunk else ""
        return (
            f"<RunDiff {self.first} to {self.second}: "
            f"{len(self.configuration)} settings{edits}, {files} files{shared}>"
        )


def diff_runs(lab: LabDir, first: str, second: str) -> RunDiff:
    """Say how two runs differ.

    Args:
        lab: The lab that keeps both.
        first: The id of one.
        second: The id of the other.

    Raises:
        CorruptArtifactError: If a kept file is gone, or no longer matches its hash.
    """
    from flip_lab.analysis.differences import code_diff, configuration_diff  # loads pandas

    run_ids = [first, second]
    settings = query.table(lab, "parameters", run_ids=run_ids)
    trunk = common_trunk(read_links(lab), first, second)
    return RunDiff(
        first=first,
        second=second,
        configuration=configuration_diff(settings, run_ids),
        code=code_diff(*(code_of(lab, run_id) for run_id in run_ids)),
        trunk=trunk,
        edits=_edit_diff(lab, first, second),
        metrics=query.sql(
            lab,
            _METRICS,
            {"first": first, "second": second, "shared": trunk.last_round if trunk else -1},
        ),
    )


def _edit_diff(lab: LabDir, first: str, second: str) -> pd.DataFrame:
    """List the edits of one run that the other lacks; a fork keeps its parent's."""
    import pandas as pd

    ours, theirs = (
        {edit.id: edit for edit in edits_of(lab, RunSpec.load(lab.run_dir(run_id)))}
        for run_id in (first, second)
    )
    rows = [
        (
            run_id,
            edit.from_round,
            edit.command,
            edit_text(edit.command, edit.body()),
            edit.author,
        )
        for run_id, own, other in ((first, ours, theirs), (second, theirs, ours))
        for edit in own.values()
        if other.get(edit.id) != edit
    ]
    columns = ["run_id", "from_round", "command", "edit", "author"]
    return pd.DataFrame(rows, columns=columns)


def code_of(lab: LabDir, run_id: str) -> dict[str, str]:
    """Give the texts behind a run, by path.

    An app from notebook cells was pickled and has no text; its hash stands for it.

    Args:
        lab: The lab that keeps the run.
        run_id: The run.

    Raises:
        RunNotFoundError: If the run's ``run.json`` is missing or damaged.
        CorruptArtifactError: If a kept file is gone, or no longer matches its hash.
    """
    run_dir = lab.run_dir(run_id)
    spec = RunSpec.load(run_dir)
    found = {} if spec.scenario is None else {"scenario.toml": _toml(spec.scenario)}
    if spec.kind == "app":
        found |= _sources(run_dir / "app")
    elif spec.kind == "notebook":
        found["app"] = f"pickled; sha256 {spec.lineage.get('app_sha256')}\n"
    for key, path in _KEPT.items():
        if sha256 := spec.lineage.get(key):
            found[path] = Blobs(lab).get(str(sha256)).decode(errors="replace")
    return found


def _toml(scenario: dict[str, Any]) -> str:
    return tomli_w.dumps(_told(scenario), multiline_strings=True)


def _told(value: Any) -> Any:  # noqa: ANN401  # JSON in, TOML out: it has no null
    if isinstance(value, dict):
        return {key: _told(each) for key, each in _items(value) if each is not None}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_told(each) for each in _list(value)]
    return value


def _items(value: Any) -> list[tuple[str, Any]]:  # noqa: ANN401  # as above
    return list(value.items())


def _list(value: Any) -> list[Any]:  # noqa: ANN401  # as above
    return list(value)


def _sources(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.suffix in _TEXTS and path.is_file())
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8", errors="replace")
        for path in sorted(files)
        if "__pycache__" not in path.parts
    }
