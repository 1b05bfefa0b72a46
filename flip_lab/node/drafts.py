"""Directories that are there whole or not at all, whatever happens while they are made."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from flip_lab.core.errors import HubStateError


@contextmanager
def appearing(path: Path) -> Generator[Path]:
    """Give a directory to fill, for its owner alone; it appears when the block ends well.

    It is built beside its place under another name, and then renamed.

    Args:
        path: Where it shall be: nothing yet, or an empty directory.

    Raises:
        HubStateError: If something is there, or it cannot be written.
    """
    target = path.expanduser().absolute()
    require_nothing(target)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir(mode=0o700)
        yield draft
        require_nothing(target)  # somebody may have put something there meanwhile
        for each in (*draft.rglob("*"), draft):
            if not each.is_symlink():
                _sync(each)
        draft.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise HubStateError(
            f"{target} cannot be made ({error.strerror or error}).",
            fix="Free some space, or choose a directory that you may write; nothing was "
            "left behind.",
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)  # does nothing once it is renamed


def require_nothing(path: Path) -> None:
    """See that nothing is at a place yet.

    Raises:
        HubStateError: If something is: nothing is ever written over.
    """
    try:
        is_taken = any(path.iterdir())
    except FileNotFoundError:
        is_taken = path.is_symlink()
    except OSError:  # a file, or nothing that we may look into
        is_taken = True
    if is_taken:
        raise HubStateError(
            f"{path} holds something already.",
            fix="Give a directory that does not exist yet; nothing is written over.",
        )


def _sync(path: Path) -> None:
    """Make what a file holds survive a power cut, or the names that a directory holds."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
