"""What every decision is told with: why, its entry, from which frame it is visible, and what it changed."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import Body
from pydantic import BaseModel, Field

from racing.decisions import What
from racing.documents import Strict, worded
from racing.moments import moment_text
from racing.store.audit import Told

Note = Annotated[str, Field(max_length=500, description="why, for the audit")]
ENTRY_PATTERN = worded(r"^[0-9]{1,15}-[0-9]{1,15}$", "must be a log entry as answers name it, as 1763740800123-0")
"""A log entry, as answers name it."""


class Visible(BaseModel):
    """A decision's entry in the log, and the frame from which it is visible."""

    entry: str = Field(examples=["1763740800123-0"])
    epoch: int | None = Field(None, examples=[1763740800000], description="null while no frame holds it yet")
    frame: int | None = Field(None, examples=[48213], description="null while no frame holds it yet")


class ChangeOut(BaseModel):
    """One thing that a decision changed."""

    of: str = Field(examples=["hero"], description="id of an order, a product, or the name of what there is once")
    before: Any = Field(None, alias="from", examples=[None], description="null: there was none")
    after: Any = Field(None, alias="to", examples=[{"kind": "pin", "slot": 1}], description="null: there is none")


class DecisionOut(BaseModel):
    """One decision: who changed what, when, from what, to what."""

    entry: str = Field(examples=["1763740800123-0"], description="log entry that made it")
    at_ms: int = Field(examples=[1763740800123])
    at: str = Field(examples=["2025-11-21T16:00:00.123Z"])
    who: str = Field(examples=["night-shift"], description="name of the key that decided")
    what: What = Field(examples=["orders"])
    note: str = Field("", examples=["the hero slot is sold"])
    undoes: str = Field("", examples=[""], description="entry of the decision that this one takes back")
    plan: str = Field("", examples=[""], description="the plan that it applies or withdraws")
    changes: list[ChangeOut]

    @classmethod
    def of(cls, told: Told) -> Self:
        """The answer for a decision. Of runners' data only the fields that differ are told."""
        decision = told.decision
        changes = [
            dict(zip(("of", "from", "to"), _change(change.of, change.before, change.after), strict=True))
            for change in decision.changes
        ]
        return cls.model_validate(
            {
                "entry": told.entry,
                "at_ms": told.at_ms,
                "at": moment_text(told.at_ms),
                "who": decision.who,
                "what": decision.what,
                "note": decision.note,
                "undoes": decision.undoes,
                "plan": decision.plan,
                "changes": changes,
            }
        )


def _change(of: str, before: Any, after: Any) -> tuple[str, Any, Any]:
    if of or not isinstance(after, dict):
        return of, before, after
    product = str(after.get("product", ""))
    before, after = (_without_sum(side) for side in (before, after))
    if not isinstance(before, dict):
        return product, before, after
    moved = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return product, {name: before.get(name) for name in moved}, {name: after.get(name) for name in moved}


def _without_sum(side: Any) -> Any:
    """Data of a runner without the checksum that their hash keeps with them."""
    return {name: value for name, value in side.items() if name != "sum"} if isinstance(side, dict) else side


class AuditOut(BaseModel):
    """A page of decisions, newest first."""

    decisions: list[DecisionOut]
    next_cursor: str | None = Field(
        None, description="pass as cursor for the next page; null at the end", examples=["1763740800123-0"]
    )


class UndoIn(Strict):
    """Why a decision is taken back."""

    note: Note = Field("", examples=["wrong product"])


MaybeNote = Annotated[UndoIn, Body(default_factory=UndoIn)]
