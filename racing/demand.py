"""Made-up shoppers whose true demand is known: rates as curves, events as Poisson draws from them.

For demos, load tests and the choice of the default rule. A product's click rate is its popularity times
the venue's curve times its own surges; the later steps follow the clicks at their own conversion, orders
and payments after a pause. All steps are drawn independently at their rates, and where a product stands
on the board changes nothing: who wants position bias thins the events (``loadtests.watching`` does).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from racing.goods import Good, make_goods
from racing.model import FloatArray, IntArray

KINDS = ("impression", "click", "favorite", "cart", "order", "pay")
"""Event kinds that are drawn; ``Happened.kind`` is an index into them."""
CLICK, ORDER, PAY = KINDS.index("click"), KINDS.index("order"), KINDS.index("pay")

SLICE_MS = 1000
"""Rates are held for a slice, at their value in its middle; each slice and kind has its own generator."""
_PAUSE_MS = (0, 0, 0, 0, 20_000, 30_000)
"""How long after its click a step of each kind comes. A guess: someone who knows what he wants."""
_GOODS, _SHOPPERS, _SURGES, _EVENTS = range(4)
_MINUTE_MS = 60_000

Curve = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class SurgeStyle:
    """How one sort of surge runs: (least, most) of each number, drawn evenly.

    share: of all surges. rise_s, hold_s, fall_s: seconds. clicks, conversion: factors at its height.
    """

    share: float
    rise_s: tuple[float, float]
    hold_s: tuple[float, float]
    fall_s: tuple[float, float]
    clicks: tuple[float, float]
    conversion: tuple[float, float] = (1.0, 1.0)

    @property
    def longest_ms(self) -> float:
        """The most that one of them lasts."""
        return 1000 * (self.rise_s[1] + self.hold_s[1] + self.fall_s[1])


STYLES = (
    SurgeStyle(0.40, (10, 30), (60, 240), (60, 180), (4, 12)),  # takes off for some minutes
    SurgeStyle(0.25, (180, 600), (120, 300), (180, 300), (3, 8), (1.0, 1.3)),  # a slow ramp
    SurgeStyle(0.10, (1, 3), (60, 180), (2, 6), (5, 15), (2.0, 3.0)),  # a flash price drop: bought at once
    SurgeStyle(0.25, (10, 30), (60, 180), (30, 90), (5, 15), (0.1, 0.3)),  # talked about: looked at, not bought
)
"""Guesses at what a promotion night has; what matters is that no single signal tells them apart."""


@dataclass(frozen=True, slots=True)
class Market:
    """The numbers of one made-up market; every one a guess unless it says otherwise.

    clicks_per_s: all products together, at curve 1 and without surges. spread: sigma of the lognormal
    popularity (1.2: the best tenth has nearly half of all clicks). curve, conversion_curve: (minutes from the
    opening, factor), straight lines between, flat outside. surges_per_min: in the venue; pace: how much
    faster than STYLES they run. newcomers: share of products that begin at zero, newcomer_boost times as
    popular as others, born within newcomer_min minutes from the opening.
    """

    clicks_per_s: float = 150.0
    impressions_per_click: float = 8.0
    orders_per_click: float = 0.04
    spread: float = 1.2
    users: int = 50_000
    curve: Curve = ((0.0, 1.0),)
    conversion_curve: Curve = ((0.0, 1.0),)
    surges_per_min: float = 3.0
    pace: float = 1.0
    newcomers: float = 0.03
    newcomer_boost: float = 4.0
    newcomer_min: tuple[float, float] = (-90.0, 30.0)


PROMOTION = Market(
    curve=((-10, 1.0), (-0.01, 1.6), (0, 10.0), (3, 10.0), (10, 6.0), (14, 2.5), (30, 1.2)),
    conversion_curve=((-30, 1.0), (-2, 0.5), (-0.01, 0.5), (0, 1.6), (5, 1.6), (15, 1.0)),
)
"""A promotion night: calm, carts filled and orders held back before 00:00, ten times the shoppers in the
first minutes, the ebb ten minutes later. The opening is 00:00."""

DEMO = Market(
    clicks_per_s=42.0,
    impressions_per_click=3.0,
    orders_per_click=0.12,
    spread=0.6,
    users=5_000,
    surges_per_min=20.0,
    pace=5.0,
    newcomer_boost=2.0,
    newcomer_min=(0.5, 8.0),
)
"""A venue that never ends: a product takes off every three seconds, so that the order visibly changes."""


@dataclass(frozen=True, slots=True)
class Happened:
    """Drawn events as columns of one length, by time. kind: index into KINDS. product: index of the good.

    amount: minor units, 0 for kinds without one. serial: names the event, unique for one seed.
    """

    kind: IntArray
    product: IntArray
    time_ms: IntArray
    amount: IntArray
    user: IntArray
    serial: IntArray

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, where: IntArray) -> Happened:
        """The events at these places, in this order."""
        return Happened(*(getattr(self, name)[where] for name in self.__slots__))


class Demand:
    """Products with known demand. The same seed gives the same goods, curves and events (under one numpy)."""

    def __init__(self, products: int, seed: int, *, opening_ms: int, market: Market = PROMOTION) -> None:
        self.seed, self.opening_ms, self.market = seed, opening_ms, market
        self.goods: tuple[Good, ...] = make_goods(products, np.random.default_rng([seed, _GOODS]))
        self.price: IntArray = np.array([good.price for good in self.goods], np.int64)
        rng = np.random.default_rng([seed, _SHOPPERS])
        popularity = rng.lognormal(0.0, market.spread, products)
        late = rng.random(products) < market.newcomers
        born_min = np.where(late, rng.uniform(*market.newcomer_min, products), -np.inf)
        self._born_ms = opening_ms + born_min * _MINUTE_MS
        popularity *= np.where(late, market.newcomer_boost, 1.0)
        self._clicks = market.clicks_per_s * popularity / popularity.sum()
        self._per_click = self._conversions(rng)
        self._surge_odds = np.cumsum(np.sqrt(popularity))  # known products take off more often, but not only they
        self._surges: dict[int, FloatArray] = {}

    def _conversions(self, rng: np.random.Generator) -> FloatArray:
        """Events of each kind per click, float64 (kinds, products); the products differ by lognormal factors."""
        market, products = self.market, len(self.goods)
        means = (
            market.impressions_per_click,
            1.0,
            0.06,
            2.5 * market.orders_per_click,
            market.orders_per_click,
            0.9,
        )
        spreads = (0.3, 0.0, 0.5, 0.2, 0.5, 0.0)
        drawn = [m * rng.lognormal(-s * s / 2, s, products) for m, s in zip(means, spreads, strict=True)]
        drawn[PAY] *= drawn[ORDER]
        return np.stack(drawn)

    # -- true curves ---------------------------------------------------------------------------------

    def rate(self, t_ms: float) -> FloatArray:
        """Expected events per second at this moment, float64 (kinds, products)."""
        rates = np.empty_like(self._per_click)
        for pause_ms in sorted(set(_PAUSE_MS)):
            clicks, conversion = self._attraction(t_ms - pause_ms)
            for kind, pause in enumerate(_PAUSE_MS):
                if pause == pause_ms:
                    rates[kind] = clicks * self._per_click[kind]
                    if kind >= ORDER:
                        # what the whole venue waits for happens at its moment; a product's own offer, after the pause
                        rates[kind] *= conversion * self._on(self.market.conversion_curve, t_ms)
        return rates

    def money(self, t_ms: float) -> FloatArray:
        """Expected payments per second at this moment in minor units, float64 (products,)."""
        money: FloatArray = self.rate(t_ms)[PAY] * self.price
        return money

    def _attraction(self, t_ms: float) -> tuple[FloatArray, FloatArray]:
        """Clicks per second and what the surges do to the conversion, each float64 (products,)."""
        clicks = self._clicks * self._on(self.market.curve, t_ms)
        clicks *= np.clip((t_ms - self._born_ms) / _MINUTE_MS, 0.0, 1.0)
        conversion = np.ones(len(clicks))
        product, start, rise, hold, fall, click_factor, conversion_factor = self._surges_at(t_ms).T
        since = t_ms - start
        shape = np.clip(np.minimum(since / rise, (rise + hold + fall - since) / fall), 0.0, 1.0)
        index = product.astype(np.int64)
        np.multiply.at(clicks, index, 1.0 + (click_factor - 1.0) * shape)
        np.multiply.at(conversion, index, 1.0 + (conversion_factor - 1.0) * shape)
        return clicks, conversion

    def _on(self, curve: Curve, t_ms: float) -> float:
        minutes, factors = zip(*curve, strict=True)
        return float(np.interp((t_ms - self.opening_ms) / _MINUTE_MS, minutes, factors))

    def _surges_at(self, t_ms: float) -> FloatArray:
        """Surges that may run at this moment, one a row: product, start, rise, hold, fall (ms), two factors."""
        longest_ms = max(style.longest_ms for style in STYLES) / self.market.pace
        first, last = int((t_ms - longest_ms) // _MINUTE_MS), int(t_ms // _MINUTE_MS)
        self._surges = {minute: rows for minute, rows in self._surges.items() if minute >= first - 2}
        for minute in range(max(first, 0), last + 1):
            if minute not in self._surges:
                self._surges[minute] = self._draw_surges(minute)
        found = [self._surges[minute] for minute in range(max(first, 0), last + 1)]
        return np.concatenate([np.empty((0, 7)), *found])

    def _draw_surges(self, minute: int) -> FloatArray:
        """The surges that begin in a minute, a row each; the same whatever else is drawn."""
        rng = np.random.default_rng([self.seed, _SURGES, minute])
        count = int(rng.poisson(self.market.surges_per_min))
        product = _chosen(self._surge_odds, count, rng)
        start = (minute + rng.random(count)) * _MINUTE_MS
        shares = np.cumsum([style.share for style in STYLES])
        style = np.searchsorted(shares, rng.random(count) * shares[-1])
        columns = [product.astype(np.float64), start]
        for name in ("rise_s", "hold_s", "fall_s", "clicks", "conversion"):
            low, high = np.array([getattr(each, name) for each in STYLES], np.float64)[style].T
            scale = 1000.0 / self.market.pace if name.endswith("_s") else 1.0
            columns.append(rng.uniform(low, high) * scale)
        return np.stack(columns, axis=1)

    # -- events --------------------------------------------------------------------------------------

    def events(self, start_ms: int, end_ms: int, *, kinds: Sequence[str] = KINDS) -> Happened:
        """What happens in [start_ms, end_ms), sorted by time; only these kinds.

        The same events however a stretch of time is cut and whatever other kinds are asked for: each slice
        and kind is drawn from its own generator. Cost: O(products + events) per slice touched, even in part.
        """
        chosen = [KINDS.index(kind) for kind in kinds]
        drawn = [
            self._draw(slice_, kind, rates[kind])
            for slice_ in range(start_ms // SLICE_MS, -(-end_ms // SLICE_MS))
            for rates in (self.rate((slice_ + 0.5) * SLICE_MS),)
            for kind in chosen
        ]
        columns = [np.concatenate(column) for column in zip(*drawn, strict=True)] or [np.empty(0, np.int64)] * 6
        happened = Happened(*columns)
        within = np.flatnonzero((happened.time_ms >= start_ms) & (happened.time_ms < end_ms))
        order = np.lexsort((happened.serial[within], happened.time_ms[within]))
        return happened.take(within[order])

    def _draw(self, slice_: int, kind: int, rates: FloatArray) -> tuple[IntArray, ...]:
        """The events of one kind in one slice of time; the same whatever else is drawn."""
        rng = np.random.default_rng([self.seed, _EVENTS, slice_, kind])
        upto = np.cumsum(rates)
        count = int(rng.poisson(upto[-1] * SLICE_MS / 1000))
        product = _chosen(upto, count, rng)
        time_ms = slice_ * SLICE_MS + rng.integers(0, SLICE_MS, count)
        amount = self.price[product] if kind >= ORDER else np.zeros(count, np.int64)
        serial = ((slice_ * len(KINDS) + kind) << 20) + np.arange(count)
        return (
            np.full(count, kind, np.int64),
            product,
            time_ms,
            amount,
            rng.integers(0, self.market.users, count),
            serial,
        )


def _chosen(upto: FloatArray, count: int, rng: np.random.Generator) -> IntArray:
    """count indexes, each drawn with its share of the cumulative weights upto; never one of weight 0."""
    chosen: IntArray = np.searchsorted(upto[:-1], rng.random(count) * upto[-1], side="right").astype(np.int64)
    return chosen
