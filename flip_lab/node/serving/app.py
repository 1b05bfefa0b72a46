"""The endpoint: predictions over HTTP, and which version gives them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeAlias

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

import flip_lab
from flip_lab.core.clock import tick_s
from flip_lab.core.errors import (
    FlipLabError,
    NoSuchPlaceError,
    PredictionError,
    TooManyError,
)
from flip_lab.node.serving.answers import (
    installed_told,
    model_told,
    predicted,
    schema_told,
)
from flip_lab.node.serving.guard import Guard, ServingLimits
from flip_lab.node.serving.problems import (
    problem_response,
    tell_ours,
    tell_unforeseen,
)
from flip_lab.node.serving.served import ServedModels
from flip_lab.node.serving.telemetry import Telemetry

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
"""Seconds between two looks for a version that became live."""

Model: TypeAlias = Annotated[
    str | None,
    Query(max_length=200, description="The model; may be left out if it is one."),
]
Version: TypeAlias = Annotated[
    int, Path(ge=1, le=2**31 - 1, description="The version's number.")
]
_EXAMPLES: Mapping[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "oneOf": [
                        {"required": ["input"], "properties": {"input": {}}},
                        {
                            "required": ["inputs"],
                            "properties": {"inputs": {"type": "array", "minItems": 1}},
                        },
                    ],
                }
            }
        },
    }
}


class Endpoint:
    """The routes of one node's endpoint.

    Args:
        models: The models that answer.
        limits: How much one caller may ask for.
        telemetry: What is counted.
    """

    def __init__(
        self, models: ServedModels, limits: ServingLimits, telemetry: Telemetry
    ) -> None:
        """Name the routes."""
        self._models = models
        self._limits = limits
        self._telemetry = telemetry
        self._threads = CapacityLimiter(limits.side_by_side)
        self.router = APIRouter()
        add = self.router.add_api_route
        add("/predict", self.predict, methods=["POST"], openapi_extra={**_EXAMPLES})
        add("/schema", self.schema, methods=["GET"])
        add("/models", self.models, methods=["GET"])
        add("/models/{version}/live", self.make_live, methods=["POST"])
        add("/metrics", self.metrics, methods=["GET"])
        add("/health", self.health, methods=["GET"])
        add("/ready", self.ready, methods=["GET"])

    async def predict(self, request: Request, model: Model = None) -> Response:
        """Predict the class of one example (`input`) or of several (`inputs`)."""
        waiting = self._threads.statistics().tasks_waiting
        if waiting >= self._limits.waiting:
            raise TooManyError(
                f"{waiting} requests for predictions wait already.",
                fix="Ask again in a second; send many examples in one request.",
            )
        began_s = tick_s()
        predictor = self._models.predictor(model)
        body = await request.body()
        content, num_examples = await to_thread.run_sync(
            lambda: predicted(predictor, body, most=self._limits.examples),
            limiter=self._threads,
        )
        labels = (predictor.manifest.name, str(predictor.manifest.version))
        self._telemetry.latency.labels(*labels).observe(tick_s() - began_s)
        self._telemetry.examples.labels(*labels).inc(num_examples)
        return Response(content, media_type="application/json")

    def schema(self, model: Model = None) -> Response:
        """Say what `/predict` takes, as JSON Schema."""
        predictor = self._models.predictor(model)
        return _json(schema_told(predictor, most=self._limits.examples))

    def models(self) -> Response:
        """List the versions that are here, and say which of them answer."""
        live = self._models.live
        served = {(each.manifest.name, each.manifest.version) for each in live.values()}
        told = [
            installed_told(
                each, is_served=(each.manifest.name, each.manifest.version) in served
            )
            for each in self._models.installed()
        ]
        return _json({"models": told})

    def make_live(self, version: Version, model: Model = None) -> Response:
        """Let another version that is here answer from now on: the site's own roll back."""
        name = model
        if name is None:
            name = _only_name({each.manifest.name for each in self._models.installed()})
        return _json({"model": model_told(self._models.make_live(name, version).manifest)})

    def metrics(self) -> Response:
        """Give what is counted, as Prometheus reads it."""
        return Response(self._telemetry.text(), media_type="text/plain; version=0.0.4")

    async def health(self) -> Response:
        """Say that the endpoint is up."""
        return _json({"status": "ok", "version": flip_lab.__version__})

    async def ready(self) -> Response:
        """Say whether a model is live, to strangers not which; 503 while none is."""
        is_ready = bool(self._models.live)
        return _json({"is_ready": is_ready}, 200 if is_ready else 503)


def create_app(
    models: ServedModels, *, token: str, limits: ServingLimits | None = None
) -> FastAPI:
    """Make the endpoint.

    Args:
        models: The models that answer.
        token: What callers send as ``Authorization: Bearer …``.
        limits: How much one caller may ask for.
    """
    limits = limits or ServingLimits()
    telemetry = Telemetry(models)
    app = FastAPI(
        title="FLIP Lab predictions",
        version=flip_lab.__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lambda _: _watching(models),
        redirect_slashes=False,
    )
    app.include_router(Endpoint(models, limits, telemetry).router)
    app.add_middleware(Guard, token=token, limits=limits, telemetry=telemetry)
    app.add_exception_handler(Exception, tell_unforeseen)
    app.add_exception_handler(FlipLabError, tell_ours)
    app.add_exception_handler(RequestValidationError, _tell_unusable)
    app.add_exception_handler(HTTPException, _tell_plain)
    return app


@asynccontextmanager
async def _watching(models: ServedModels) -> AsyncGenerator[None]:
    """Look for new versions while the endpoint is up; the first ones before it is."""

    async def watch() -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await to_thread.run_sync(models.refresh)
            except Exception:  # noqa: BLE001  # what answers goes on, and so does the watch
                _log.exception("The models of this node cannot be looked at.")

    await to_thread.run_sync(models.refresh)
    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()


def _only_name(names: set[str]) -> str:
    """Give the one model that is here.

    Raises:
        PredictionError: If there is none, or more than one.
    """
    if len(names) == 1:
        return next(iter(names))
    raise PredictionError(
        f"Models that are here: {', '.join(sorted(names)) or 'none'}.",
        fix="Say which one: ?model=NAME",
    )


def _json(told: Mapping[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(told), status, media_type="application/json")


async def _tell_unusable(_: Request, error: Exception) -> Response:
    """Tell that a part of the address is not as it should be."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  # it is registered for these
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return problem_response(
        PredictionError(f"{where}: {first['msg']}.", fix="See /openapi.json.")
    )


async def _tell_plain(request: Request, error: Exception) -> Response:
    """Tell what the framework has to say."""
    assert isinstance(error, HTTPException)  # noqa: S101  # it is registered for these
    told = NoSuchPlaceError(
        f"{request.method} {request.url.path}: {error.detail}.",
        fix="Places here: /predict, /schema, /models, /metrics, /health, /ready.",
    )
    return problem_response(told, status=error.status_code)
