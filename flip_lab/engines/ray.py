"""The engine that trains clients side by side in Ray actors, with the very same bits."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from flip_lab.engines.base import Job
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.parcels import allow_open_files
from flip_lab.engines.ray_session import connected
from flip_lab.engines.simulation import SimulationGrid


class RayEngine:
    """Simulated federation on a Ray session: on one machine or on many.

    It takes the session of this process, else the one that ``FLIP_LAB_RAY_ADDRESS`` or
    ``RAY_ADDRESS`` names, else starts one for the run. Only the last one is ended.
    """

    name = "ray"

    @contextmanager
    def open(self, job: Job) -> Generator[SimulationGrid]:
        """Lease actors, give the Grid, and give back what was taken.

        Raises:
            EngineStartError: If Ray does not start, or has no place for any worker.
            MissingExtraError: If Ray is not installed.
            AppImportError: If the ClientApp cannot be loaded in a worker.
        """
        install_fast_arrays()
        allow_open_files()
        with connected(job.workers) as session:
            from flip_lab.engines.ray_executor import RayExecutor
            from flip_lab.engines.ray_lease import Leases

            leases = Leases(session.ray, job.workers)
            executor = RayExecutor(session.ray, job, leases)
            try:
                yield SimulationGrid(job, executor)
            finally:
                executor.close(gives_back=not session.is_ours)
