"""What those ask for who look after a hub: the same at its machine and from afar."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

DAY_S = 86400.0


class TokenWish(BaseModel):
    """A token to be made.

    Attributes:
        role: What it may do: `viewer`, `researcher` or `admin`.
        person: Whose it is, as logs show it.
        lifetime_s: How long it is good for; null: until it is revoked.
    """

    model_config = ConfigDict(extra="forbid")

    role: str = Field(max_length=50)
    person: str = Field(max_length=200)
    lifetime_s: float | None = None


class EnrolmentWish(BaseModel):
    """An enrolment token to be made.

    Attributes:
        name: What the node will be called.
        tags: What cohorts will choose it by.
        config: What Flower calls its node configuration, such as `partition-id`.
        lifetime_s: How long the token is good for.
        replace: Whether to withdraw an open one for the same name.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=200)
    tags: list[str] = Field(default_factory=list[str], max_length=100)
    config: dict[str, bool | int | float | str] = Field(
        default_factory=dict[str, bool | int | float | str], max_length=64
    )
    lifetime_s: float = DAY_S
    replace: bool = False


class TagWish(BaseModel):
    """Tags of a node to be changed.

    Attributes:
        add: New tags.
        remove: Tags to be taken away; it need not have them.
    """

    model_config = ConfigDict(extra="forbid")

    add: list[str] = Field(default_factory=list[str], max_length=100)
    remove: list[str] = Field(default_factory=list[str], max_length=100)
