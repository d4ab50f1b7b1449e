"""Board settings of a rule (坑位规则): how scores become slots, beside the orders of the desk."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from racing.badge_settings import BadgeSettings
from racing.documents import NAME_PATTERN, Strict, worded, wrong
from racing.model import ID_PATTERN

SLOTS_MAX = 1000
"""Slots of a board at most."""
SLOTS_PATTERN = worded(
    r"^\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?){0,99}$", 'must be slots and ranges of them, as "1-4,9"'
)
WORDS_OF_RUNNERS = ("merchant", "category", "series", "tier")
"""What every runner can be grouped by; attributes that are texts or true serve as well."""

By = Annotated[
    str,
    Field(
        pattern=ID_PATTERN, description="merchant, category, series, tier, or an attribute of runners: a text or a tag"
    ),
]
Word = Annotated[str, Field(min_length=1, max_length=64)]
Part = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Cap(Strict):
    """At most so many of one merchant, category, series or other word within any so many consecutive slots (打散)."""

    by: By
    most: int = Field(ge=1, le=SLOTS_MAX, description="slots that one of them may have")
    within: int | None = Field(
        None, ge=2, le=SLOTS_MAX, description="in any so many consecutive slots; in the whole board where not given"
    )

    @model_validator(mode="after")
    def _can_bind(self) -> Self:
        if self.within is not None and self.most >= self.within:
            raise wrong("has no effect unless it is less than within = {within}", at=("most",), within=self.within)
        return self

    @property
    def text(self) -> str:
        """The cap in words."""
        return f"{self.most} per {self.by}" + ("" if self.within is None else f" within {self.within}")


class Tier(Strict):
    """Slots kept for products of one tier (引流款, 主推款, 利润款, 常规款)."""

    tier: Word = Field(description="the tier of the runners, as given at enrolment")
    slots: str = Field(pattern=SLOTS_PATTERN, description='slots from 1, for example "1-4,9"')

    @field_validator("slots")
    @classmethod
    def _in_order(cls, slots: str) -> str:
        for part in slots.split(","):
            first, _, last = part.partition("-")
            if not 1 <= int(first) <= int(last or first) <= SLOTS_MAX:
                raise ValueError(f"{part!r} is no stretch of slots from 1 to {SLOTS_MAX}")
        return slots

    def numbers(self) -> set[int]:
        """The slots, counted from 1."""
        parts = (part.partition("-") for part in self.slots.split(","))
        return {slot for first, _, last in parts for slot in range(int(first), int(last or first) + 1)}


class Share(Strict):
    """A least and a greatest share of the board for one category, merchant or other word (配比)."""

    by: By
    value: Word = Field(description="the category, merchant or other word that is meant; true for a tag")
    min: Part | None = Field(None, description="of the slots, rounded up")
    max: Part | None = Field(None, description="of the slots, rounded down")

    @model_validator(mode="after")
    def _can_bind(self) -> Self:
        if self.min is None and self.max is None:
            raise wrong("one of min and max is required", at=("min",))
        if self.min is not None and self.max is not None and self.min > self.max:
            raise wrong("must be at most max = {max}", at=("min",), max=self.max)
        return self

    @property
    def text(self) -> str:
        """Whose share it is, in words."""
        return f"{self.by} {self.value}"


class Newcomers(Strict):
    """A least share of the board for products that have joined lately (新品)."""

    share: float = Field(gt=0, le=1, allow_inf_nan=False, description="of the slots, rounded up")
    for_s: int = Field(ge=1, le=30 * 86400, description="how long after joining a product is new")


class Stock(Strict):
    """What becomes of a product that is sold out (售罄): its stated stock is 0."""

    policy: Literal["drop", "sink", "keep"] = Field(
        description="drop: off the board; sink: behind all others; keep: in its place, with the badge"
    )
    badge: str = Field("sold_out", pattern=NAME_PATTERN, description="label of sold-out products that are shown")


class Stability(Strict):
    """How a challenger passes who stands above it on the board: by a margin, or by leading for long enough.

    The margin is the greater of margin and noise_units. Looked at every 500 ms of log time.
    """

    margin: float = Field(0, ge=0, le=1e9, allow_inf_nan=False, description="in points of score")
    noise_units: float = Field(
        0, ge=0, le=10, allow_inf_nan=False, description="in deviations of the difference that chance alone makes"
    )
    lead_s: float | None = Field(
        None, ge=0.5, le=3600, allow_inf_nan=False, description="passes after so long a lead, however small"
    )

    @model_validator(mode="after")
    def _can_bind(self) -> Self:
        if not self.margin > 0 and not self.noise_units > 0:
            raise wrong("one of margin and noise_units must be more than 0", at=("margin",))
        return self

    @property
    def lead_ms(self) -> int | None:
        """The lead that suffices, ms; None where none does."""
        return None if self.lead_s is None else round(1000 * self.lead_s)


class Boosts(Strict):
    """Bounds of what boosts may do to a score, whatever was ordered."""

    floor: float = Field(0.01, gt=0.001, le=1, allow_inf_nan=False, description="least factor")
    cap: float = Field(100, ge=1, le=100, allow_inf_nan=False, description="greatest factor")


class BoardSettings(Strict):
    """How scores become slots."""

    slots: int = Field(50, ge=1, le=SLOTS_MAX, description="slots (坑位) of the venue page")
    boosts: Boosts | None = Field(None, description="bounds of boosts; 0.01 to 100 where not given")
    stock: Stock | None = Field(None, description="what becomes of sold-out products; nothing where not given")
    stability: Stability | None = Field(None, description="how challengers pass; by any lead where not given")
    newcomers: Newcomers | None = Field(None, description="a least share for new products")
    caps: list[Cap] | None = Field(
        None, max_length=8, description="the most important first: where not all can be met, the last gives way first"
    )
    shares: list[Share] | None = Field(None, max_length=32, description="least and greatest shares of the board")
    tiers: list[Tier] | None = Field(None, max_length=16, description="slots kept for products of a tier")
    badges: BadgeSettings | None = Field(None, description="what shoppers are told of products; the defaults if absent")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Tiers have slots that there are, each slot one tier; least shares fit on the board together."""
        taken: dict[int, int] = {}
        for index, tier in enumerate(self.tiers or ()):
            for slot in sorted(tier.numbers()):
                if slot > self.slots:
                    raise wrong(
                        "slot {slot} is beyond the board's {slots}",
                        at=("tiers", index, "slots"),
                        slot=slot,
                        slots=self.slots,
                    )
                if slot in taken:
                    raise wrong(
                        "slot {slot} is kept for tiers[{other}] already",
                        at=("tiers", index, "slots"),
                        slot=slot,
                        other=taken[slot],
                    )
                taken[slot] = index
        least = sum(share.min or 0 for share in self.shares or ())
        if least > 1:
            raise wrong(
                "the least shares add up to {least}, more than the whole board", at=("shares",), least=f"{least:.15g}"
            )
        return self

    @property
    def plain(self) -> bool:
        """Whether the board is the standings, but for orders."""
        return not (self.stability or self.newcomers or self.caps or self.shares or self.tiers)

    @property
    def remembers(self) -> bool:
        """Whether steps of the board remember something, on the grid of log time."""
        return self.stability is not None or self.newcomers is not None
