"""The one-time token with which a device becomes a node.

``flip-node.<id>.<secret>.<fingerprint>``: the last part is the beginning of the SHA-256 of
the hub's authority. So whoever hands over the token also hands over whom to trust, and
nobody on the network can pose as the hub (trust on a first use that cannot be wrong).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from flip_lab.core.errors import EnrolmentError

_PREFIX = "flip-node"
_FORM = re.compile(
    r"flip-node\.(?P<id>[a-z0-9]{4,32})\.(?P<secret>[A-Za-z0-9_-]{20,100})"
    r"\.(?P<authority>[0-9a-f]{32})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolToken:
    """An enrolment token, taken apart.

    Attributes:
        id: Its public part.
        secret: What proves it.
        authority: The first 32 hexadecimal digits of the SHA-256 of the certificate that
            the hub's authority has.
    """

    id: str
    secret: str
    authority: str

    def __repr__(self) -> str:
        return f"EnrolToken(id={self.id!r})"

    @property
    def text(self) -> str:
        """The token as it is handed over."""
        return f"{_PREFIX}.{self.id}.{self.secret}.{self.authority}"

    @staticmethod
    def read(text: str) -> EnrolToken:
        """Take a token apart.

        Raises:
            EnrolmentError: If it is none.
        """
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise EnrolmentError(
                f"This is no enrolment token ({len(text.strip())} characters).",
                fix="Copy it whole: flip-node., an id, a secret and 32 digits, with dots "
                "between. flip-lab hub enrol-token makes one.",
            )
        return EnrolToken(**found.groupdict())
