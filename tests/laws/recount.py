"""A second counting of an event file, from its rows alone: what a backtest must agree with.

Nothing here is shared with the race: own reading, own window arithmetic, own formulas, each written from
design.md. Every board is counted anew from all rows, so there is no state in which an error could hide.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ALIASES = {
    "click": ("pv", "view", "view_item", "select_item"),
    "favorite": ("fav", "add_to_wishlist"),
    "cart": ("addtocart", "add_to_cart"),
    "pay": ("buy", "transaction", "purchase"),
    "impression": ("view_item_list", "exposure"),
    "order": (),
    "refund": (),
}


@dataclass(frozen=True)
class Rows:
    """A file's events by time, and its products in order of first appearance."""

    ts_ms: Ints
    product: Ints
    amount: Ints
    of_kind: dict[str, npt.NDArray[np.bool_]]
    products: list[str]
    refused: int


def read_rows(path: Path, kinds: set[str]) -> Rows:
    """The rows of a CSV file without quotes; kinds are taken beside the usual ones."""
    canonical = {kind: kind for kind in kinds} | {k: k for k in ALIASES}
    canonical |= {alias: kind for kind, aliases in ALIASES.items() for alias in aliases}
    data = path.read_bytes()
    header, *lines = (gzip.decompress(data) if path.suffix == ".gz" else data).decode().split()
    assert header == "ts_ms,type,product,user,category,price,position"
    products: dict[str, int] = {}
    rows, refused = [], 0
    for line in lines:
        fields = line.split(",")
        if len(fields) == 7 and re.fullmatch(r"[\w.-]{1,64}", fields[2], re.ASCII):
            products.setdefault(fields[2], len(products))
        try:
            ts_ms, kind, product, _user, _category, price, _position = fields
            amount = Fraction(price or 0) * 100
            row = (int(ts_ms), products[product], round(amount), canonical[kind])  # round: half to even
        except (ValueError, KeyError):
            refused += 1
            continue
        if row[0] < 0 or amount < 0:
            refused += 1
        else:
            rows.append(row)
    rows.sort(key=lambda row: row[0])
    ts, product_numbers, amounts, names = zip(*rows, strict=True)
    named = np.array(names)
    return Rows(
        ts_ms=np.array(ts, np.int64),
        product=np.array(product_numbers, np.int64),
        amount=np.array(amounts, np.int64),
        of_kind={kind: named == kind for kind in {*canonical.values()}},
        products=list(products),
        refused=refused,
    )


class Recount:
    """The scores of every product at any boundary, under a rule given as its JSON document."""

    def __init__(self, rows: Rows, rule: dict[str, Any]) -> None:
        self.rows, self.rule = rows, rule
        self.bucket_ms = 1000 * rule["bucket_s"]
        self.length = rule["window_s"] // rule["bucket_s"]
        self._counted: dict[tuple[str, int, int], Floats] = {}

    def boundaries(self, every_ms: int) -> Iterator[int]:
        """Each multiple of every_ms from the first after the first event to the first after the last."""
        at_ms = int(self.rows.ts_ms[0]) // every_ms * every_ms
        while at_ms <= self.rows.ts_ms[-1]:
            at_ms += every_ms
            yield at_ms

    def expected(self, at_ms: int) -> Expected:
        """The board just before at_ms."""
        seen = np.bincount(self.rows.product[self.rows.ts_ms < at_ms], minlength=len(self.rows.products))
        return Expected(self.scores(at_ms), np.flatnonzero(seen == 0), self.rule["board"]["slots"])

    def scores(self, at_ms: int) -> Floats:
        """Every product's score just before at_ms, from the events before it."""
        self._counted = {}  # one boundary's counts, each made once for all terms
        score = np.zeros(len(self.rows.products))
        for term in self.rule["terms"]:
            score = score + term["weight"] * self._signal(term, at_ms)
        return score

    def _rate(self, term: dict[str, Any], at_ms: int) -> Floats:
        k = term.get("prior", 10.0)
        (n, n_before), (d, d_before) = (self._sums(metric, at_ms) for metric in term["ratio"])
        above, below = (self.rule["metrics"][metric] for metric in term["ratio"])
        mu = self._mean(above, below, at_ms)
        now: Floats = (n - mu * d) / (d + k)
        before: Floats = (n_before - mu * d_before) / (d_before + k)
        return now - before if term["signal"] == "rate_uplift" else now

    def _signal(self, term: dict[str, Any], at_ms: int) -> Floats:
        if "ratio" in term:
            return self._rate(term, at_ms)
        k = term.get("prior", 10.0)
        metric = self.rule["metrics"][term["metric"]]
        c, p = self._sums(term["metric"], at_ms)
        g = self._tide(metric, at_ms) if term.get("tide") else 1.0
        if metric.get("sum") == "amount" and term["signal"] in {"root", "surge"}:
            a = self._mean(metric, {"event": metric["event"]}, at_ms)
            c, p = (c / a, p / a) if a else (0 * c, 0 * p)
        if term["signal"] == "total":
            return self._count(metric, 0, at_ms)
        formulas: dict[str, Callable[[], Floats]] = {
            "level": lambda: c,
            "root": lambda: np.sqrt(c),
            "uplift": lambda: c - g * p,
            "growth": lambda: (c - g * p) / (g * p + k),
            "surge": lambda: (c - g * p) / np.sqrt(c + g * g * p + k),
        }
        return formulas[term["signal"]]()

    # -- sums ----------------------------------------------------------------------------------------

    def _count(self, metric: dict[str, str], start_ms: int, end_ms: int) -> Floats:
        """Each product's sum of a metric over the events of [start_ms, end_ms)."""
        key = (repr(metric), start_ms, end_ms)
        if key not in self._counted:
            low, high = np.searchsorted(self.rows.ts_ms, [start_ms, end_ms])
            here = slice(low, high)
            worth = self.rows.of_kind[metric["event"]][here].astype(np.float64)
            if metric.get("sum") == "amount":
                worth *= self.rows.amount[here]
            self._counted[key] = np.bincount(self.rows.product[here], worth, len(self.rows.products)).astype(np.float64)
        return self._counted[key]

    def _sums(self, name: str, at_ms: int) -> tuple[Floats, Floats]:
        """Window and base sums: the base's oldest bucket by the begun tenths of the running one."""
        metric = self.rule["metrics"][name]
        bucket = (at_ms - 1) // self.bucket_ms
        tenths = ((at_ms - 1) % self.bucket_ms) * 10 // self.bucket_ms + 1
        window_ms = (bucket - self.length + 1) * self.bucket_ms
        oldest_ms = (bucket - 2 * self.length + 1) * self.bucket_ms
        oldest = self._count(metric, oldest_ms, oldest_ms + self.bucket_ms)
        base = self._count(metric, oldest_ms + self.bucket_ms, window_ms) + oldest * tenths / 10
        return self._count(metric, window_ms, at_ms), base

    def _venue(self, metric: dict[str, str], at_ms: int) -> tuple[float, float]:
        """The venue's sums over both windows as they stood just before the running bucket began."""
        began_ms = (at_ms - 1) // self.bucket_ms * self.bucket_ms
        window_ms = self.length * self.bucket_ms
        now = self._count(metric, began_ms - window_ms, began_ms)
        before = self._count(metric, began_ms - 2 * window_ms, began_ms - window_ms)
        return float(now.sum()), float(before.sum())

    def _tide(self, metric: dict[str, str], at_ms: int) -> float:
        now, before = self._venue(metric, at_ms)
        return now / before if before else 1.0

    def _mean(self, above: dict[str, str], below: dict[str, str], at_ms: int) -> float:
        n, d = sum(self._venue(above, at_ms)), sum(self._venue(below, at_ms))
        return n / d if d else 0.0


@dataclass(frozen=True)
class Expected:
    """What a board must show: every product's score, and the products without any event so far."""

    scores: Floats
    unseen: Ints
    slots: int

    def check(self, numbers: list[int], told: list[float]) -> None:
        """Raise AssertionError unless these are the best products and their scores, in standing order.

        Scores agree to 1e-9, and only products whose scores agree so far may stand swapped. Ties go to the
        product that appeared first: told scores that are equal show it, and so do products without events,
        whose scores no rounding can part.
        """
        best = np.lexsort((np.arange(len(self.scores)), -self.scores))[: self.slots]
        assert len(numbers) == len(best) == len(set(numbers))
        assert np.allclose(told, self.scores[numbers], rtol=1e-9, atol=1e-9)
        assert np.allclose(self.scores[best], self.scores[numbers], rtol=1e-9, atol=1e-9)
        tied = np.diff(told) == 0
        assert (np.diff(numbers)[tied] > 0).all(), "a tie does not go to the product that appeared first"
        silent = np.array(numbers)[np.isin(numbers, self.unseen)]
        assert silent.tolist() == self.unseen[: len(silent)].tolist()
