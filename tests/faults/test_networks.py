"""Hosts in namespaces: their lines are as bad as asked for, and leave nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.clock import tick_s
from flip_lab.testing.links import DelayLine
from flip_lab.testing.network import Host, Link, Network, missing_for_networks

CLIENT = """
import socket, sys, time
from contextlib import suppress
host, port, count, wait_s = sys.argv[1], *map(float, sys.argv[2:])
came = []
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    udp.settimeout(0.1)
    def send(what):
        with suppress(PermissionError):  # what UDP is told of a rule that drops
            udp.sendto(what, (host, int(port)))
    begin_s = time.perf_counter()
    for number in range(int(count)):
        send(b"%d" % number)
    is_last = False
    while not is_last and time.perf_counter() < begin_s + wait_s:
        send(b"last")  # until one of them is back: nothing overtakes, the rest is lost
        with suppress(TimeoutError):
            while (got := udp.recv(100)) != b"last":
                if not came:
                    first_s = time.perf_counter() - begin_s
                came.append(int(got))
            is_last = True
print(len(came), int(came == sorted(came)), first_s if came else -1.0)
"""


@pytest.fixture
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """Give hosts with the links that a test names as its parameter."""
    if missing := missing_for_networks():
        pytest.skip(missing)
    with Network(request.param) as made:
        yield made


def echoed(
    network: Network, host: Host, count: int, wait_s: float = 120.0
) -> tuple[int, bool, float]:
    """Send datagrams from a host to this machine and back, and some more, to see the end.

    Returns:
        How many came back, whether in order, and after how many seconds the first one.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((network.address, 0))

        def echo() -> None:
            while (got := server.recvfrom(100))[0] != b"end":
                server.sendto(*got)

        thread = threading.Thread(target=echo, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        program = [sys.executable, "-c", CLIENT, network.address, str(port)]
        command = host.command([*program, str(count), str(wait_s)])
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", server.getsockname())
        thread.join()
    came, in_order, first_s = done.stdout.split()
    return int(came), in_order == "1", float(first_s)


@pytest.mark.cluster
@pytest.mark.parametrize("network", [[Link(), Link()]], indirect=True)
def test_a_cut_line_carries_nothing_until_it_is_mended(network: Network) -> None:
    """One host is cut off without a word; the other one notices nothing."""
    near, other = network.hosts
    assert echoed(network, near, 5)[:2] == (5, True)
    near.cut()
    assert echoed(network, near, 5, wait_s=0.3)[0] == 0
    assert echoed(network, other, 5)[0] == 5
    near.mend()
    assert echoed(network, near, 5)[0] == 5


@pytest.mark.cluster
@pytest.mark.parametrize("network", [[Link(loss_percent=20)]], indirect=True)
def test_a_lossy_line_loses_its_share(network: Network) -> None:
    """Of 200 datagrams 20 % are lost on the way back, give or take five deviations."""
    [host] = network.hosts
    came, in_order, _ = echoed(network, host, 200)
    assert 132 <= came <= 188
    assert in_order
    host.lose(0)
    assert echoed(network, host, 50)[0] == 50


@pytest.mark.cluster
@pytest.mark.parametrize(
    "network", [[Link(latency_s=0.2, jitter_s=0.05, bandwidth_mbit=50)]], indirect=True
)
def test_a_long_line_is_late_and_loses_nothing(network: Network) -> None:
    """Nothing is back before both ways are done; what is sent in order comes in order."""
    [host] = network.hosts
    came, in_order, first_s = echoed(network, host, 50)
    assert (came, in_order) == (50, True)
    assert first_s >= 2 * (0.2 - 0.05)
    shaping = ["tc", "qdisc", "show", "dev", "eth0"]
    shown = subprocess.run(
        host.command(shaping), capture_output=True, text=True, check=True
    )
    assert "tbf" in shown.stdout
    assert "50Mbit" in shown.stdout


KEEPER = """
import sys, time
from flip_lab.testing.network import Link, Network
try:
    with Network([Link(), Link(latency_s=0.01)]) as network:
        print(network.address, *(h.process_id for h in network.hosts), flush=True)
        time.sleep(600)
except KeyboardInterrupt:
    sys.exit(3)
"""


@pytest.mark.cluster
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_a_network_never_outlives_its_program(ending: signal.Signals) -> None:
    """After Ctrl-C, and after a kill: no address, no device, no process."""
    if missing := missing_for_networks():
        pytest.skip(missing)
    with subprocess.Popen(
        [sys.executable, "-c", KEEPER], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        address, *keepers = program.stdout.readline().split()
        assert address in addresses()
        program.send_signal(ending)
        assert program.wait(120) == (3 if ending is signal.SIGINT else -9)
    end_s = tick_s() + 120
    while address in addresses() or any(is_running(int(each)) for each in keepers):
        assert tick_s() < end_s, f"left behind: {address} or one of {keepers}"


def addresses() -> list[str]:
    """List the addresses of this machine."""
    shown = subprocess.run(
        ["ip", "-o", "-4", "address"], capture_output=True, text=True, check=True
    )
    return re.findall(r"inet ([\d.]+)", shown.stdout)


def is_running(process_id: int) -> bool:
    """Tell whether a process is there and has not ended."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


@given(
    gaps=st.lists(st.floats(0, 0.2), min_size=1, max_size=30),
    latency_s=st.floats(0, 1),
    jitter=st.floats(0, 1),
)
def test_a_line_keeps_order_and_its_bounds(
    gaps: list[float], latency_s: float, jitter: float
) -> None:
    """Whatever is sent when: all arrives, in order, none early, none later than asked."""
    jitter_s = jitter * latency_s
    draw = partial(np.random.default_rng(7).uniform, -1, 1)
    line = DelayLine(latency_s=latency_s, jitter_s=jitter_s, draw=draw)
    now_s, sent = 0.0, []
    for number, gap in enumerate(gaps):
        now_s += gap
        assert line.put(bytes([number]), now_s)
        sent.append(now_s)
    came: list[tuple[bytes, float]] = []
    while (next_s := line.next_s) != float("inf"):
        came += [(packet, next_s) for packet in line.take(next_s)]
    assert [packet for packet, _ in came] == [bytes([n]) for n in range(len(gaps))]
    for (_, arrived_s), sent_s in zip(came, sent, strict=True):
        assert arrived_s >= sent_s + latency_s - jitter_s - 1e-9
        assert arrived_s <= now_s + latency_s + jitter_s + 1e-9


def test_a_full_line_drops_what_is_too_much() -> None:
    """It has room for so many packets; there is room again once they have arrived."""
    line = DelayLine(latency_s=1.0, capacity=2)
    assert [line.put(b"x", 0.0) for _ in range(3)] == [True, True, False]
    assert line.take(0.9) == []
    assert len(line.take(1.0)) == 2
    assert line.put(b"y", 1.0)
