"""The hub's own routes, under ``/flip/v1/hub`` and ``/flip/v1/device``."""
