"""The lab in Jupyter: our API behind Jupyter's own address and identity."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

_NEEDS = ("duckdb", "fastapi", "orjson", "uvicorn", "websockets")


def _jupyter_server_extension_points() -> list[dict[str, Any]]:  # pyright: ignore[reportUnusedFunction]  # Jupyter calls it
    """Tell Jupyter Server what to load.

    The wheel switches the extension on wherever Jupyter is, also where only what a device
    needs was installed: there one line says so.
    """
    if any(find_spec(name) is None for name in _NEEDS):
        return [{"module": "flip_lab.jupyter"}]
    from flip_lab.jupyter.extension import FlipLabExtension

    return [{"module": "flip_lab.jupyter.extension", "app": FlipLabExtension}]


def _load_jupyter_server_extension(server: Any) -> None:  # noqa: ANN401  # pyright: ignore[reportUnusedFunction]  # a ServerApp; Jupyter calls it
    """Say what is missing."""
    server.log.warning("FLIP Lab in Jupyter needs: pip install 'flip-lab[lab]'.")
