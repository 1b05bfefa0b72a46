"""The certificate that a hub shows, and the next one once it is there."""

from __future__ import annotations

import asyncio
import logging
import ssl

from flip_lab.core.errors import HubStateError
from flip_lab.hub.place import HubPlace

_LOG = logging.getLogger(__name__)
_LOOK_S = 5.0


class ShownCertificate:
    """What a server shows to whoever connects: TLS 1.2 and later, and nothing else.

    Args:
        place: Where the certificate lies.

    Attributes:
        context: For the server; ``follow`` changes what it shows.

    Raises:
        HubStateError: If the certificate or its key is missing or damaged.
    """

    def __init__(self, place: HubPlace) -> None:
        """Read what lies there now."""
        self._place = place
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        self._made_at = self._there()
        self._load()

    async def follow(self) -> None:
        """Take up a new certificate seconds after it was written; never returns."""
        while True:  # files tell nobody that they change
            await asyncio.sleep(_LOOK_S)
            self.look()

    def look(self) -> None:
        """Take up the certificate that lies there now, if it is another one."""
        try:
            there = self._there()
            if there != self._made_at:
                self._load()
                self._made_at = there
        except HubStateError as error:  # half of it is written
            _LOG.warning("The new certificate cannot be used yet: %s", error)

    def _there(self) -> tuple[int, int]:
        try:
            certificate = self._place.server_certificate.stat()
            return certificate.st_mtime_ns, self._place.server_key.stat().st_mtime_ns
        except OSError as error:
            raise self._unusable(error) from error

    def _load(self) -> None:
        try:
            chain = self._place.server_certificate, self._place.server_key
            self.context.load_cert_chain(*chain)
        except OSError as error:  # ssl.SSLError is one
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> HubStateError:
        return HubStateError(
            f"The hub's certificate cannot be used ({error}).",
            fix=f"Restore {self._place.server_certificate.name} and "
            f"{self._place.server_key.name} from a backup, or make new ones: flip-lab hub "
            "rotate-certs.",
        )
