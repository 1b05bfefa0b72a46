"""A load balancer in front of several hubs, as sites put one: TCP through, by readiness.

It opens no TLS. It asks each hub for ``/ready``, leads new connections to the first that
says yes, and closes those that lead to one that no longer does::

    with Balancer([first.address, second.address], first.root_certificates) as balancer:
        ...  # nodes and runs use balancer.address
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Self

import httpx

_CHECK_S = 0.25
_PATIENCE_S = 5.0
_PART_BYTES = 65536


class Balancer:
    """One address for several hubs; a context manager, in a thread of its own.

    Args:
        targets: The hubs, ``host:port``; the first that is ready is used.
        root_certificates: Whom to trust when asking whether one is ready, a PEM file.
        host: Where to listen, at a free port.

    Attributes:
        address: Where it listens.
        active: The hub that connections lead to; empty while none is ready.
    """

    def __init__(
        self, targets: Sequence[str], root_certificates: Path, *, host: str = "127.0.0.1"
    ) -> None:
        """Choose the hubs; entering the context listens."""
        self.address = ""
        self.active = ""
        self._targets = tuple(targets)
        self._trust = ssl.create_default_context(cafile=root_certificates)
        self._host = host
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._run, name="flip-lab-balancer", daemon=True)
        self._started = Event()
        self._ended = asyncio.Event()
        self._lines: dict[asyncio.StreamWriter, str] = {}

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close all connections, and stop to listen."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, self._host, 0)
        host, port = server.sockets[0].getsockname()[:2]
        self.address = f"{host}:{port}"
        watch = asyncio.create_task(self._watch())
        self._started.set()
        await self._ended.wait()
        watch.cancel()
        server.close()
        self._close_lines("")
        await asyncio.gather(watch, return_exceptions=True)

    async def _watch(self) -> None:
        """Ask the hubs again and again which of them is ready."""
        async with httpx.AsyncClient(
            verify=self._trust, timeout=_PATIENCE_S, trust_env=False
        ) as client:
            while True:
                answers = await asyncio.gather(
                    *(_is_ready(client, target) for target in self._targets)
                )
                ready = [
                    one for one, is_so in zip(self._targets, answers, strict=True) if is_so
                ]
                if self.active not in ready:
                    self.active = ready[0] if ready else ""
                    self._close_lines(self.active)
                await asyncio.sleep(_CHECK_S)

    def _close_lines(self, kept: str) -> None:
        for writer, target in self._lines.items():
            if target != kept:
                writer.close()

    async def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Lead one connection to the active hub; close it if there is none."""
        target = self.active
        try:
            host, _, port = target.rpartition(":")
            behind = await asyncio.open_connection(host, int(port or 0))
        except OSError:
            writer.close()
            return
        ends = (writer, behind[1])
        self._lines.update(dict.fromkeys(ends, target))
        try:
            await asyncio.gather(_carry(reader, behind[1]), _carry(behind[0], writer))
        finally:
            for end in ends:
                del self._lines[end]
                end.close()


async def _is_ready(client: httpx.AsyncClient, target: str) -> bool:
    try:
        answer = await client.get(f"https://{target}/ready")
    except httpx.TransportError:
        return False
    return answer.is_success


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes one way until that side ends; then the other one hears of it."""
    with suppress(OSError):
        while part := await reader.read(_PART_BYTES):
            writer.write(part)
            await writer.drain()
    writer.close()
