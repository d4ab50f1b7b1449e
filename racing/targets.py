"""Targets of a venue (目标): sales = traffic x conversion x basket, wanted and reached, and which factor is short.

For the whole race, each phase and each source (entrance). Beside it what each slot brought (坑产), and how impressions
and sales are shared among merchants. Made from a race's own sums; nothing here changes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np
from pydantic import Field, ValidationError

from racing.documents import Strict, in_words, wrong_field
from racing.errors import DocumentError
from racing.model import IntArray
from racing.race import Race
from racing.sales import IMPRESSION, PAY, Takings, gini
from racing.sketch import ERROR

MERCHANTS_MAX = 100
"""Merchants that a report lists: those with the largest sales; the others count together in gini."""
FACTORS = ("traffic", "conversion", "basket")

Amount = Annotated[int, Field(ge=0, le=10**15)]


class TargetsError(DocumentError):
    """Targets that no race can reach or miss."""


class Target(Strict):
    """What is wanted; of what is not named only the actual figure is told. Money in minor units."""

    sales: Amount | None = Field(None, description="paid in all, minor units", examples=[50_000_000])
    traffic: Amount | None = Field(None, description="different users", examples=[200_000])
    conversion: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        None, description="different payers over different users", examples=[0.025]
    )
    basket: Amount | None = Field(None, description="paid per payer, minor units", examples=[10_000])


class Targets(Strict):
    """The targets of the whole venue, its phases by id, and its sources by name."""

    whole: Target = Target()
    phases: dict[str, Target] = Field(default={}, max_length=100)
    sources: dict[str, Target] = Field(default={}, max_length=100)


class Figure(msgspec.Struct, frozen=True):
    """One figure: the target, the actual one, and actual over target - 1. None where there is none."""

    target: float | None
    actual: float | None
    delta: float | None


class Reached(msgspec.Struct, frozen=True):
    """How far one venue, phase or source has come. short: the factor that is furthest below its target, if one is."""

    sales: Figure
    traffic: Figure
    conversion: Figure
    basket: Figure
    short: str | None
    payments: int
    refunded: int
    refunds: int
    impressions: int
    paid_per_1000_impressions: float | None


class SlotOutput(msgspec.Struct, frozen=True):
    """What a slot brought (坑产), of events that name their slot."""

    slot: int
    impressions: int
    paid: int
    paid_per_1000_impressions: float | None


class MerchantShare(msgspec.Struct, frozen=True):
    """A merchant's share of all impressions beside that of all sales, since the race began."""

    merchant: str
    impressions: int
    paid: int
    impressions_share: float | None
    paid_share: float | None


class Sharing(msgspec.Struct, frozen=True):
    """How impressions and sales are shared among all merchants: Gini, 0 for equal shares, towards 1 for all to one."""

    merchants: int
    impressions_gini: float | None
    paid_gini: float | None
    largest: list[MerchantShare]


class Report(msgspec.Struct, frozen=True):
    """Targets and what was reached. traffic_error: relative standard error of traffic; payers have it too."""

    traffic_error: float
    whole: Reached
    phases: dict[str, Reached]
    sources: dict[str, Reached]
    slots: list[SlotOutput]
    sharing: Sharing


def parse_targets(document: Any) -> Targets:
    """The targets in a JSON value. Raises TargetsError, which names each wrong field."""
    try:
        return Targets.model_validate(document)
    except ValidationError as exc:
        fields = [wrong_field(error) for error in exc.errors()]
        raise TargetsError(in_words(fields), fields) from exc


def report(race: Race, targets: Targets) -> Report:
    """How far a race has come. Cost: one pass over the totals of all runners, and one over each sketch."""
    sales = race.sales
    phases = dict.fromkeys([*targets.phases, *(phase for phase, _ in sales.rows if phase)])
    sources = dict.fromkeys([*targets.sources, *(source for _, source in sales.rows if source)])
    none = Target()
    return Report(
        traffic_error=ERROR,
        whole=_reached(sales.takings(), targets.whole),
        phases={phase: _reached(sales.takings(phase=phase), targets.phases.get(phase, none)) for phase in phases},
        sources={name: _reached(sales.takings(source=name), targets.sources.get(name, none)) for name in sources},
        slots=_slots(sales.slots),
        sharing=_sharing(race),
    )


def _reached(took: Takings, target: Target) -> Reached:
    """Each target beside what was reached, and the factor that is furthest below its own."""
    actual = {"traffic": took.traffic, "conversion": took.conversion, "basket": took.basket}
    figures = {name: _figure(getattr(target, name), actual[name]) for name in FACTORS}
    missing = {name: figure.delta for name, figure in figures.items() if figure.delta is not None and figure.delta < 0}
    return Reached(
        sales=_figure(target.sales, took.paid),
        **figures,
        short=min(missing, key=lambda name: missing[name] or 0.0) if missing else None,
        payments=took.payments,
        refunded=took.refunded,
        refunds=took.refunds,
        impressions=took.impressions,
        paid_per_1000_impressions=took.per_mille,
    )


def _figure(target: float | None, actual: float | None) -> Figure:
    return Figure(target, actual, actual / target - 1 if target and actual is not None else None)


def _slots(sums: Mapping[str, IntArray]) -> list[SlotOutput]:
    shown, paid = sums["slot_impressions"], sums["slot_paid"]
    return [
        SlotOutput(slot, int(shown[slot]), int(paid[slot]), _per_mille(int(paid[slot]), int(shown[slot])))
        for slot in np.flatnonzero((shown != 0) | (paid != 0)).tolist()
        if slot
    ]


def _per_mille(paid: int, impressions: int) -> float | None:
    return 1000 * paid / impressions if impressions else None


def _sharing(race: Race) -> Sharing:
    """How impressions and sales are spread over merchants."""
    words, owner = race.roster.words("merchant"), race.roster.codes("merchant")
    names = [""] if words is None else words.words
    shown, paid = np.zeros(len(names), np.int64), np.zeros(len(names), np.int64)
    totals = race.windows.total_rows(np.arange(len(owner)))
    np.add.at(shown, owner, totals[:, 2 * IMPRESSION])
    np.add.at(paid, owner, totals[:, 2 * PAY + 1])
    there = np.unique(owner)
    largest = there[np.lexsort((-shown[there], -paid[there]))][:MERCHANTS_MAX].tolist()
    all_shown, all_paid = int(shown.sum()), int(paid.sum())
    return Sharing(
        merchants=len(there),
        impressions_gini=gini(shown[there]),
        paid_gini=gini(paid[there]),
        largest=[
            MerchantShare(
                names[code],
                int(shown[code]),
                int(paid[code]),
                int(shown[code]) / all_shown if all_shown else None,
                int(paid[code]) / all_paid if all_paid else None,
            )
            for code in largest
        ],
    )
