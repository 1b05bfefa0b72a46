"""The engine of real devices: this process drives the nodes of a hub or SuperLink.

``on="hospitals"`` is the only change between simulation and reality.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from flip_lab.core.errors import FederationUnreachableError
from flip_lab.engines.base import Job
from flip_lab.engines.chosen_nodes import ChosenNodes
from flip_lab.engines.deployment_grid import DeploymentGrid, Surroundings
from flip_lab.engines.device_replies import DeviceReplies
from flip_lab.engines.federations import FederationConfig, load_federation
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.flower.attach import Ending, only_driver
from flip_lab.engines.flower.control import SuperLink
from flip_lab.engines.flower.fab import build_fab
from flip_lab.engines.hub_nodes import HubNodes
from flip_lab.engines.hub_session import HubSession
from flip_lab.engines.node_book import NodeBook
from flip_lab.engines.outbox import Outbox
from flip_lab.engines.reply_checks import ReplyRules

__all__ = ["DeploymentEngine", "DeploymentGrid", "FederationConfig", "load_federation"]

_NODE_WAIT_S = 60.0
_DETAILS_LENGTH = 500  # the SuperLink shows it in a list of runs


class DeploymentEngine:
    """Real devices: attaches to the federation's hub and drives its nodes.

    Args:
        federation: Which one.
        node_wait_s: How long to wait for the nodes that a run needs, seconds.
    """

    name = "deployment"

    def __init__(
        self, federation: FederationConfig, *, node_wait_s: float = _NODE_WAIT_S
    ) -> None:
        """Keep the address; nothing is connected yet."""
        self._federation = federation
        self._node_wait_s = node_wait_s

    @contextmanager
    def open(self, job: Job) -> Generator[DeploymentGrid]:
        """Become the ServerApp of a new run; the hub learns how it ended.

        Leaving normally completes the run there, an exception fails it, and what ends a
        program (KeyboardInterrupt, SystemExit) stops it.

        Raises:
            EngineError: If this process already drives a run on real devices.
            FederationUnreachableError: If the hub does not answer, or refuses us.
            NotEnoughNodesError: If fewer than ``job.num_nodes`` nodes come in time.
            CohortError: If none of the nodes is of those that the job chose.
        """
        install_fast_arrays()
        superlink = _superlink(self._federation)
        files = job.app.fab_files()
        fab = build_fab(files, job.run_config, run_id=job.run_id, seed=job.seed)
        with only_driver():
            session = HubSession(
                superlink,
                fab,
                wait_s=self._federation.hub_wait_s,
                check=job.check_stop,
                stopped_by=job.stopped_by,
                notify=job.notify,
            )
            try:
                with _grid(job, session, superlink, self._federation) as grid:
                    grid.wait_for_nodes(job.num_nodes, timeout_s=self._node_wait_s)
                    yield grid
            except Exception as error:
                told = f"{type(error).__name__}: {error}"[:_DETAILS_LENGTH]
                session.close(Ending.FAILED, told)
                raise
            except BaseException:
                session.close(Ending.STOPPED, "Stopped where the run was launched.")
                raise
            session.close(Ending.COMPLETED)


@contextmanager
def _grid(
    job: Job, session: HubSession, superlink: SuperLink, federation: FederationConfig
) -> Generator[DeploymentGrid]:
    """Put a Grid together for a run that is attached."""
    hub = HubNodes(superlink) if superlink.token is not None else None
    book = NodeBook(job.notify)
    rules = ReplyRules(
        same_arrays=job.answers_describe, accept_non_finite=federation.accept_non_finite
    )
    try:
        chosen = ChosenNodes(job.nodes, None if hub is None else book.facts)
        yield DeploymentGrid(
            Surroundings(
                session=session,
                outbox=Outbox(rules),
                book=book,
                replies=DeviceReplies(book, job.notify, job.held),
                chosen=chosen,
                hub=hub,
                asks_partitions=job.answers_describe,
                check=job.check_stop,
            )
        )
    finally:
        if hub is not None:
            hub.close()


def _superlink(federation: FederationConfig) -> SuperLink:
    """Read the files that a federation names.

    Raises:
        FederationUnreachableError: If one cannot be read.
    """
    roots, token = federation.root_certificates, federation.token
    secret = federation.superexec_secret
    try:
        return SuperLink(
            address=federation.address,
            root_certificates=roots.read_bytes() if roots else None,
            superexec_secret=secret.read_bytes() if secret else None,
            token=token.read_text("ascii").strip() if token else None,
        )
    except (OSError, UnicodeDecodeError) as error:
        raise FederationUnreachableError(
            f"A file of federation {federation.name!r} cannot be read: {error}.",
            fix="Copy it from who runs the hub, and name it in flip-lab.toml.",
        ) from error
