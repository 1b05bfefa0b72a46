"""How long each partition took to train before, so that the longest can start first.

Known by data, model and app rather than by run: the next run of a sweep profits. Only a
hint: a lost or a wrong one costs time and no result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from flip_lab.core.errors import StoreError
from flip_lab.runs.spec import RunSpec
from flip_lab.store.layout import write_json_atomic

_MOST = 20_000  # partitions of one app; the newest are kept


def load_durations(run_dir: Path, spec: RunSpec) -> dict[int, float]:
    """Give the seconds that partitions took in earlier runs of this lab.

    Args:
        run_dir: ``<lab>/runs/<run_id>``.
        spec: The run that is about to begin.
    """
    with suppress(OSError, ValueError, AttributeError, TypeError):
        known = json.loads(_file(run_dir, spec).read_text(encoding="utf-8"))
        return {int(partition): float(seconds) for partition, seconds in known.items()}
    return {}


def keep_durations(run_dir: Path, spec: RunSpec, durations_s: Mapping[int, float]) -> None:
    """Keep what this run measured for the next one.

    Args:
        run_dir: ``<lab>/runs/<run_id>``.
        spec: The run that has ended.
        durations_s: Seconds of each partition's last training.
    """
    if not durations_s:
        return
    all_known = load_durations(run_dir, spec)
    for partition in durations_s:  # what is new goes to the end, and stays the longest
        all_known.pop(partition, None)
    newest = dict([*all_known.items(), *durations_s.items()][-_MOST:])
    file = _file(run_dir, spec)
    with suppress(OSError, StoreError):
        file.parent.mkdir(exist_ok=True)
        write_json_atomic(file, {str(k): round(v, 6) for k, v in newest.items()})


def _file(run_dir: Path, spec: RunSpec) -> Path:
    about = spec.scenario or {}
    what = [spec.name, spec.num_nodes, about.get("data"), about.get("model")]
    app = None if spec.scenario else spec.lineage.get("app_sha256")
    key = hashlib.sha256(json.dumps([*what, app], sort_keys=True).encode()).hexdigest()
    return run_dir.parents[1] / "durations" / f"{key[:32]}.json"
