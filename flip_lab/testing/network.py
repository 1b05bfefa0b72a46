"""Hosts on a network of this machine, with lines as bad as wished; needs root.

Each host is a network namespace with one line to this machine: a star, as sites are around
a hub. A line may be slow, thin and lossy, and it may be cut and mended::

    with Network([Link(), Link(latency_s=0.1, jitter_s=0.02)]) as network:
        near, far = network.hosts
        subprocess.run(far.command(["ping", "-c", "3", network.address]))
        near.cut()

A namespace belongs to a process that ends with our pipe to it. So all of it, addresses and
devices too, is gone when the block ends, and also when this process is killed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Self

import flip_lab
from flip_lab.core.errors import EngineStartError

_DEVICE = "eth0"
_GRACE_S = 5.0
_RANGE = "198.18"  # 198.18.0.0/15 is for tests of networks (RFC 2544): nobody lives there
_PACKAGES = MappingProxyType(
    {
        "ip": "iproute2",
        "tc": "iproute2",
        "nft": "nftables",
        "nsenter": "util-linux",
        "unshare": "util-linux",
    }
)
_names = count()


@dataclass(frozen=True, kw_only=True)
class Link:
    """What the line between a host and this machine is like.

    Attributes:
        latency_s: How long a packet is on its way, each way, seconds; a ping takes double.
        jitter_s: How much longer or shorter that may be; packets stay in order.
        loss_percent: How many packets of a hundred that come to the host are lost; 0-99.
        bandwidth_mbit: Megabits a second, each way; ``None`` for no limit.
    """

    latency_s: float = 0.0
    jitter_s: float = 0.0
    loss_percent: int = 0
    bandwidth_mbit: float | None = None


def missing_for_networks() -> str:
    """Say what keeps this machine from making networks; empty if nothing does."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = {package for tool, package in _PACKAGES.items() if shutil.which(tool) is None}
    if missing:
        return f"needs Debian packages: apt-get install {' '.join(sorted(missing))}"
    return "" if Path("/dev/net/tun").exists() else "this kernel has no TUN devices"


@dataclass(frozen=True, kw_only=True)
class Host:
    """A machine of the network: what runs in its namespace sees only its line.

    Attributes:
        address: Its own IPv4 address.
        process_id: The process that keeps its namespace.
        near_device: This machine's end of its line.
        link: What its line was made as.
    """

    address: str
    process_id: int
    near_device: str
    link: Link = field(default_factory=Link)

    @property
    def namespace(self) -> Path:
        """Its network namespace."""
        return Path(f"/proc/{self.process_id}/ns/net")

    def command(self, arguments: Sequence[str]) -> list[str]:
        """Give the command that runs another one on this host, as the same process."""
        return ["nsenter", f"--net={self.namespace}", "--", *arguments]

    def cut(self) -> None:
        """Cut its line, in both directions; TCP only notices that nothing comes."""
        self._filter("drop")

    def mend(self) -> None:
        """Make its line again what it was."""
        self.lose(self.link.loss_percent)

    def lose(self, percent: int) -> None:
        """Lose so many of a hundred packets that come to this host.

        Args:
            percent: 0-99.
        """
        self._filter("", f"numgen random mod 100 < {percent} drop" if percent else "")

    def _filter(self, both_ways: str, inwards: str = "") -> None:
        """Replace the rules for packets of the line; the host's own loopback is spared."""
        chains = [
            ("input", "iifname", inwards or both_ways),
            ("output", "oifname", both_ways),
        ]
        body = "".join(
            f"chain {name} {{ type filter hook {name} priority 0; "
            f"{f'{match} {_DEVICE} {rule};' if rule else ''} }}\n"
            for name, match, rule in chains
        )
        rules = f"flush ruleset\ntable inet line {{\n{body}}}\n"
        _ran(self.command(["nft", "-f", "-"]), rules)


class Network:
    """Some hosts around this machine; a context manager.

    Args:
        links: One for each host.

    Attributes:
        address: This machine's address, as all hosts see it; there a hub listens.
        hosts: In the order of the links.
    """

    def __init__(self, links: Sequence[Link]) -> None:
        """Choose the lines; entering the context makes them."""
        self.address = ""
        self.hosts: tuple[Host, ...] = ()
        self._links = links
        self._subnet = ""
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        """Make the hosts.

        Raises:
            EngineStartError: If this machine cannot, or a command fails.
        """
        if missing := missing_for_networks():
            raise EngineStartError(
                f"No network of hosts can be made here: {missing}.",
                fix="Do that, or run on loopback without a network of hosts.",
            )
        try:
            self._subnet = _free_subnet()
            self.address = f"{self._subnet}.1"
            self.hosts = tuple(map(self._host, range(len(self._links)), self._links))
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End exactly the processes that were started; their namespaces go with them."""
        self._cleanup.close()

    def _host(self, index: int, link: Link) -> Host:
        keeper = self._start(["unshare", "--net", "sh", "-c", "echo ready; exec cat"])
        host = Host(
            address=f"{self._subnet}.{index + 11}",
            process_id=keeper,
            near_device=f"fl{os.getpid()}x{next(_names)}",
            link=link,
        )
        self._cleanup.callback(_forget, host.near_device)
        if link.latency_s:
            self._start_line(host)
        else:
            near, far = f"link add {host.near_device}", f"peer name {_DEVICE}"
            _ran(["ip", *f"{near} type veth {far} netns {keeper}".split()])
        self._set_up(host)
        return host

    def _start_line(self, host: Host) -> None:
        module = [sys.executable, "-m", "flip_lab.testing.links"]
        ends = [host.near_device, _DEVICE, str(host.namespace)]
        self._start([*module, *ends, str(host.link.latency_s), str(host.link.jitter_s)])

    def _set_up(self, host: Host) -> None:
        """Give both ends their addresses, and the line its faults."""
        for prefix, device, mine, other in (
            ([], host.near_device, self.address, host.address),
            (host.command([]), _DEVICE, host.address, self.address),
        ):
            batch = [
                f"addr add {mine} peer {other} dev {device}",
                "link set lo up",
                f"link set {device} up",
            ]
            _ran([*prefix, "ip", "-batch", "-"], "\n".join(batch))
            if (mbit := host.link.bandwidth_mbit) is not None:
                shape = f"root tbf rate {mbit}mbit burst 32kbit latency 400ms"
                _ran([*prefix, "tc", "qdisc", "add", "dev", device, *shape.split()])
        if host.link.loss_percent:
            host.mend()

    def _start(self, command: Sequence[str]) -> int:
        """Start a helper that lives as long as our pipe to it, and wait until it is there.

        Raises:
            EngineStartError: If it does not start.
        """
        process = subprocess.Popen(  # noqa: S603  # our own command, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": _python_path()},
            start_new_session=True,  # Ctrl-C is for whoever uses the network
        )
        self._cleanup.callback(_end, process)
        assert process.stdout is not None  # it was asked for
        assert process.stderr is not None
        if process.stdout.readline() != "ready\n":
            raise EngineStartError(
                f"A part of the network did not start: {command[0]}.",
                fix="Read what it said, below.",
                detail=process.stderr.read(),
            )
        return process.pid


def _free_subnet() -> str:
    """Choose a part of the test range that no device of this machine is in."""
    taken = _ran(["ip", "-o", "-4", "address"])
    start = os.getpid() % 256
    numbers = (number % 256 for number in range(start, start + 256))
    return next(name for n in numbers if (name := f"{_RANGE}.{n}") + "." not in taken)


def _forget(device: str) -> None:
    """Remove a device that may be gone already."""
    command = ["ip", "link", "delete", device]
    subprocess.run(command, check=False, capture_output=True)  # noqa: S603  # ours


def _end(process: subprocess.Popen[str]) -> None:
    """Close our pipe to a helper, and wait until it is gone."""
    with process, suppress(BrokenPipeError):
        assert process.stdin is not None  # it was asked for
        process.stdin.close()
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _python_path() -> str:
    source = str(Path(flip_lab.__file__).parents[1])
    return os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH", "")]))


def _ran(command: Sequence[str], text: str = "") -> str:
    """Run a command to its end and give what it printed.

    Raises:
        EngineStartError: If it fails.
    """
    done = subprocess.run(  # noqa: S603  # our own command, no shell
        command, check=False, capture_output=True, text=True, input=text
    )
    if done.returncode:
        raise EngineStartError(
            f"A network of hosts could not be set up: {' '.join(command)} failed.",
            fix="See what it said, below; root and a kernel with nf_tables are needed.",
            detail=done.stderr,
        )
    return done.stdout
