"""What a node tells its hub every now and then: versions, machine, and whom it trusts.

The answer says when the hub has another authority; the node fetches it over the connection
that it still trusts. So a hub's authority is replaced without a visit to any device.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path

import psutil

from flip_lab.core.errors import DeviceError, FlipLabError
from flip_lab.node.config import NodeConfig
from flip_lab.node.hub_line import HubLine
from flip_lab.node.identity import NodeIdentity, load_identity
from flip_lab.node.messages import Report, ReportAnswer
from flip_lab.node.trust import AUTHORITY_FILE, bundle_hash, context_for
from flip_lab.node.versions import versions_here

REPORT_PATH = "/flip/v1/device/report"

_EVERY_S = 30.0
_GAP_S = 0.5  # between two nodes of one process: a hundred report twice a second
_PATIENCE_S = 5.0
_log = logging.getLogger(__name__)


def report(config: NodeConfig, identity: NodeIdentity, line: HubLine) -> ReportAnswer:
    """Report once.

    Args:
        config: The node.
        identity: Its key.
        line: A connection that trusts what its ``ca.crt`` says.

    Raises:
        NodeRevokedError: If the hub no longer lets this node in.
        ClockSkewError: If the clocks differ by more than a minute.
        FlipLabError: If the hub does not answer, or has anything else against it.
    """
    here = versions_here()
    sent = Report(
        flip_lab=here.flip_lab,
        flower=here.flower,
        bundle=bundle_hash((config.directory / AUTHORITY_FILE).read_bytes()),
        facts={
            "python": here.python,
            "system": platform.platform(),
            "num_cpus": os.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
            "free_memory_bytes": psutil.virtual_memory().available,
            "free_disk_bytes": shutil.disk_usage(config.directory).free,
        },
    )
    signed = identity.headers("POST", REPORT_PATH, sent.model_dump_json().encode())
    return line.ask("POST", REPORT_PATH, ReportAnswer, sent, headers=signed)


def follow_authority(config: NodeConfig, answer: ReportAnswer, line: HubLine) -> bool:
    """Trust whom the hub says from now on, if that has changed.

    Args:
        config: The node.
        answer: What the hub said to its report.
        line: The connection that is trusted so far.

    Returns:
        Whether it has changed.

    Raises:
        DeviceError: If the hub shows something else than it said.
        FlipLabError: If it does not answer.
    """
    path = config.directory / AUTHORITY_FILE
    if bundle_hash(path.read_bytes()) == answer.bundle:
        return False
    shown = line.content("GET", "/flip/v1/device/ca")
    if bundle_hash(shown) != answer.bundle:
        raise DeviceError(
            f"{config.hub} shows another authority than it told of.",
            fix="Nothing need be done if the next report goes well: it was just replaced.",
        )
    _replace(path, shown)
    return True


@contextmanager
def reports_beside(configs: Sequence[NodeConfig]) -> Generator[None]:
    """Report for all nodes of this process while the block lasts, in one thread.

    Args:
        configs: The nodes; those of a stock SuperLink have no ``hub.pub``, and nobody to
            report to.
    """
    enrolled = [each for each in configs if (each.directory / "hub.pub").exists()]
    is_over = threading.Event()
    thread = threading.Thread(
        target=_keep, args=(enrolled, is_over), name="flip-reports", daemon=True
    )
    if enrolled:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        if enrolled:
            thread.join(_PATIENCE_S)


def _keep(configs: Sequence[NodeConfig], is_over: threading.Event) -> None:
    pace_s = max(_GAP_S, _EVERY_S / len(configs))
    with ExitStack() as cleanup:
        lines = _Lines(cleanup)
        for config in cycle(configs):
            _once(config, lines)
            if is_over.wait(pace_s):
                return


class _Lines:
    """One connection for all nodes that trust the same authorities at the same hub.

    Attributes:
        troubles: What keeps a node from reporting now, by its directory.
    """

    def __init__(self, cleanup: ExitStack) -> None:
        self._cleanup = cleanup
        self._lines: dict[tuple[str, bytes], HubLine] = {}
        self.troubles: dict[Path, str] = {}

    def of(self, config: NodeConfig) -> HubLine:
        path = config.directory / AUTHORITY_FILE
        key = (config.hub, path.read_bytes())
        if key not in self._lines:
            line = HubLine(config.hub, context_for(path))
            self._lines[key] = self._cleanup.enter_context(line)
        return self._lines[key]


def _once(config: NodeConfig, lines: _Lines) -> None:
    """Report, and follow the authority; what goes wrong is for the site's log alone."""
    try:
        line, identity = lines.of(config), load_identity(config.directory)
        answer = report(config, identity, line)
        if follow_authority(config, answer, line):
            _log.info("%s trusts the hub's new authority.", config.name)
            report(config, identity, lines.of(config))  # so that the hub knows
    except (FlipLabError, OSError) as error:
        said = error.what if isinstance(error, FlipLabError) else str(error)
        if lines.troubles.get(config.directory) != said:  # once, however long it lasts
            _log.warning("%s could not report: %s", config.name, said)
        lines.troubles[config.directory] = said
    else:
        lines.troubles.pop(config.directory, None)


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_suffix(".new")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())  # an empty one would keep the node out for good
    draft.replace(path)
