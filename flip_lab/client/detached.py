"""Runs that go on with their hub while the machine that launched them is away."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flip_lab.client.answers import WholeRun
from flip_lab.client.fetching import fetch_run
from flip_lab.client.opening import connect
from flip_lab.client.remote_run import RemoteRun
from flip_lab.client.wire import Wire
from flip_lab.core.clock import now_s
from flip_lab.core.errors import FederationUnreachableError, InvalidValueError
from flip_lab.engines.federations import FederationConfig, load_federation
from flip_lab.runs.away import Away, forget, remember
from flip_lab.runs.lab import Lab
from flip_lab.runs.places import found_from
from flip_lab.store.layout import LabDir

if TYPE_CHECKING:
    from flip_lab.client.remote_lab import RemoteLab
    from flip_lab.core.outcome import Outcome, RunResult
    from flip_lab.core.scenario import Scenario
    from flip_lab.core.state import RunState
    from flip_lab.runs.run import Run

HUB = "hub"
"""What a hub's own lab calls the federation that it serves."""


class DetachedRun(RemoteRun):
    """A run that goes on with its hub; it comes home when somebody waits for it.

    Args:
        wire: The hub's lab.
        spec: The run, as it was told last.
        home: The lab that it comes home to.
        away: How it is known there.
    """

    def __init__(self, wire: Wire, spec: WholeRun, *, home: LabDir, away: Away) -> None:
        """Ask nothing yet."""
        super().__init__(wire, spec)
        self._home = home
        self._away = away

    def wait(self, timeout_s: float | None = None) -> RunState:
        """Wait until the run has ended, and bring it home.

        Args:
            timeout_s: How long to wait for its end, seconds; ``None`` waits as long as it
                takes.

        Returns:
            The final state.

        Raises:
            RunTimeoutError: If the run has not ended by then.
            FlipLabError: As ``fetch``.
        """
        state = super().wait(timeout_s)
        self.fetch()
        return state

    def fetch(self, into: Lab | str | Path | None = None) -> Run:
        """Bring the run home once it has ended, see ``RemoteRun.fetch``.

        Args:
            into: Another lab than the one that it was launched from.
        """
        wanted = self._home.root if into is None else into
        lab = wanted if isinstance(wanted, Lab) else Lab(wanted)
        here = {
            "federation": self._away.federation,
            "launched_from": self._away.found_from,
        }
        run_id = fetch_run(self._wire, self._place, LabDir(lab.path), found_as=here)
        forget(self._home, run_id)
        return lab.run(run_id)

    def outcome(self, timeout_s: float | None = None) -> Outcome:
        """Wait for the end, bring the run home and say how it ended: ``Run.outcome``."""
        super().wait(timeout_s)
        return self.fetch().outcome()

    def result(self, timeout_s: float | None = None) -> RunResult:
        """Wait for the end, bring the run home and give what it left: ``Run.result``."""
        super().wait(timeout_s)
        return self.fetch().result()


def launch(
    lab: LabDir, what: Scenario | str | Path, federation: str, asked: Mapping[str, Any]
) -> DetachedRun:
    """Launch a run in the lab of a federation's hub, see ``flip_lab.runs.away``."""
    directory = found_from(federation, lab.root)
    hub = hub_lab(load_federation(federation, directory))
    run = hub.launch(what, on=HUB, **asked)
    away = Away(
        run_id=run.run_id,
        federation=federation,
        found_from=str(directory),
        launched_s=now_s(),
    )
    remember(lab, away)
    return DetachedRun(run.wire, run.spec, home=lab, away=away)


def find(lab: LabDir, away: Away) -> DetachedRun:
    """Give a handle on a run of a hub, see ``flip_lab.runs.away``."""
    config = load_federation(away.federation, Path(away.found_from))
    run = hub_lab(config).run(away.run_id)
    return DetachedRun(run.wire, run.spec, home=lab, away=away)


def hub_lab(config: FederationConfig) -> RemoteLab:
    """Open the lab of a federation's hub.

    Raises:
        InvalidValueError: If the federation is a stock SuperLink, which has no lab.
        FederationUnreachableError: If the token cannot be read.
        LabUnreachableError: If the hub does not answer.
        NotAuthenticatedError: If it does not know the token.
    """
    if config.token is None:
        raise InvalidValueError(
            f"The federation {config.name!r} is a stock SuperLink: it has no lab.",
            fix="Keep the run's process here (leave detach= out), or set up a hub: "
            "flip-lab hub init.",
        )
    try:
        token = config.token.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FederationUnreachableError(
            f"The token of federation {config.name!r} cannot be read: {error}.",
            fix="Ask who runs the hub for a token, and name its file in flip-lab.toml.",
        ) from error
    url = f"https://{config.address}/flip"
    return connect(url, token=token, trust=config.root_certificates)
