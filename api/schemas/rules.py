"""Versions of a rule (赛马规则), and what differs between them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from racing.documents import Strict
from racing.rule import Rule


class RuleChanged(BaseModel):
    """A rule version, and the frame from which it is visible."""

    version: int = Field(examples=[4])
    entry: str = Field(examples=["1763740800123-0"])
    epoch: int | None = Field(None, examples=[1763740800000], description="null while no frame shows it yet")
    frame: int | None = Field(None, examples=[48213], description="null while no frame shows it yet")
    window_full_ms: int | None = Field(
        None,
        examples=[1763741100000],
        description="from when a longer window holds all that came in it; null: at once",
    )
    base_full_ms: int | None = Field(None, examples=[1763741400000], description="and the base before it")


class RuleVersionOut(BaseModel):
    """One version of a rule: who made it, when and why."""

    version: int = Field(examples=[4])
    author: str = Field(examples=["night-shift"])
    note: str = Field(examples=["calmer"])
    at_ms: int = Field(examples=[1763740800123])
    current: bool = Field(examples=[True], description="the one put last; a phase may have its own in force")
    formula: int = Field(examples=[1], description="version of the scoring formula")
    phase: str = Field("", examples=[""], description="id of the phase that it was made for; empty of the rule itself")


class RuleVersionDoc(RuleVersionOut):
    """A version of a rule with its document."""

    rule: Rule


class RuleVersionList(BaseModel):
    """Versions of a rule, newest first."""

    versions: list[RuleVersionOut]
    next_cursor: str | None = Field(None, description="as in the list of venues", examples=["3"])


class DifferenceOut(BaseModel):
    """A field that differs."""

    field: str = Field(examples=["terms[0].weight"])
    before: Any = Field(None, alias="from", examples=[0.3], description="null: it is not there")
    after: Any = Field(None, alias="to", examples=[0.5], description="null: it is not there")


class RuleDiff(BaseModel):
    """What differs between two versions, field by field."""

    before: int = Field(alias="from", examples=[3])
    after: int = Field(alias="to", examples=[4])
    differences: list[DifferenceOut]


class RestoreIn(Strict):
    """Which version is to hold again, as a new one."""

    version: Annotated[int, Field(ge=1, le=2**53)] = Field(examples=[1])
    note: Annotated[str, Field(max_length=200, description="why, for the history")] = Field("", examples=["as before"])
