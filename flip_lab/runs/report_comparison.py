"""The report of a comparison, section by section."""

from __future__ import annotations

from dataclasses import dataclass

from flip_lab.runs.report_facts import Facts
from flip_lab.runs.report_markup import Html
from flip_lab.views.theme import Theme


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    by: tuple[str, ...] | None = None


def comparison_sections(known: Facts, question: Question, themes: tuple[Theme, ...]) -> list[Html]:
    return []


def title_of(known: Facts) -> str:
    return ""
