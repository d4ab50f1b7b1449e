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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from loadtests.candidates import candidates
from loadtests.evenings import SCENES, WARM_UP_MIN, Scene, make_evening
from loadtests.watching import Figures, figures, watch
from racing.demand import PROMOTION, Market
from racing.rule import DEFAULT_RULE, Rule

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
