"""Put the scenario files into the wheel.

An editable install reads them from the checkout; plain ``force-include`` would leave it a
second, stale copy.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ScenariosHook(BuildHookInterface):
    """Add ``scenarios/`` as ``flip_lab/_scenarios`` to a standard wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Tell hatchling which files to add, before it builds."""
        if version == "standard":
            build_data["force_include"]["scenarios"] = "flip_lab/_scenarios"
