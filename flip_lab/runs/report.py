"""Reports: one run, or a comparison of several, as a file to read, print and send."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flip_lab.core.errors import InvalidValueError, RunNotFoundError
from flip_lab.runs.report_comparison import comparison_sections, title_of
from flip_lab.runs.report_facts import Facts
from flip_lab.runs.report_page import ReportTheme, page, themes_of
from flip_lab.runs.report_pdf import print_pdf
from flip_lab.runs.report_question import Question
from flip_lab.runs.report_run import run_sections
from flip_lab.runs.spec import RunSpec
from flip_lab.store.layout import LabDir, write_atomic
from flip_lab.views.theme import Theme

_SUFFIXES = (".html", ".htm", ".pdf")


def report_html(
    lab: LabDir,
    run_ids: Sequence[str],
    *,
    question: Question | None = None,
    theme: ReportTheme = "auto",
) -> str:
    """Write the report of one run, or of a comparison of several, as one HTML file.

    It holds all that it shows and asks nothing of the network. What the runs are called,
    printed and raised is shown as text, whatever it holds.

    Args:
        lab: The lab that keeps the runs. Look at the states of runs that may have died
            before, as ``Run.report`` does: that writes their end.
        run_ids: One run, or those to compare; full ids.
        question: What the comparison asks; by default it groups by every setting in which
            the runs differ, seed and place of work apart. Means nothing for one run.
        theme: ``"auto"`` (as the reader's device), ``"light"`` or ``"dark"``.

    Returns:
        The file's text, some megabytes: plotly.js is in it, once.

    Raises:
        RunNotFoundError: If no run is named, or the lab keeps no such run.
        InvalidValueError: If there is no such theme.
        AnalysisError: If the runs cannot be compared as asked.
        StoreError: If the lab cannot be read.
    """
    return _report(lab, run_ids, question=question, theme=theme, is_paper=False)


def report_pdf(
    lab: LabDir, run_ids: Sequence[str], *, question: Question | None = None
) -> bytes:
    """Print the same report, light and on A4, by a Chrome or Chromium of this machine.

    Args:
        lab: The lab that keeps the runs. Look at the states of runs that may have died
            before, as ``Run.report`` does: that writes their end.
        run_ids: One run, or those to compare; full ids.
        question: As for ``report_html``.

    Returns:
        The PDF.

    Raises:
        MissingExtraError: If no browser is found.
        ViewError: If the browser fails.
        FlipLabError: As ``report_html``.
    """
    text = _report(lab, run_ids, question=question, theme="light", is_paper=True)
    return print_pdf(text)


def write_report(
    lab: LabDir,
    run_ids: Sequence[str],
    path: str | Path,
    *,
    question: Question | None = None,
    theme: ReportTheme = "auto",
) -> Path:
    """Write a report to a file; its name says which kind.

    Args:
        lab: The lab that keeps the runs. Look at the states of runs that may have died
            before, as ``Run.report`` does: that writes their end.
        run_ids: One run, or those to compare; full ids.
        path: Ends in ``.html`` or ``.pdf``; ``~`` is understood, missing folders are made,
            an old file is replaced.
        question: As for ``report_html``.
        theme: As for ``report_html``; a PDF is always light.

    Returns:
        The file's absolute path.

    Raises:
        InvalidValueError: If the name ends otherwise.
        StoreNotWritableError: If the file cannot be written.
        FlipLabError: As ``report_html`` and ``report_pdf``.
    """
    target = Path(path).expanduser().absolute()
    suffix = target.suffix.lower()
    if suffix not in _SUFFIXES:
        raise InvalidValueError(
            f"A report cannot be written as {target.name!r}.",
            fix="Let the name end in .html or .pdf.",
        )
    themes_of(theme)
    if suffix == ".pdf":
        content = report_pdf(lab, run_ids, question=question)
    else:
        content = report_html(lab, run_ids, question=question, theme=theme).encode()
    write_atomic(target, content)
    return target


def _report(
    lab: LabDir,
    run_ids: Sequence[str],
    *,
    question: Question | None,
    theme: ReportTheme,
    is_paper: bool,
) -> str:
    themes: tuple[Theme, ...] = ("light",) if is_paper else themes_of(theme)
    chosen = tuple(dict.fromkeys(run_ids))
    if not chosen:
        raise RunNotFoundError("No run to report on.", fix="Name at least one run.")
    specs = [RunSpec.load(lab.run_dir(run_id)) for run_id in chosen]
    known = Facts(lab, chosen)
    if len(specs) == 1:
        title = f"{specs[0].name} · {specs[0].run_id}"
        return page(title, *run_sections(known, themes), theme=theme, is_paper=is_paper)
    body = comparison_sections(known, question or Question(), themes)
    return page(title_of(known), *body, theme=theme, is_paper=is_paper)
