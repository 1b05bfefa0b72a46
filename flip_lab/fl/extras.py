"""Say which extra to install when an optional package is absent."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from flip_lab.core.errors import MissingExtraError


@contextmanager
def needs_extra(extra: str, purpose: str) -> Generator[None]:
    """Turn an import that fails inside the block into an instruction.

    Args:
        extra: Name of our extra that brings the package, such as ``"data"``.
        purpose: What needs it, as the start of a sentence.

    Raises:
        MissingExtraError: If a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{purpose} needs the package {error.name!r}, which is not installed.",
            fix=f'Install it with: pip install "flip-lab[{extra}]"',
        ) from error
