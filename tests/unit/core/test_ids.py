"""Run ids: short, sorted by time, unlike each other."""

from __future__ import annotations

import re

import pytest

from flip_lab.core import ids


def test_an_id_is_a_utc_time_and_four_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """The date can be read off an id, whatever the machine's time zone."""
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    monkeypatch.setattr(ids, "now_s", lambda: 1_795_290_312.9)
    assert re.fullmatch(r"261121-194512-[a-z2-9]{4}", ids.new_run_id())


def test_later_ids_sort_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sorted listing is a listing by time, across midnight and new year."""
    made: list[str] = []
    for time_s in (1_767_225_599.0, 1_767_225_600.0, 1_767_225_601.0, 1_795_290_312.0):
        monkeypatch.setattr(ids, "now_s", lambda time_s=time_s: time_s)
        made.append(ids.new_run_id())
    assert made == sorted(made)
    assert made[0].startswith("251231-235959")


def test_ids_of_one_second_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Launches within one second get different names."""
    monkeypatch.setattr(ids, "now_s", lambda: 1_795_290_312.0)
    assert len({ids.new_run_id() for _ in range(20)}) == 20


def test_an_id_is_safe_as_a_file_name_and_hard_to_misread() -> None:
    """No letter that looks like a digit, no character that a shell would touch."""
    tail = ids.new_run_id().rsplit("-", 1)[1]
    assert not set(tail) & set("ilo01")
