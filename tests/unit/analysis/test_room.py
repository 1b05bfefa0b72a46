"""The room itself: light to import, and nothing promised that is not there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from flip_lab import analysis
from flip_lab.core.goals import goal_of


def test_the_room_is_light_until_it_is_used() -> None:
    """Importing it loads neither pandas, scipy nor statsmodels."""
    code = (
        "import sys; from flip_lab import analysis; "
        "print(sorted({'pandas', 'scipy', 'statsmodels'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", analysis.__all__)
def test_what_is_offered_is_there_and_documented(name: str) -> None:
    """Every name loads, and says what it is."""
    assert getattr(analysis, name).__doc__
    assert name in dir(analysis)


def test_what_is_not_offered_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="no attribute 'means'"):
        _ = analysis.means


@pytest.mark.parametrize(
    ("metric", "goal"),
    [
        ("eval_accuracy", "max"),
        ("train_loss", "min"),
        ("eval.RMSE", "min"),
        ("glossary", "max"),
    ],
)
def test_goals_are_guessed_from_words(metric: str, goal: str) -> None:
    """A word, not a part of one."""
    assert goal_of(metric) == goal
