"""Chooses the default rule: candidates race on made-up evenings whose true demand is known.

    python -m loadtests.rules [--seeds 3] [--products 2000] [--position-bias] [--json] (--help says more)

Each candidate folds the same events through ``racing.race.Race``, without Redis, and its board is looked at
every 10 s. What a board is worth is read from the true curves of ``racing.demand``, not from the events:
payments expected over the minute after the look, of the products in its 50 slots, over the same for the best
50 there are. The minute after, because that is when the board is seen; payments, because what a slot earns
(坑产) is what a venue is judged by. Orders are shown beside it, so that a rule which only sorts by price is
seen through. docs/rule-guide.md has the table and what was learnt from it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from racing.demand import KINDS, ORDER, PAY, PROMOTION, Demand, Market
from racing.entries import Enrolment, Entry, RuleChange, Runner
from racing.events import EventBatch
from racing.model import FloatArray, IntArray, Position
from racing.race import Race
from racing.rule import DEFAULT_RULE, Rule, parse_rule

BoolArray = npt.NDArray[np.bool_]

LOOK_MS = 10_000
_LOOKS_PER_MIN = 60_000 // LOOK_MS
OPENING_MS = 1_762_790_400_000
"""2025-11-11 00:00 in China (UTC+8); any other moment gives the same figures but for chance."""
WARM_UP_MIN = 20.0
"""Traffic folded before the first look that counts: window and base of the longest candidate."""
_FOLDED = ("click", "order", "pay")
_STAY, _ABSENCE = _LOOKS_PER_MIN, 5 * _LOOKS_PER_MIN
"""A product takes off when it enters the true best for a minute at least, after five minutes outside."""
_ELSEWHERE = 0.15


@dataclass(frozen=True, slots=True)
class Scene:
    """A stretch of the evening, in minutes from 00:00, with the calm hour's clicks per second."""

    name: str
    start_min: float
    end_min: float
    clicks_per_s: float = PROMOTION.clicks_per_s


SCENES = (
    Scene("calm", -85, -25),
    Scene("burst", -5, 10),
    Scene("ebb", 10, 30),
    Scene("thin", -85, -25, clicks_per_s=PROMOTION.clicks_per_s / 10),
)
"""The calm hour, 23:55-00:10, 00:10-00:30, and the calm hour of a venue with a tenth of the shoppers."""


# -- candidates --------------------------------------------------------------------------------------


def _term(metric: str, signal: str, weight: float = 1.0, *, tide: bool | None = None) -> dict[str, Any]:
    term: dict[str, Any] = {"metric": metric, "signal": signal, "weight": weight}
    return term if tide is None else {**term, "prior": 10.0, "tide": tide}


def _rule(*terms: dict[str, Any], window_s: int = 300) -> Rule:
    metrics = {
        "click": {"event": "click"},
        "order": {"event": "order"},
        "pay_amount": {"event": "pay", "sum": "amount"},
    }
    used = {name for term in terms for name in term.get("ratio", [term.get("metric")])}
    metrics = {name: metric for name, metric in metrics.items() if name in used}
    return parse_rule({"window_s": window_s, "bucket_s": 10, "metrics": metrics, "terms": list(terms)})


def candidates() -> dict[str, Rule]:
    """The rules that race, by the name they have in the table."""
    surges = [("click", 1.0), ("order", 1.0), ("pay_amount", 2.0)]
    order_rate = {"ratio": ["order", "click"], "signal": "rate", "weight": 20.0, "prior": 50.0}
    sketch = [
        _term("click", "surge", tide=True),
        _term("order", "root", 0.3),
        _term("pay_amount", "surge", 2.0, tide=True),
        order_rate,
    ]
    roots = [_term("click", "root", 0.3), _term("order", "root", 0.5), _term("pay_amount", "root", 1.0)]
    named = {
        "level of clicks": _rule(_term("click", "level")),
        "level of orders": _rule(_term("order", "level")),
        "level of payments": _rule(_term("pay_amount", "level")),
        "uplift of orders (seed rule)": _rule(_term("order", "uplift")),
        "growth of orders": _rule(_term("order", "growth")),
        "surges 1:1:2, no tide": _rule(*(_term(metric, "surge", w, tide=False) for metric, w in surges)),
        "surges 1:1:2, tide": _rule(*(_term(metric, "surge", w, tide=True) for metric, w in surges)),
        "root of orders": _rule(_term("order", "root")),
        "first sketch (design.md)": _rule(*sketch),
        "first sketch, 120 s": _rule(*sketch, window_s=120),
        "first sketch, 600 s": _rule(*sketch, window_s=600),
        "roots 0.3:0.5:1": _rule(*roots),
    }
    for weight in (0.1, 0.2, 0.4):
        named[f"roots + {weight} click surge"] = _rule(*roots, _term("click", "surge", weight, tide=True))
    rising = [*roots, _term("click", "surge", 0.2, tide=True)]
    named |= {
        "roots + 0.2 click surge, no tide": _rule(*roots, _term("click", "surge", 0.2, tide=False)),
        "roots + 0.2 click surge, 120 s": _rule(*rising, window_s=120),
        "roots + 0.2 click surge, 600 s": _rule(*rising, window_s=600),
        "roots + 0.2 click, 0.2 pay surge": _rule(*rising, _term("pay_amount", "surge", 0.2, tide=True)),
        "roots + 0.2 click surge, rate 20": _rule(*rising, order_rate),
    }
    if DEFAULT_RULE not in named.values():
        named["default (racing.rule)"] = DEFAULT_RULE
    return named


# -- one evening -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Evening:
    """Drawn events and true demand, look by look; the same for every candidate.

    moments_ms: the looks; a look sees what happened before it. events: (kind, product, time, amount, chance)
    of the 10 s before each look; chance is uniform in [0, 1). money, orders: float64 (looks, products), what
    is expected per second over the minute after each look.
    """

    products: tuple[str, ...]
    moments_ms: tuple[int, ...]
    events: tuple[tuple[IntArray, IntArray, IntArray, IntArray, FloatArray], ...]
    money: FloatArray
    orders: FloatArray

    def looks(self, scene: Scene) -> BoolArray:
        """Which looks belong to a scene, bool (looks,)."""
        minutes = (np.array(self.moments_ms) - OPENING_MS) / 60_000
        return (minutes > scene.start_min) & (minutes <= scene.end_min)


def make_evening(
    products: int,
    seed: int,
    scenes: Sequence[Scene],
    *,
    warm_up_min: float = WARM_UP_MIN,
    market: Market = PROMOTION,
) -> Evening:
    """The evening that holds these scenes (all with the same clicks_per_s), from the warm-up on."""
    market = replace(market, clicks_per_s=scenes[0].clicks_per_s)
    demand = Demand(products, seed, opening_ms=OPENING_MS, market=market)
    start_ms = OPENING_MS + int(60_000 * (min(scene.start_min for scene in scenes) - warm_up_min))
    end_ms = OPENING_MS + int(60_000 * max(scene.end_min for scene in scenes))
    moments = range(start_ms + LOOK_MS, end_ms + 1, LOOK_MS)
    middles = range(start_ms + LOOK_MS + LOOK_MS // 2, end_ms + 60_000, LOOK_MS)
    rates = np.stack([demand.rate(middle)[[ORDER, PAY]] for middle in middles])
    after = np.stack([rates[i : i + _LOOKS_PER_MIN].mean(axis=0) for i in range(len(moments))])
    return Evening(
        products=tuple(good.product for good in demand.goods),
        moments_ms=tuple(moments),
        events=tuple(_drawn(demand, moment) for moment in moments),
        money=after[:, 1] * demand.price,
        orders=after[:, 0],
    )


def _drawn(demand: Demand, moment_ms: int) -> tuple[IntArray, IntArray, IntArray, IntArray, FloatArray]:
    happened = demand.events(moment_ms - LOOK_MS, moment_ms, kinds=_FOLDED)
    chance = np.random.default_rng([demand.seed, moment_ms]).random(len(happened))
    return happened.kind, happened.product, happened.time_ms, happened.amount, chance


# -- one candidate on one evening --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Watched:
    """The boards of one candidate: runner numbers, int64 (looks, slots), and how many had no events."""

    boards: IntArray
    idle: IntArray


def watch(rule: Rule, evening: Evening, *, position_bias: bool = False) -> Watched:
    """Fold an evening under a rule and keep the board of each look.

    With position_bias each event is kept with the attention of the slot in which its product stood at the
    look before: what a board shows then sells more, and what it sells keeps it there.
    """
    race = Race()
    race.apply(_opening(rule, evening))
    slots = min(rule.board.slots, len(evening.products))
    attention = _attention(np.arange(slots) + 1)
    seen = np.full(len(evening.products), _ELSEWHERE if position_bias else 1.0)
    boards = np.empty((len(evening.moments_ms), slots), np.int64)
    idle = np.empty(len(boards), np.int64)
    for look, moment_ms in enumerate(evening.moments_ms):
        batch = _batch(evening, look, seen)
        if len(batch):
            race.apply([Entry(Position(moment_ms - 1, 0), batch)])
        board: IntArray = np.array([slot.runner for slot in race.slots()], np.int64)
        boards[look] = board
        sums = race.sums(board)
        idle[look] = ((sums.window.sum(axis=1) + sums.base_tenths.sum(axis=1)) == 0).sum()
        if position_bias:
            seen[:] = _ELSEWHERE
            seen[board] = attention
    return Watched(boards, idle)


def _opening(rule: Rule, evening: Evening) -> Iterator[Entry]:
    at_ms = evening.moments_ms[0] - LOOK_MS - 1
    runners = [(number, Runner(product, "merchant", product)) for number, product in enumerate(evening.products)]
    yield Entry(Position(at_ms, 0), RuleChange(1, rule.model_dump(mode="json", exclude_none=True)))
    yield Entry(Position(at_ms, 1), Enrolment(runners))


def _batch(evening: Evening, look: int, seen: FloatArray) -> EventBatch:
    kind, product, time_ms, amount, chance = evening.events[look]
    kept = np.flatnonzero(chance < seen[product])
    return EventBatch(KINDS, kind[kept], product[kept], time_ms[kept], amount=amount[kept])


def _attention(slot: IntArray) -> FloatArray:
    """How likely a slot is looked at, the first being 1; a guess at a page that is scrolled: 0.31 at slot 50."""
    return slot.astype(np.float64) ** -0.3


# -- figures -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Figures:
    """What a candidate did in a scene; means over its looks.

    money, orders: true demand shown over the best possible. joined: share of the slots whose product was
    not on the board at the look before; moved: share of the slots that hold another product than before.
    found_s: seconds from a product's take-off until it is on the board, at most its stay; None without
    take-offs. idle: slots given to products without events in both windows.
    """

    money: float
    orders: float
    joined: float
    moved: float
    found_s: float | None
    idle: float


def figures(watched: Watched, evening: Evening, scene: Scene) -> Figures:
    """The figures of one scene."""
    boards, looks = watched.boards, evening.looks(scene)
    shown = np.zeros(evening.money.shape, np.bool_)
    np.put_along_axis(shown, boards, values=True, axis=1)
    joined, moved = np.zeros(len(boards)), np.zeros(len(boards))
    joined[1:] = (shown[1:] & ~shown[:-1]).sum(axis=1) / boards.shape[1]
    moved[1:] = (boards[1:] != boards[:-1]).mean(axis=1)
    waits = [wait for start, wait in _waits(shown, evening.money, boards.shape[1]) if looks[start]]
    return Figures(
        money=_share(evening.money, boards)[looks].mean(),
        orders=_share(evening.orders, boards)[looks].mean(),
        joined=joined[looks].mean(),
        moved=moved[looks].mean(),
        found_s=float(np.mean(waits)) * LOOK_MS / 1000 if waits else None,
        idle=watched.idle[looks].mean(),
    )


def _share(truth: FloatArray, boards: IntArray) -> FloatArray:
    best = -np.partition(-truth, boards.shape[1] - 1, axis=1)[:, : boards.shape[1]]
    shares: FloatArray = np.take_along_axis(truth, boards, axis=1).sum(axis=1) / best.sum(axis=1)
    return shares


def _waits(shown: BoolArray, truth: FloatArray, slots: int) -> Iterator[tuple[int, int]]:
    """(look at which a product takes off, looks until it is shown), for every take-off."""
    best = np.zeros(truth.shape, np.bool_)
    np.put_along_axis(best, np.argpartition(-truth, slots - 1, axis=1)[:, :slots], values=True, axis=1)
    for product in np.flatnonzero(best.any(axis=0)):
        for start, end in _stays(best[:, product]):
            found = np.flatnonzero(shown[start:end, product])
            yield start, int(found[0]) if len(found) else end - start


def _stays(inside: BoolArray) -> Iterator[tuple[int, int]]:
    """[start, end) of the stays that follow a long absence and last."""
    turns = np.flatnonzero(np.diff(inside)) + 1
    edges = [0, *turns.tolist(), len(inside)]
    for (before, start), (_, end) in pairwise(pairwise(edges)):
        if inside[start] and start - before >= _ABSENCE and end - start >= _STAY:
            yield start, end


# -- all of them -------------------------------------------------------------------------------------

Results = dict[str, dict[str, Figures]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is compared: rules by name, scenes, and how."""

    rules: Mapping[str, Rule]
    scenes: tuple[Scene, ...] = SCENES
    seeds: int = 3
    products: int = 2000
    warm_up_min: float = WARM_UP_MIN
    position_bias: bool = False
    market: Market = PROMOTION


def compare(plan: Plan, *, console: Console | None = None) -> Results:
    """Figures per rule and scene, the median over the seeds of each."""
    found: dict[tuple[str, str], list[Figures]] = {}
    for seed in range(1, plan.seeds + 1):
        for clicks_per_s in sorted({scene.clicks_per_s for scene in plan.scenes}):
            scenes = [scene for scene in plan.scenes if scene.clicks_per_s == clicks_per_s]
            evening = make_evening(plan.products, seed, scenes, warm_up_min=plan.warm_up_min, market=plan.market)
            for name, rule in plan.rules.items():
                if console is not None:
                    console.print(f"seed {seed} of {plan.seeds}, {clicks_per_s:g} clicks/s: {name}", style="dim")
                watched = watch(rule, evening, position_bias=plan.position_bias)
                for scene in scenes:
                    found.setdefault((name, scene.name), []).append(figures(watched, evening, scene))
    return {name: {scene.name: _median(found[name, scene.name]) for scene in plan.scenes} for name in plan.rules}


def _median(several: Sequence[Figures]) -> Figures:
    rows = [asdict(each) for each in several]
    return Figures(**{name: _middle(row[name] for row in rows) for name in rows[0]})


def _middle(values: Iterable[float | None]) -> Any:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def overall(by_scene: Mapping[str, Figures]) -> Figures:
    """The combined view: the mean over the scenes of every figure."""
    rows = [asdict(each) for each in by_scene.values()]
    return Figures(**{name: _mean([row[name] for row in rows if row[name] is not None]) for name in rows[0]})


def _mean(values: Sequence[float]) -> Any:
    return float(np.mean(values)) if values else None


def as_table(results: Results, rules: Mapping[str, Rule]) -> Table:
    """The figures for people: payments per scene, then the means over the scenes."""
    scenes = list(next(iter(results.values())))
    table = Table(title="true demand shown by the slots over the best possible, and how the board moves")
    table.add_column("rule (* = default)")
    for heading in (*scenes, "money", "orders", "joined", "moved", "found s", "idle"):
        table.add_column(heading, justify="right")
    for name, by_scene in results.items():
        mean = overall(by_scene)
        table.add_row(
            f"{name} *" if rules[name] == DEFAULT_RULE else name,
            *(f"{by_scene[scene].money:.3f}" for scene in scenes),
            *(f"{value:.3f}" for value in (mean.money, mean.orders, mean.joined, mean.moved)),
            "-" if mean.found_s is None else f"{mean.found_s:.0f}",
            f"{mean.idle:.1f}",
        )
    return table


def as_json(results: Results, plan: Plan) -> dict[str, Any]:
    """The figures for machines, with all that is needed to get them again."""
    return {
        "seeds": plan.seeds,
        "products": plan.products,
        "position_bias": plan.position_bias,
        "market": asdict(plan.market),
        "scenes": [asdict(scene) for scene in plan.scenes],
        "rules": [
            {
                "name": name,
                "default": plan.rules[name] == DEFAULT_RULE,
                "rule": plan.rules[name].model_dump(mode="json", exclude_none=True),
                "scenes": {scene: asdict(each) for scene, each in by_scene.items()},
                "overall": asdict(overall(by_scene)),
            }
            for name, by_scene in results.items()
        ],
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.rules", description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--seeds", type=int, default=3, help="evenings; figures are medians over them (3)")
    add("--products", type=int, default=2000, help="products in the venue (2000)")
    add("--position-bias", action="store_true", help="a slot's attention decides what its product sells")
    add("--spread", type=float, default=PROMOTION.spread, help=f"of the popularity ({PROMOTION.spread})")
    add(
        "--surges-per-min",
        type=float,
        default=PROMOTION.surges_per_min,
        help=f"take-offs and the like in the venue ({PROMOTION.surges_per_min})",
    )
    add("--json", action="store_true", help="print a JSON object, not a table")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = _options(arguments)
    plan = Plan(
        candidates(),
        seeds=options.seeds,
        products=options.products,
        position_bias=options.position_bias,
        market=replace(PROMOTION, spread=options.spread, surges_per_min=options.surges_per_min),
    )
    progress = Console(stderr=True)
    started = time.perf_counter()
    results = compare(plan, console=progress)
    progress.print(f"{time.perf_counter() - started:.0f} s", style="dim")
    if options.json:
        json.dump(as_json(results, plan), sys.stdout, indent=1)
        print()
    else:
        Console(width=None if sys.stdout.isatty() else 140).print(as_table(results, plan.rules))


if __name__ == "__main__":
    main()
