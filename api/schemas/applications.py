"""Requests and answers of applications (报名), and rules in words, as OpenAPI shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

from api.schemas.fields import BULK_MAX, Id
from api.schemas.runners import RunnerFields
from racing.documents import Strict, wrong
from racing.entries import Runner
from racing.entry_check import Check
from racing.store.applications import Application


class ApplicantIn(RunnerFields):
    """A product that applies; its merchant is the one that sends it."""

    def runner(self, merchant: str) -> Runner:
        """The runner that it would be."""
        return Runner(merchant=merchant, **self.model_dump())


class ApplicationIn(Strict):
    """Up to 1,000 products that apply for one venue."""

    venue: Id = Field(examples=["hall-1"])
    products: Annotated[list[ApplicantIn], Field(min_length=1, max_length=BULK_MAX)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        seen: set[str] = set()
        for index, each in enumerate(self.products):
            if each.product in seen:
                at = ("products", index, "product")
                raise wrong("{product} comes twice: name each product once", at=at, product=repr(each.product))
            seen.add(each.product)
        return self


class CheckOut(BaseModel):
    """One entry condition, held against one product."""

    condition: Literal["rating_min", "stock_min", "margin_min", "price_min", "price_max"] = Field(
        examples=["stock_min"]
    )
    passed: bool = Field(examples=[False])
    value: float | None = Field(examples=[120], description="of the product; null: not given, which fails")
    bound: float = Field(examples=[200])

    @classmethod
    def of(cls, check: Check) -> Self:
        """As the core has it."""
        return cls.model_validate(
            {"condition": check.condition, "passed": check.passed, "value": check.value, "bound": check.bound}
        )


class ApplicantOut(BaseModel):
    """What became of one product."""

    product: str = Field(examples=["p-1001"])
    title: str = Field(examples=["Noise-cancelling earbuds"])
    passed: bool = Field(examples=[False], description="whether it meets every condition")
    approved: bool = Field(examples=[False])
    checks: list[CheckOut]


class ApplicationOut(BaseModel):
    """An application as it stands."""

    application: str = Field(examples=["1763740800123-9f2c1a7b"])
    venue: str = Field(examples=["hall-1"])
    merchant: str = Field(examples=["m-7"])
    at_ms: int = Field(examples=[1763740800123])
    state: Literal["waiting", "approved", "refused"] = Field(examples=["waiting"])
    note: str = Field(examples=["two more pictures, please"], description="of the operator who decided")
    decided_ms: int | None = Field(None, examples=[1763741800123])
    products: int = Field(examples=[1])
    passed: int = Field(examples=[0], description="products that met every condition when they applied")
    approved: int = Field(examples=[0], description="products that race by it")

    @classmethod
    def of(cls, kept: Application) -> Self:
        """As the store has it."""
        return cls(
            application=kept.id,
            venue=kept.venue,
            merchant=kept.merchant,
            at_ms=kept.at_ms,
            state=kept.state,
            note=kept.note,
            decided_ms=kept.decided_ms,
            products=kept.products,
            passed=kept.passed,
            approved=len(kept.approved),
        )


class ApplicationDetail(BaseModel):
    """An application with its products, each held against the conditions as they are now."""

    application: ApplicationOut
    products: list[ApplicantOut]

    @classmethod
    def of(cls, kept: Application, found: Sequence[tuple[Runner, list[Check]]]) -> Self:
        """As the store and the core have it."""
        return cls(
            application=ApplicationOut.of(kept),
            products=[
                ApplicantOut(
                    product=runner.product,
                    title=runner.title,
                    passed=all(check.passed for check in checks),
                    approved=runner.product in kept.approved,
                    checks=[CheckOut.of(check) for check in checks],
                )
                for runner, checks in found
            ],
        )


class ApplicationList(BaseModel):
    """A page of applications, the newest first."""

    applications: list[ApplicationOut]
    next_cursor: str | None = Field(None, description="as in the list of venues", examples=["1763740800123-9f2c1a7b"])


class DecisionIn(Strict):
    """What an operator decides of an application."""

    approve: bool = Field(examples=[True])
    note: str = Field("", max_length=500, examples=["welcome"])
    products: Annotated[list[Id], Field(min_length=1, max_length=BULK_MAX)] | None = Field(
        None, examples=[None], description="approve these alone; where absent, those that meet every condition"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.products is not None and not self.approve:
            raise wrong("has no effect on a refusal, which is of them all: leave it out", at=("products",))
        return self


class RuleInWords(BaseModel):
    """A rule in words."""

    title: str = Field(examples=["爆发"], description="of the phase; empty outside of phases")
    starts_ms: int | None = Field(None, examples=[1763744400000], description="null: it holds already")
    sentences: list[str] = Field(examples=[["The venue has 50 slots."]])


class WordsOut(BaseModel):
    """The rule in force, and that of the next phase, in one language."""

    venue: str = Field(examples=["hall-1"])
    language: Literal["zh", "en"] = Field(examples=["en"])
    rule_version: int = Field(examples=[3])
    now: RuleInWords
    next: RuleInWords | None = Field(
        None,
        examples=[{"title": "爆发", "starts_ms": 1763744400000, "sentences": ["The venue has 100 slots."]}],
        description="null: no phase is to come",
    )
