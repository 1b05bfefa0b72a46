"""What the endpoint counts about itself, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import InfoMetricFamily
from prometheus_client.registry import Collector

from flip_lab.node.serving.served import ServedModels

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _Live(Collector):
    """Which versions answer, read off when somebody asks."""

    def __init__(self, models: ServedModels) -> None:
        self._models = models

    def collect(self) -> Iterator[InfoMetricFamily]:
        labels = ("model", "version", "sha256")
        family = InfoMetricFamily("flip_model", "Versions that are live.", labels=labels)
        for name, predictor in sorted(self._models.live.items()):
            manifest = predictor.manifest
            family.add_metric((name, str(manifest.version), manifest.sha256), {})
        yield family


class Telemetry:
    """Counters of one endpoint, in a registry of its own.

    Args:
        models: The models that answer.

    Attributes:
        requests: Requests by place and HTTP status.
        latency: Duration of answered predictions, by model and version.
        examples: Examples that were predicted, by model and version.
    """

    def __init__(self, models: ServedModels) -> None:
        """Count from zero."""
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Live(models))
        self.requests = Counter(
            "flip_requests",
            "Requests by place and HTTP status.",
            ("place", "status"),
            registry=self._registry,
        )
        self.latency = Histogram(
            "flip_predict_duration_seconds",
            "Duration of an answered request for predictions, from its body to its answer.",
            ("model", "version"),
            registry=self._registry,
            buckets=_SECONDS,
        )
        self.examples = Counter(
            "flip_predicted_examples",
            "Examples that were predicted.",
            ("model", "version"),
            registry=self._registry,
        )

    def text(self) -> bytes:
        """Give everything as Prometheus reads it."""
        return generate_latest(self._registry)
