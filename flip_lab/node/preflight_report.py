"""What came of looking a device over."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

from flip_lab.core.errors import FlipLabError

Verdict: TypeAlias = Literal["good", "warning", "wrong", "skipped"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """What came of one check.

    Attributes:
        name: What was checked.
        verdict: ``wrong`` keeps the node from taking part; a ``warning`` does not.
        found: What was found, in a few words.
        fix: What to do; empty if all is well.
    """

    name: str
    verdict: Verdict
    found: str
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """Whether a device is ready.

    Attributes:
        checks: Every check, in the order in which they depend on each other.
    """

    checks: tuple[Check, ...]

    @property
    def wrong(self) -> tuple[Check, ...]:
        """What keeps the node from taking part."""
        return tuple(check for check in self.checks if check.verdict == "wrong")

    def as_json(self) -> dict[str, object]:
        """Give it as plain data."""
        checks = [asdict(check) for check in self.checks]
        return {"is_ready": not self.wrong, "checks": checks}


def refused(name: str, error: FlipLabError) -> Check:
    """Give an error as what came of a check."""
    found = f"[{error.code}] {error.what}"
    return Check(name=name, verdict="wrong", found=found, fix=error.fix)
