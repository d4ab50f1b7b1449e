"""Orders of the operators' desk (运营指令): what steers a board beside the scores, each with the time it holds for.

An order is a validated document under an id of its venue. A change of orders is one entry of the venue's log: it puts
some (new, or in place of those under the same ids) and withdraws others, at once, so that whatever is decided together
holds together. What a document says is checked here; what only a field of runners can tell is told by the board.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from racing.board_settings import SLOTS_MAX
from racing.documents import Strict, in_words, wrong, wrong_field
from racing.errors import OrderError, RuleError
from racing.model import ID_PATTERN
from racing.rule import Rule, parse_rule

ORDERS_MAX = 2000
"""Orders of a venue at most, those that no longer hold left out: all of them stand in every checkpoint."""
MOMENT_MAX_MS = 253_402_300_799_999
"""The end of the year 9999: what tools for dates can write."""

Id = Annotated[str, Field(pattern=ID_PATTERN)]
Moment = Annotated[int, Field(ge=0, le=MOMENT_MAX_MS)]


class _Order(Strict):
    """What all orders have: an id, and the time in which they hold."""

    id: Id = Field(description="the order's own id within its venue; putting another under it replaces it")
    start_ms: Moment | None = Field(None, description="holds from this moment of the log on; at once where not given")
    end_ms: Moment | None = Field(None, description="holds until just before this moment; for good where not given")
    active: bool = Field(default=True, description="false: kept, and without effect")
    note: str = Field("", max_length=500, description="why, in the operator's words")

    @model_validator(mode="after")
    def _ends_after_start(self) -> Self:
        if self.end_ms is not None and self.end_ms <= (self.start_ms or 0):
            raise wrong("must be after start_ms", at=("end_ms",))
        return self

    def holds(self, moment_ms: int) -> bool:
        """Whether it is in force at a moment: active, and within [start_ms, end_ms)."""
        started = self.start_ms is None or moment_ms >= self.start_ms
        return self.active and started and (self.end_ms is None or moment_ms < self.end_ms)


class Pin(_Order):
    """A product held at a slot (坑位锁定). hard: exactly there; soft: never below it, and higher by its own score."""

    kind: Literal["pin"]
    product: Id
    slot: int = Field(ge=1, le=SLOTS_MAX)
    hard: bool = True
    label: Literal["pinned", "paid"] = Field("pinned", description="what shoppers are told")


class Boost(_Order):
    """A factor on the scores of some runners (加权, below 1 打压): s*f for positive scores, s/f for negative ones."""

    kind: Literal["boost"]
    product: Id | None = None
    merchant: Id | None = None
    category: str | None = Field(None, min_length=1, max_length=64)
    tag: str | None = Field(None, min_length=1, max_length=64, description="an attribute of runners that is true")
    factor: float = Field(gt=0, le=100, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one_aim(self) -> Self:
        if sum(aim is not None for aim in (self.product, self.merchant, self.category, self.tag)) != 1:
            raise wrong("exactly one of product, merchant, category and tag says whom it means", at=("product",))
        return self


class Exclusion(_Order):
    """A product, or all of a merchant's, off the board (下架) while it holds; standings and counts go on."""

    kind: Literal["exclude"]
    product: Id | None = None
    merchant: Id | None = None
    reason: str = Field(min_length=1, max_length=200)
    withdrawn: bool = Field(default=False, description="its merchant or operator took it out of the race")

    @model_validator(mode="after")
    def _one_aim(self) -> Self:
        if (self.product is None) == (self.merchant is None):
            raise wrong("exactly one of product and merchant says whom it means", at=("product",))
        return self


class Freeze(_Order):
    """The board, or its first slots, as they stand when it begins (冻结)."""

    kind: Literal["freeze"]
    slots: int | None = Field(None, ge=1, le=SLOTS_MAX, description="the first so many; all where not given")


class Emergency(_Order):
    """The operators' own order of the board (应急榜), the race going on beneath."""

    kind: Literal["emergency"]
    products: list[Id] = Field(min_length=1, max_length=SLOTS_MAX)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for index, product in enumerate(self.products):
            if product in self.products[:index]:
                raise wrong("each product once", at=("products", index))
        return self


class Phase(_Order):
    """A stretch of the promotion (预热, 爆发, 返场) with its own rule and board settings, from start_ms on."""

    kind: Literal["phase"]
    title: str = Field(min_length=1, max_length=100)
    rule: dict[str, Any] = Field(description="the whole rule document of the phase")
    version: int = Field(ge=1, description="the rule version that it is kept under")
    formula: int = Field(1, ge=1, description="version of the scoring formula; 1 where not given")
    carry: float = Field(
        1.0,
        ge=0,
        le=1000,
        allow_inf_nan=False,
        description="weight of the opening order (entry score, the previous phase's totals) before there is evidence",
    )

    @model_validator(mode="after")
    def _has_start(self) -> Self:
        if self.start_ms is None:
            raise wrong("is required: a phase begins at a moment", at=("start_ms",))
        try:
            parse_rule(self.rule)
        except RuleError as exc:
            raise wrong("is no rule: {why}", at=("rule",), why=str(exc)) from exc
        return self

    def parsed(self) -> Rule:
        """Its rule."""
        return parse_rule(self.rule)


Order = Annotated[Pin | Boost | Exclusion | Freeze | Emergency | Phase, Field(discriminator="kind")]
ORDER_KINDS = ("pin", "boost", "exclude", "freeze", "emergency", "phase")
_documents: TypeAdapter[Order] = TypeAdapter(Order)


def parse_order(document: Any) -> Order:  # any JSON value may come in
    """The order in a JSON value.

    Raises OrderError, whose text names each wrong field, its value and what would be right.
    """
    try:
        return _documents.validate_python(document)
    except ValidationError as exc:
        fields = [wrong_field(error) for error in exc.errors()]
        raise OrderError(in_words(fields), fields) from exc
