"""Who did what at a hub: one more line in the log of its lab."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flip_lab.store.audit_writer import append_audit
from flip_lab.store.layout import LabDir


class Log:
    """Writes down what people do, under the name that ``acting_as`` gives.

    It is called last inside the transaction: what cannot be written down is not done.

    Args:
        lab: The hub's lab.
    """

    def __init__(self, lab: LabDir) -> None:
        """Open nothing."""
        self._lab = lab

    def __call__(self, action: str, body: Mapping[str, Any]) -> None:
        """Add a line.

        Args:
            action: Such as ``"node_revoke"``.
            body: What belongs to it, fit for JSON; never a secret.

        Raises:
            StoreNotWritableError: If the log cannot be written.
        """
        append_audit(self._lab, action, body=body)
