"""The runs that a node has met: which app each brings, and whether the site allows it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from flip_lab.core.errors import FlipLabError
from flip_lab.engines.flower.fab_contents import FabContents, read_fab
from flip_lab.engines.flower.fleet import FleetConnection, RunApp
from flip_lab.node.allowed import check_allowed
from flip_lab.node.app_shelf import AppShelf, SiteApp
from flip_lab.node.config import FILE_NAME, NodeConfig, NodeScalar, load_node

_MOST_RUNS = 100


@dataclass(frozen=True, kw_only=True)
class SiteRun:
    """A run whose app may be called here.

    Attributes:
        app: The app, unpacked.
        key: What contexts are kept by: FLIP Lab's id of the run, else Flower's number.
        run_config: Flower's run configuration.
        seed: The run's seed; ``None`` when it has none for us.
        is_ours: Whether FLIP Lab drives it, and takes facts off the replies.
        driver: Names the process that drives it; empty when nobody says.
    """

    app: SiteApp
    key: str
    run_config: Mapping[str, NodeScalar]
    seed: int | None
    is_ours: bool
    driver: str = ""


class RunApps:
    """Fetches, checks and unpacks the app of each run once.

    Args:
        config: The site's settings; what it allows is read again whenever it is written.
        shelf: Where apps lie.
    """

    def __init__(self, config: NodeConfig, shelf: AppShelf) -> None:
        """Know no run yet."""
        self._config = config
        self._written: tuple[int, int, int] | None = None
        self._shelf = shelf
        self._fetched: OrderedDict[int, FabContents] = OrderedDict()

    async def of(self, run_id: int, connection: FleetConnection) -> SiteRun:
        """Give a run's app, if it may be called.

        Args:
            run_id: Flower's number of the run.
            connection: Where to fetch it.

        Raises:
            AppNotAllowedError: If the site does not allow it.
            RunOverError: If the run is over.
        """
        if run_id not in self._fetched:
            self._fetched[run_id] = _as_it_runs(await connection.app_of(run_id))
            while len(self._fetched) > _MOST_RUNS:
                self._fetched.popitem(last=False)
        contents = self._fetched[run_id]
        check_allowed(self._present(), contents)
        app = self._shelf.put(contents.app_hash, contents.files, contents.client_ref)
        run, seed = contents.run.get("run"), contents.run.get("seed")
        driver = contents.run.get("nonce")  # each bundle has its own
        is_ours = isinstance(run, str) and bool(run)
        return SiteRun(
            app=app,
            key=str(run) if is_ours else str(run_id),
            run_config=contents.run_config,
            seed=seed if isinstance(seed, int) and seed >= 0 else None,
            is_ours=is_ours,
            driver=driver if isinstance(driver, str) else "",
        )

    def _present(self) -> NodeConfig:
        """Give what the site allows now; a file that cannot be read changes nothing."""
        with suppress(OSError, FlipLabError):
            about = (self._config.directory / FILE_NAME).stat()
            written = (about.st_mtime_ns, about.st_size, about.st_ino)
            if written != self._written:
                self._config = load_node(self._config.directory)
                self._written = written
        return self._config


def _as_it_runs(found: RunApp) -> FabContents:
    """Read an app with the configuration that clients see, which is what sites check."""
    contents = read_fab(found.fab)
    return replace(contents, run_config={**contents.run_config, **found.overrides})
