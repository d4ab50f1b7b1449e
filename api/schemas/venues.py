"""Venues (会场) as they are made and shown."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import msgspec
from pydantic import BaseModel, Field

from api.schemas.fields import Id, Text
from racing.documents import Strict
from racing.lifecycle import State
from racing.rule import Rule
from racing.store.venues import Access


class AccessDoc(Strict):
    """What a venue lets whom do while keys are in force."""

    slots_public: bool = Field(default=True, description="anyone may read its slots, without a key")
    details_public: bool = Field(default=False, description="with scores, signals, stock and counts")
    beacon_kinds: list[Annotated[str, Field(min_length=1, max_length=32)]] = Field(
        [], max_length=64, description="event kinds that publishable keys may send", examples=[["impression", "click"]]
    )
    merchants_may: list[Literal["stock", "price", "withdraw"]] = Field(
        [], max_length=3, description="what merchants may do to their own products", examples=[["stock"]]
    )
    neighbours_named: bool = Field(
        default=False, description="merchants are told which products stand next to theirs; else only the gaps"
    )

    advice: Literal["off", "coarse", "exact"] = Field(
        "coarse", description="what merchants are told would move them; exact is also a recipe for faking"
    )

    @classmethod
    def of(cls, access: Access) -> Self:
        """The document of what the store keeps."""
        return cls.model_validate_json(msgspec.json.encode(access))

    def access(self) -> Access:
        """What the store keeps."""
        kinds, may = tuple(self.beacon_kinds), tuple(self.merchants_may)
        return Access(self.slots_public, self.details_public, kinds, may, self.neighbours_named, self.advice)


class VenueIn(Strict):
    """A venue (会场) to create."""

    venue: Id = Field(examples=["hall-1"])
    title: Text | None = Field(None, description="shown to people; the id by default", examples=["Double 11 main hall"])
    rule: Rule | None = Field(None, description="the first rule; the default rule where absent", examples=[None])
    access: AccessDoc | None = Field(
        None, description="who may do what; anyone may read the slots where absent", examples=[None]
    )
    state: Literal["draft", "rehearsal", "open"] = Field("open", description="where its life begins")
    parent: Id | None = Field(None, description="the main venue that it is a sub venue of", examples=[None])


class VenueGone(BaseModel):
    """A venue that was deleted with all of its past."""

    venue: str = Field(examples=["hall-1"])
    keys: int = Field(examples=[31], description="how many keys it had in Redis")


class VenueOut(BaseModel):
    """A venue as it stands."""

    venue: str = Field(examples=["hall-1"])
    title: str = Field(examples=["Double 11 main hall"])
    created_ms: int = Field(examples=[1763740800000])
    state: State = Field(examples=["open"], description="where it is in its life")
    parent: str | None = Field(None, examples=["hall-0"], description="the main venue that it is a sub venue of")
    slots: int = Field(examples=[50], description="slots (坑位) on the page")
    runners: int | None = Field(
        None, examples=[1200], description="products enrolled; this and counts: null unless they are public"
    )
    rule_version: int = Field(examples=[3])
    frame: int = Field(examples=[48210], description="number of the current frame; 0 before the first")
    counts: dict[str, int] | None = Field(
        None,
        examples=[{"counted": 90210, "late": 3, "future": 0, "duplicate": 12}],
        description="what became of every event since the race began, as of the last commit",
    )


class VenueList(BaseModel):
    """A page of venues."""

    venues: list[VenueOut]
    next_cursor: str | None = Field(
        None, description="pass as cursor for the next page; null at the end", examples=["hall-1"]
    )
