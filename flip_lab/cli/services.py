"""What commands share that print how a machine keeps a program of ours running."""

# typer.Option is untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

UserOption = Annotated[str, typer.Option(help="Who runs it.")]


def program() -> str:
    """Give the command ``flip-lab`` of this environment, with its path."""
    beside = Path(sys.executable).with_name("flip-lab")
    return str(beside) if beside.exists() else shutil.which("flip-lab") or "flip-lab"
