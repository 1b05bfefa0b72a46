"""Which group each chosen run belongs to, and what must be said about the groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flip_lab.analysis.grouping import Value, group_runs, values_under
from flip_lab.boards.comparer.catalogue import Catalogue
from flip_lab.boards.comparer.choice import Choice
from flip_lab.boards.comparer.payload import GroupShown, counted, value_text

MOST_GROUPS = 24
"""Groups that are drawn; more colours, dashes and names nobody can tell apart."""

NOT_SET = "not set"


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """The groups of one choice.

    Attributes:
        labels: What each is called, in order; no two alike.
        of_run: Index of each run's group.
    """

    labels: tuple[str, ...]
    of_run: Mapping[str, int]

    def shown(self, run_ids: Sequence[str]) -> list[GroupShown]:
        """Give the groups that are drawn.

        Args:
            run_ids: All runs of the catalogue, in its order.
        """
        shown = [GroupShown(label=label, runs=[]) for label in self.labels[:MOST_GROUPS]]
        for at, run_id in enumerate(run_ids):
            if self.of_run.get(run_id, MOST_GROUPS) < MOST_GROUPS:
                shown[self.of_run[run_id]]["runs"].append(at)
        return shown


def groups_of(catalogue: Catalogue, run_ids: Sequence[str], choice: Choice) -> Groups:
    """Group runs by their values under the chosen keys.

    Single runs without a key to group them by are groups of their own while their number
    lets them be told apart.

    Args:
        catalogue: What is known of the runs.
        run_ids: The chosen ones.
        choice: The keys, and whether single runs are drawn.

    Raises:
        AnalysisError: If no run has one of the keys.
    """
    chosen = catalogue.runs[catalogue.runs["run_id"].isin(list(run_ids))]
    if choice.draw == "lines" and not choice.by and len(run_ids) <= MOST_GROUPS:
        names = zip(chosen["run_id"].tolist(), chosen["name"].tolist(), strict=True)
        called = {run_id: f"{name} {run_id.rpartition('-')[2]}" for run_id, name in names}
        return _merged(called, [called[run_id] for run_id in run_ids])
    found = group_runs(chosen, catalogue.parameters, by=choice.by)
    texts = {label: _text(values) for label, values in found.groups.items()}
    of_run = {run_id: texts[label] for run_id, label in found.of_run.items()}
    return _merged(of_run, [*texts.values()])


def _merged(of_run: Mapping[str, str], labels: Sequence[str]) -> Groups:
    """Make one group of all that read alike, groups in the order of their labels."""
    order = list(dict.fromkeys(labels))
    place = {label: at for at, label in enumerate(order)}
    return Groups(
        labels=tuple(order), of_run={run_id: place[text] for run_id, text in of_run.items()}
    )


def _text(values: tuple[Value, ...]) -> str:
    parts = [
        NOT_SET if value in {None, ""} else value_text(value, at_most=40)
        for value in values
    ]
    return " · ".join(parts) or "all runs"


def group_notes(catalogue: Catalogue, groups: Groups, choice: Choice) -> list[str]:
    """Say what a reader must know about the groups."""
    notes: list[str] = []
    beyond = len(groups.labels) - MOST_GROUPS
    if beyond > 0:
        notes.append(
            f"The first {MOST_GROUPS} groups are drawn, {beyond:,} more are not: choose a "
            "key with fewer values, or fewer runs."
        )
    if choice.draw == "lines":
        return notes
    sizes = Counter(groups.of_run.values())
    single = [label for at, label in enumerate(groups.labels) if sizes[at] == 1]
    if single:
        named = ", ".join(single[:3]) + (" and others" if len(single) > 3 else "")  # noqa: PLR2004  # names
        notes.append(f"One run only, so no band: {named}.")
    if again := _repeated_seeds(catalogue, groups):
        notes.append(
            f"{counted(again, 'run')} with the seed of another one of the group; bands "
            "take all runs as independent."
        )
    return notes


def _repeated_seeds(catalogue: Catalogue, groups: Groups) -> int:
    seeds = values_under("seed", catalogue.runs, catalogue.parameters)
    pairs = Counter(
        (group, seeds[run_id])
        for run_id, group in groups.of_run.items()
        if seeds[run_id] is not None
    )
    return sum(count - 1 for count in pairs.values())
