"""Quick records behave as Flower's own, which a process without them describes."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from flip_lab.engines.flower.arrays import install_fast_arrays

# What an app may do with records, and what it sees of it.
_USES = """
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

def attempt(action):
    try:
        return repr(action())
    except Exception as error:
        return f"{type(error).__name__}: {error}"

content = RecordDict({
    "config": ConfigRecord({"rate": 0.5}),
    "model": ArrayRecord({"w": Array(np.ones(2))}),
    "metrics": MetricRecord({"loss": 1.0}),
})
seen = []
for kind in ("array_records", "metric_records", "config_records"):
    view = getattr(content, kind)
    seen += [type(view).__name__, list(view), len(view), "model" in view, view.allowed_type]
    seen += [[*view.keys()], [name for name, _ in view.items()], view.get("none", 7)]
    seen += [attempt(lambda: view["none"]), view.recorddict is content]
    seen.append(attempt(lambda: view.update(other=1.0)))
    seen.append(attempt(lambda: view.update({1: MetricRecord()})))
content.metric_records["more"] = MetricRecord({"loss": 2.0})
del content.config_records["config"]
seen += [list(content), content.get("none"), content == content.copy()]
seen += [sorted(content.pop("metrics")), list(content), "model" in content]
seen += [attempt(lambda: content.update(bad=3)), attempt(lambda: content.pop("none"))]
seen.append([type(record).__name__ for record in content.values()])
answer = repr(seen)
"""


@pytest.fixture(autouse=True)
def fast() -> None:
    """Make this process's records quick ones."""
    install_fast_arrays()


def test_flower_cannot_tell_the_difference() -> None:
    """Reading, writing, removing and all refusals are those of a process without."""
    ours: dict[str, str] = {}
    exec(_USES, ours)  # noqa: S102  # the text above
    program = f"{_USES}\nprint(answer)"
    flowers = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ours["answer"] == flowers.stdout.strip()


def test_looking_at_records_leaves_nothing_to_collect() -> None:
    """A view is gone with its last reader: no cycle waits for the garbage collector."""
    content = RecordDict({"model": ArrayRecord({"w": Array(np.ones(2))})})
    gc.disable()
    try:
        views = content.array_records, content.metric_records, content.config_records
        seen = [weakref.ref(view) for view in views]
        assert [len(view) for view in views] == [1, 0, 0]
        del views
        assert [view() for view in seen] == [None, None, None]
    finally:
        gc.enable()


def test_a_view_sees_what_was_there_when_it_was_asked_for() -> None:
    """As Flower's: records added to the content later are in a new view only."""
    content = RecordDict({"metrics": MetricRecord({"loss": 1.0})})
    before = content.metric_records
    content["more"] = MetricRecord({"loss": 2.0})
    content["config"] = ConfigRecord({"rate": 0.5})
    assert [*before] == ["metrics"]
    assert [*content.metric_records] == ["metrics", "more"]
