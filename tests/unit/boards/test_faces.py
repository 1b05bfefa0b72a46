"""The text and the card show what the snapshot holds, and nothing else."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.boards.run.card import card_html, spark_paths
from flip_lab.boards.run.progress import RunProgress
from flip_lab.boards.run.snapshot import Snapshot
from flip_lab.boards.run.text import bar
from flip_lab.core.events import EventKind, RunEvent

Story = Callable[..., list[RunEvent]]
NEW = RunProgress(run_id="261121-194512-q7xd", name="Hearts")
FAILED = {
    "state": "failed",
    "code": "FLIP-303",
    "what": "All clients failed.",
    "fix": "Lower the learning rate.",
    "detail": "Traceback",
}


def test_the_text_of_a_running_run(story: Story) -> None:
    """One picture, line by line; the same events always give the same text."""
    progress = NEW.apply(story(rounds=3, failing=frozenset({3})))
    assert progress.text() == NEW.apply(story(rounds=3, failing=frozenset({3}))).text()
    assert progress.text().splitlines() == [
        "Hearts · 261121-194512-q7xd · running",
        "███████▎░░░░░░░░░░░░░░░░  30%  round 3 / 10, 25 s elapsed, about 56 s left",
        "Evaluating: 3 of 4 clients done, 1 failed",
        "eval_accuracy     0.6667  ▁▆█  best 0.6667, round 3",
        "eval_loss         0.3333  █▃▁  best 0.3333, round 3",
        "18 replies, 6 failures, 24 KiB down, 48 KiB up",
        "✗ The client of partition 3 failed in round 3: ValueError: <b>bad</b> data",
        'Reattach: lab.run("261121-194512-q7xd")',
    ]


def test_the_text_of_a_failed_run_ends_with_the_remedy(story: Story) -> None:
    """Code, what and fix are there; the strip of a phase that is over is not."""
    text = NEW.apply(story(rounds=1, end=FAILED)).text()
    assert "✗ [FLIP-303] All clients failed." in text
    assert "  Fix: Lower the learning rate." in text
    assert "clients done" not in text


def test_a_metric_says_where_it_comes_from(story: Story) -> None:
    """Measured at the server, or logged by its code: beside the clients' of that name."""
    events = story(rounds=1)
    last = events[-1]
    logged = [
        replace(
            last,
            sequence=last.sequence + at,
            kind=EventKind.METRIC,
            body={"phase": "evaluate", "scope": scope, "name": "eval_loss", "value": 0.5},
        )
        for at, scope in enumerate(("central", "server"), 1)
    ]
    progress = NEW.apply([*events, *logged])
    card = parsed(progress.snapshot())
    named = [name.text for name in card.iterfind(".//*[@class='flip-metric']")]
    for told in ("eval_loss", "eval_loss (central)", "eval_loss (server)"):
        assert f"\n{told}  " in progress.text()
        assert told in named


def test_the_text_before_anything_happened() -> None:
    """Three words are enough."""
    assert NEW.text().splitlines()[1] == "not started yet"


@pytest.mark.parametrize(
    ("fraction", "drawn"),
    [(0, "░░░░"), (1, "████"), (0.5, "██░░"), (7 / 32, "▉░░░"), (9, "████"), (-1, "░░░░")],
)
def test_bars_are_drawn_in_eighths(fraction: float, drawn: str) -> None:
    """Full width always, and never beyond."""
    assert bar(fraction, width=4) == drawn


def parsed(snapshot: Snapshot) -> ET.Element:
    """Read the card as XML, which fails on the least mistake in it."""
    return ET.fromstring(card_html(snapshot))  # noqa: S314  # our own text


def test_the_card_holds_the_facts_and_the_roles(story: Story) -> None:
    """State, progress, tiles and squares, readable by people and by screen readers."""
    card = parsed(NEW.apply(story(rounds=3, failing=frozenset({3}))).snapshot())
    assert card.get("data-state") == "running"
    progress = card.find(".//*[@role='progressbar']")
    assert progress is not None
    assert progress.get("aria-valuenow") == "30"
    assert progress.get("aria-valuetext") == "round 3 / 10"
    values = [tile.text for tile in card.iterfind(".//*[@class='flip-value']")]
    assert values == ["0.6667", "0.3333"]
    squares = card.find(".//*[@role='img']")
    assert squares is not None
    assert [square.get("class") for square in squares] == ["flip-d"] * 3 + ["flip-f"]
    assert 'lab.run("261121-194512-q7xd")' in "".join(card.itertext())


def test_the_card_carries_its_style_and_no_script(story: Story) -> None:
    """Self-contained: nothing is fetched, nothing is run."""
    html = card_html(NEW.apply(story()).snapshot(), css=".flip-monitor { color: red }")
    assert html.startswith("<style>.flip-monitor { color: red }</style>\n<section")
    assert "<script" not in html
    assert "http" not in html


def test_a_failed_card_shows_code_fix_and_detail(story: Story) -> None:
    """The evidence is folded away, the remedy is not."""
    card = parsed(NEW.apply(story(rounds=1, end=FAILED)).snapshot())
    note = card.find(".//*[@class='flip-note']")
    assert note is not None
    words = " ".join("".join(note.itertext()).split())
    assert (
        words
        == "FLIP-303 All clients failed. Fix: Lower the learning rate. Details Traceback"
    )
    assert note.find(".//details/pre") is not None


HOSTILE = "\"><script>alert('x')</script><img src=x onerror=alert(1)>&"


def test_hostile_names_never_become_markup(story: Story) -> None:
    """Names, metrics, errors and warnings are text in the card, wherever they stand."""
    failed = {**FAILED, **dict.fromkeys(("code", "what", "fix", "detail"), HOSTILE)}
    snapshot = RunProgress(run_id="a", name=HOSTILE).apply(story(end=failed)).snapshot()
    snapshot["tiles"][0]["name"] = HOSTILE
    snapshot["warnings"] = [HOSTILE]
    card = parsed(snapshot)
    assert {element.tag for element in card.iter()} <= {
        *("section", "div", "span", "code", "p", "svg", "path", "i", "strong", "details"),
        *("summary", "pre"),
    }
    assert not any(
        key.startswith("on") for element in card.iter() for key in element.attrib
    )
    assert card.get("aria-label") == f"Run {HOSTILE}"


number = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))


@given(st.lists(number, max_size=30))
def test_sparklines_stay_in_their_box(values: list[float | None]) -> None:
    """Every drawn point lies inside 240 by 56; a gap begins a new stroke."""
    line, crosses, dot = spark_paths([[at, value] for at, value in enumerate(values)])
    finite = [value for value in values if value is not None]
    points = line.replace("M", " ").replace("L", " ").split()
    assert all(0 <= int(x) <= 240 for x in points[::2])
    assert all(0 <= int(y) <= 56 for y in points[1::2])
    assert len(points) == 2 * len(finite)
    assert crosses.count("M") == len(values) - len(finite)
    assert bool(dot) == bool(finite)
