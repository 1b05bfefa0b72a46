"""Which runs of the list somebody asks for."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from flip_lab.api.live.rows import RunRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What runs are chosen by; ``None`` and ``()`` leave none out.

    Attributes:
        states: States, any of which will do.
        experiment: Their experiment.
        sweep: Their sweep.
        tags: Tags that they all must have.
        words: Words that must be in one of their names, tags or notes, each of them;
            upper and lower case are one.
        archived: Whether archived runs are chosen, too.
    """

    states: tuple[str, ...] = ()
    experiment: str | None = None
    sweep: str | None = None
    tags: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    archived: bool = False

    @property
    def question(self) -> list[object]:
        """Give it as what a cursor is bound to."""
        return ["runs", *astuple(self)]

    def fits(self, row: RunRow) -> bool:
        """Say whether a run is one of them."""
        return (
            (self.archived or not row["is_archived"])
            and (not self.states or row["state"] in self.states)
            and (self.experiment is None or row["experiment"] == self.experiment)
            and (self.sweep is None or row["sweep"] == self.sweep)
            and (not self.tags or {*self.tags} <= {*row["tags"]})
            and (not self.words or self._has_words(row))
        )

    def _has_words(self, row: RunRow) -> bool:
        names = [row["run_id"], row["name"], row["experiment"], row["sweep"] or ""]
        text = "\n".join([*names, row["note"], *row["tags"]]).casefold()
        return all(word.casefold() in text for word in self.words)


def place_in_list(row: RunRow) -> tuple[str, str]:
    """Give what the list is ordered by, newest first."""
    return row["created_at"] or "", row["run_id"]
