"""What a device and its hub tell each other beside Flower's messages."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Health(BaseModel):
    """What a hub says of itself to everybody (``GET /health``).

    Attributes:
        status: ``"ok"`` while it answers.
        time_s: Its clock, seconds since the Unix epoch.
        version: Its version of FLIP Lab.
        flower: Its version of Flower.
    """

    status: str
    time_s: float
    version: str
    flower: str


class EnrolAsk(BaseModel):
    """What a device sends to become a node (``POST /flip/v1/device/enroll``).

    Attributes:
        token: Its one-time token.
        public_key: PEM of the key that it just made; the private half stays.
        flip_lab: Its version of FLIP Lab.
        flower: Its version of Flower.
        python: Its version of Python.
    """

    model_config = ConfigDict(extra="forbid")

    token: str = Field(max_length=300)
    public_key: str = Field(max_length=2000)
    flip_lab: str = Field(max_length=50)
    flower: str = Field(max_length=50)
    python: str = Field(max_length=50)


class EnrolAnswer(BaseModel):
    """What the hub says to a device that has become a node.

    Attributes:
        name: What it is called.
        node_id: Flower's id of it, as text: it has 64 bits.
        config: What Flower calls its node configuration.
        tags: What cohorts choose by.
        authorities: Whom to trust from now on, PEM.
        signing_key: What to check delivered models with, PEM.
        hub: The hub's name.
    """

    name: str
    node_id: str
    config: dict[str, bool | int | float | str]
    tags: list[str]
    authorities: str
    signing_key: str
    hub: str


class Report(BaseModel):
    """What a node says of itself every now and then (``POST /flip/v1/device/report``).

    Attributes:
        flip_lab: Its version of FLIP Lab.
        flower: Its version of Flower.
        bundle: Names the content of its ``ca.crt``, see ``bundle_hash``.
        facts: What else it tells, such as free memory, by names of its own.
    """

    flip_lab: str = Field(max_length=50)
    flower: str = Field(max_length=50)
    bundle: str = Field(default="", max_length=64)
    facts: dict[str, bool | int | float | str | None] = Field(
        default_factory=dict[str, bool | int | float | str | None], max_length=64
    )


class ReportAnswer(BaseModel):
    """What the hub says to a node that reports.

    Attributes:
        time_s: The hub's clock, seconds since the Unix epoch.
        clock_skew_s: How far the node's clock is ahead of it; the way here counts, too.
        bundle: Names the content of the hub's ``ca.crt``: when it differs from the node's,
            the node fetches ``GET /flip/v1/device/ca``.
        tags: What cohorts choose the node by.
        config: What Flower calls its node configuration, as the hub has it.
    """

    time_s: float
    clock_skew_s: float
    bundle: str
    tags: list[str]
    config: dict[str, bool | int | float | str]
