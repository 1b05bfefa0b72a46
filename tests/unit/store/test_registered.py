"""The model registry as a reading of the log: whatever was done, it makes sense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.store.audit import AuditRecord
from flip_lab.store.registered import (
    DELETE,
    PROMOTE,
    REGISTER,
    ROLL_BACK,
    STAGES,
    RegisteredModel,
    numbered,
    registered,
)

Deed = tuple[str, int, str]
NUMBERS = st.integers(1, 5)
DEEDS = st.lists(
    st.one_of(
        st.tuples(st.just(REGISTER), st.just(0), st.just("")),
        st.tuples(st.just(PROMOTE), NUMBERS, st.sampled_from(STAGES)),
        st.tuples(st.just(ROLL_BACK), st.just(0), st.just("")),
        st.tuples(st.just(DELETE), NUMBERS, st.just("")),
    ),
    max_size=30,
)


def record(sequence: int, action: str, body: dict[str, Any]) -> AuditRecord:
    """Make a line of the log."""
    return AuditRecord(
        sequence=sequence,
        time_s=1_700_000_000.0 + sequence,
        author="ada",
        action=action,
        run_id="run" if action == REGISTER else None,
        body={"model": "digits", **body},
        chain="",
    )


def birth(version: int) -> dict[str, Any]:
    """Give what is told of a new version."""
    return {
        "version": version,
        "sha256": sha256(str(version).encode()).hexdigest(),
        "size_bytes": 10 * version,
        "lineage": {"artifact": "model", "metrics": {}, "num_parameters": 1},
        "tags": ["b", "a"],
        "note": "n",
    }


class Books:
    """Do deeds as the registry's actions do, and keep books in the plainest way.

    Attributes:
        log: What is on record.
        stack: Versions that were in production, and were not rolled back.
        living: Versions that were not deleted.
    """

    def __init__(self, deeds: Sequence[Deed]) -> None:
        """Do all of them, one after the other."""
        self.log: list[AuditRecord] = []
        self.stack: list[int] = []
        self.living: set[int] = set()
        self.now: int | None = None
        self.last = 0
        for action, number, stage in deeds:
            do = getattr(self, action)
            body = do(number, stage)
            if body is not None:
                self.log.append(record(len(self.log), action, body))

    def register_model(self, _: int, __: str) -> dict[str, Any]:
        """Make the next version."""
        self.last += 1
        self.living.add(self.last)
        return birth(self.last)

    def promote_model(self, number: int, stage: str) -> dict[str, Any] | None:
        """Move a version, if it is there."""
        if number not in self.living:
            return None
        if stage == "production":
            self.now = number
            self.stack += [number] if self.stack[-1:] != [number] else []
        elif number == self.now:
            self.now = None
        return {"version": number, "stage": stage}

    def roll_back_model(self, _: int, __: str) -> dict[str, Any] | None:
        """Go back to the last one that is not in production now."""
        left = [n for n in self.stack if n in self.living and n != self.now]
        if not left:
            return None
        while self.stack[-1] != left[-1]:
            self.stack.pop()
        self.now = left[-1]
        return {"version": self.now}

    def delete_model(self, number: int, _: str) -> dict[str, Any] | None:
        """Take a version away, unless it is in production."""
        if number not in self.living or number == self.now:
            return None
        self.living.discard(number)
        return {"version": number}


@given(DEEDS)
def test_whatever_is_done_the_registry_keeps_its_promises(deeds: list[Deed]) -> None:
    """One production at most, numbers in order, and the way back is the way it came."""
    books = Books(deeds)
    model = numbered(books.log).get("digits")
    if model is None:
        assert not books.log
        return
    assert list(model.versions) == sorted(books.living)
    produced = [v for v in model.versions.values() if v.stage == "production"]
    assert [v.version for v in produced] == ([books.now] if books.now else [])
    assert list(model.produced) == books.stack
    assert model.production == (produced[0] if produced else None)
    assert registered(books.log).keys() == ({"digits"} if books.living else set())
    for version in model.versions.values():
        assert version.sha256 == birth(version.version)["sha256"]
        assert version.tags == ("a", "b")


@given(DEEDS, st.integers(0, 30))
def test_a_log_that_is_cut_tells_an_earlier_registry(deeds: list[Deed], cut: int) -> None:
    """What was acknowledged by then, and nothing by halves."""
    books, log = Books(deeds), Books(deeds).log[:cut]
    assert numbered(books.log[:cut]) == numbered(log)
    for name, model in numbered(log).items():
        after = numbered(books.log)[name]
        assert after.last >= model.last
        for number in model.versions.keys() & after.versions.keys():
            assert after.versions[number].sha256 == model.versions[number].sha256


def promoted(*stages: tuple[int, str]) -> RegisteredModel:
    """Register three versions and move them."""
    log = [record(n, REGISTER, birth(n + 1)) for n in range(3)]
    for version, stage in stages:
        log.append(record(len(log), PROMOTE, {"version": version, "stage": stage}))
    return registered(log)["digits"]


def test_who_leaves_production_is_archived() -> None:
    """Staging is for candidates; its author and time are those of whoever replaced it."""
    model = promoted((1, "production"), (2, "production"))
    assert [v.stage for v in model.versions.values()] == ["archived", "production", "none"]
    assert model.versions[1].staged_s == model.versions[2].staged_s
    assert model.before == model.versions[1]


def test_the_newest_of_a_stage_is_the_one_that_came_last() -> None:
    """Not the one with the highest number."""
    model = promoted((3, "staging"), (2, "staging"))
    assert model.newest("staging") == model.versions[2]
    assert model.latest == model.versions[3]
    assert model.newest("production") is None


@pytest.mark.parametrize(
    "body",
    [
        {"version": 2},
        birth(2) | {"sha256": "short"},
        birth(2) | {"lineage": None},
        birth(2) | {"lineage": {"unheard": 1}},
        birth(2) | {"version": "2"},
        birth(2) | {"size_bytes": None},
        birth(1) | {"note": "number 1 again"},
        birth(2) | {"model": 7},
    ],
)
def test_a_damaged_record_says_nothing(body: dict[str, Any]) -> None:
    """The others still count."""
    log = [record(0, REGISTER, birth(1)), record(1, REGISTER, body)]
    assert registered(log) == registered(log[:1])
    odd = replace(
        log[0], sequence=2, action=PROMOTE, body={"model": "digits", "version": 9}
    )
    assert registered([log[0], odd]) == registered(log[:1])
