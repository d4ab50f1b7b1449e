"""What machines ask: whether the process lives, whether it is ready, and what an error code means."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Health(BaseModel):
    """Whether the process lives."""

    status: str = Field(examples=["ok"])


class VenueHealth(BaseModel):
    """How fresh one venue's data is."""

    venue: str = Field(examples=["hall-1"])
    frame: int = Field(examples=[48210])
    age_ms: int | None = Field(
        description="age of the data that readers get; null before the first commit", examples=[120]
    )
    stale: bool = Field(examples=[False])


class DurabilityHealth(BaseModel):
    """What an acknowledgement promises, as the server is set up now."""

    asked: str = Field(examples=["safe"], description="fast or safe: SAIMA_DURABILITY")
    in_force: str = Field(
        examples=["safe"], description="fast, safe, not reached (then events are answered 503), or unknown"
    )
    found: str = Field(examples=["synced before each answer; replicas attached: 0"])
    promise: str = Field(examples=["what was acknowledged survives a kill and a power cut of the server"])


class Readiness(BaseModel):
    """Whether Redis answers, and how fresh each venue is."""

    status: str = Field(examples=["ready"])
    redis: str = Field(examples=["ok"])
    durability: DurabilityHealth
    venues: list[VenueHealth]


class ProblemHelp(BaseModel):
    """What an error code means."""

    code: str = Field(examples=["not_found"])
    status: int = Field(examples=[404])
    title: str = Field(examples=["Not found"])
    help: str = Field(examples=["There is nothing at this address, or not for this key."])
