"""The lab here that runs of a lab elsewhere are brought into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flip_lab.core.errors import MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path

    from flip_lab.runs.lab import Lab


def lab_here(into: Lab | str | Path | None) -> Lab:
    """Open a lab here.

    Args:
        into: The lab, or its directory; default: as for ``Lab``.

    Raises:
        MissingExtraError: If the packages of a lab are not installed here.
        StoreError: If it cannot be made or written.
    """
    try:  # a client needs no lab of its own
        from flip_lab.runs.lab import Lab
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"A lab here needs {error.name}, which is not installed.",
            fix="Install all of it: pip install flip-lab",
        ) from error
    return into if isinstance(into, Lab) else Lab(into)
