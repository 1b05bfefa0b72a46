"""The lab in Jupyter: our API behind Jupyter's own address and identity."""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, Any]]:  # pyright: ignore[reportUnusedFunction]  # Jupyter calls it
    """Tell Jupyter Server what to load."""
    from flip_lab.jupyter.extension import FlipLabExtension

    return [{"module": "flip_lab.jupyter.extension", "app": FlipLabExtension}]
