"""When sealing pays; asked after every run, so nothing here imports DuckDB."""

from __future__ import annotations

from collections.abc import Collection

from flip_lab.store.journal import journals
from flip_lab.store.layout import LabDir

_DUE_RUNS = 16
_DUE_BYTES = 8 * 2**20


def is_due(lab: LabDir, ended: Collection[str]) -> bool:
    """Say whether so many runs have ended that sealing them pays.

    Args:
        lab: The lab.
        ended: The runs that have ended and are not sealed.
    """
    if len(ended) >= _DUE_RUNS:
        return True
    sizes = (path.stat().st_size for run_id in ended for path in journals(lab, run_id))
    return sum(sizes) >= _DUE_BYTES
