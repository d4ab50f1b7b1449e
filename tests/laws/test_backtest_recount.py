"""Law: every line of a backtest is the board that a plain counting of the file's rows gives."""

from __future__ import annotations

import gzip
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from racing.backtest import backtest
from racing.recorded import read_recorded
from racing.rule import parse_rule
from tests.laws.recount import Recount, read_rows

RECORDED_DIR = Path(
    os.environ.get("SAIMA_RECORDED_DIR", Path(__file__).resolve().parents[2].parent / "shared" / "data")
)
"""Recorded traffic is not part of the project: where it is absent, only the generated cases run."""

METRICS = {
    "impression": {"event": "impression"},
    "click": {"event": "click"},
    "cart": {"event": "cart"},
    "pay": {"event": "pay"},
    "pay_amount": {"event": "pay", "sum": "amount"},
    "image": {"event": "image"},
}

EVERY_SIGNAL: list[dict[str, Any]] = [
    {"metric": "click", "signal": "level", "weight": 0.05},
    {"metric": "click", "signal": "root", "weight": 0.3},
    {"metric": "impression", "signal": "total", "weight": 0.001},
    {"metric": "cart", "signal": "total", "weight": 0.01},
    {"metric": "click", "signal": "uplift", "weight": 0.1},
    {"metric": "cart", "signal": "uplift", "weight": -0.2, "tide": True},
    {"metric": "click", "signal": "growth", "weight": 0.7, "prior": 5.0},
    {"metric": "click", "signal": "growth", "weight": 0.4, "tide": True},
    {"metric": "image", "signal": "surge", "weight": 1.0},
    {"metric": "click", "signal": "surge", "weight": 2.0, "prior": 3.0, "tide": True},
    {"metric": "pay_amount", "signal": "level", "weight": 1e-5},
    {"metric": "pay_amount", "signal": "root", "weight": 0.2},
    {"metric": "pay_amount", "signal": "total", "weight": 1e-6},
    {"metric": "pay_amount", "signal": "uplift", "weight": 1e-5, "tide": True},
    {"metric": "pay_amount", "signal": "growth", "weight": 0.5, "prior": 1000.0},
    {"metric": "pay_amount", "signal": "surge", "weight": 1.0},
    {"metric": "pay_amount", "signal": "surge", "weight": 0.5, "prior": 2.0, "tide": True},
    {"ratio": ["pay", "click"], "signal": "rate", "weight": 3.0, "prior": 20.0},
    {"ratio": ["click", "impression"], "signal": "rate_uplift", "weight": 2.0},
    {"ratio": ["pay_amount", "pay"], "signal": "rate", "weight": 0.001},
]
SEED_RULE: list[dict[str, Any]] = [{"metric": "click", "signal": "uplift", "weight": 1.0}]
RATE_ALONE: list[dict[str, Any]] = [{"ratio": ["pay", "click"], "signal": "rate", "weight": 1.0}]
TIDE_ALONE: list[dict[str, Any]] = [{"metric": "click", "signal": "surge", "weight": 1.0, "tide": True}]


def rule_of(terms: list[dict[str, Any]], window_s: int, bucket_s: int, slots: int = 12) -> dict[str, Any]:
    """The JSON document of a rule with these terms; every metric is declared, named or not."""
    return {
        "window_s": window_s,
        "bucket_s": bucket_s,
        "metrics": METRICS,
        "terms": terms,
        "board": {"slots": slots},
    }


@dataclass(frozen=True)
class Generated:
    """A made-up file: rows out of order, bursts, silences, and rows that must be refused."""

    seed: int
    start_ms: int = 1_700_000_003_700
    rows: int = 700
    products: int = 25
    silences_ms: tuple[int, ...] = (0, 1500, 17_000, 130_000)

    def write(self, folder: Path) -> Path:
        chance = random.Random(self.seed)
        path = folder / "generated.csv.gz"
        rows = [*self._events(chance), *self._refused(chance)]
        chance.shuffle(rows)
        text = "\n".join(["ts_ms,type,product,user,category,price,position", *rows, ""])
        path.write_bytes(gzip.compress(text.encode()))
        return path

    def _events(self, chance: random.Random) -> list[str]:
        kinds = ["impression"] * 4 + ["pv"] * 4 + ["click", "cart", "buy", "pay", "image", "fav", "addtocart"]
        prices = ["", "0", "19.90", "5", "0.125", "0.115", "1234.565", "3e1", ".5", "99999.99"]
        at_ms, rows = self.start_ms, []
        for _ in range(self.rows):
            if chance.random() < 0.03:
                at_ms += chance.choice(self.silences_ms)
            at_ms += chance.choice((0, 0, 100, 200, 1000, chance.randrange(400)))
            product = f"p.{int(self.products * chance.random() ** 2)}"
            rows.append(f"{at_ms},{chance.choice(kinds)},{product},u{_},,{chance.choice(prices)},")
        return rows

    def _refused(self, chance: random.Random) -> list[str]:
        at_ms = self.start_ms + 5000
        wrong = [
            f"{at_ms},click",
            f"{at_ms},click,p.1,u,c,,1,more",
            "soon,click,only_here_1,u,c,,",
            f"-{at_ms},click,only_here_2,u,c,,",
            f"{at_ms},wink,only_here_3,u,c,,",
            f"{at_ms},pay,only_here_4,u,c,-3,",
            f"{at_ms},pay,only_here_5,u,c,NaN,",
            f"{at_ms},click,kein{{e}}id,u,c,,",
            f"{at_ms},click,,u,c,,",
        ]
        return chance.choices(wrong, k=20)


def generated_cases() -> list[Any]:
    """Windows from one bucket up, buckets whose tenths are not whole boundaries, each kind of rule."""
    shapes = [
        (EVERY_SIGNAL, 20, 5, 1000),
        (EVERY_SIGNAL, 12, 1, 700),
        (EVERY_SIGNAL, 7, 7, 2500),
        (EVERY_SIGNAL, 60, 3, 10_000),
        (EVERY_SIGNAL, 6, 2, 100),
        (SEED_RULE, 10, 5, 1000),
        (RATE_ALONE, 8, 4, 1000),
        (TIDE_ALONE, 15, 5, 1300),
    ]
    return [
        pytest.param(
            Generated(seed),
            rule_of(terms, window_s, bucket_s),
            every_ms,
            id=f"seed{seed}-{index}-{window_s}s",
        )
        for index, (terms, window_s, bucket_s, every_ms) in enumerate(shapes)
        for seed in (2 * index, 2 * index + 1)
    ]


def recorded_cases() -> list[Any]:
    """Recorded files that are there; the others give no case, since a skip would hide that none ran."""
    wanted = [
        ("taobao_2h", rule_of(EVERY_SIGNAL, 300, 10, slots=50), 10_000),
        ("openbandit_zozo_random", rule_of(EVERY_SIGNAL, 7200, 600, slots=50), 600_000),
        ("trivago_recsys2019_100k", rule_of(EVERY_SIGNAL, 1800, 180, slots=50), 600_000),
    ]
    files = [(RECORDED_DIR / f"{name}.csv.gz", rule, every_ms) for name, rule, every_ms in wanted]
    return [pytest.param(path, rule, every_ms, id=path.stem) for path, rule, every_ms in files if path.exists()]


@pytest.mark.parametrize(("source", "rule", "every_ms"), [*generated_cases(), *recorded_cases()])
def test_every_line_is_the_board_that_a_plain_counting_gives(
    source: Generated | Path, rule: dict[str, Any], every_ms: int, tmp_path: Path
) -> None:
    path = source if isinstance(source, Path) else source.write(tmp_path)
    parsed = parse_rule(rule)
    recorded = read_recorded(path, kinds=parsed.kinds())
    rows = read_rows(path, {metric["event"] for metric in rule["metrics"].values()})
    assert recorded.products == tuple(rows.products)
    assert recorded.refused.total() == rows.refused

    recount = Recount(rows, rule)
    numbers = {product: number for number, product in enumerate(rows.products)}
    run = backtest(recorded, parsed, every_ms)
    for at_ms, line in zip(recount.boundaries(every_ms), run, strict=True):
        assert line.at_ms == at_ms
        assert [slot.slot for slot in line.slots] == list(range(1, len(line.slots) + 1))
        told = [slot.score for slot in line.slots]
        recount.expected(at_ms).check([numbers[slot.product] for slot in line.slots], told)
    assert run.counts.counted == len(recorded) == len(rows.ts_ms)


def test_the_generated_files_hold_what_the_law_is_about(tmp_path: Path) -> None:
    """Out-of-order rows, silences longer than two windows, and products that only refused rows name."""
    rows = read_rows(Generated(0).write(tmp_path), {"image"})
    recorded = read_recorded(tmp_path / "generated.csv.gz", kinds={"image"})
    assert (np.diff(recorded.ts_ms) < 0).any()
    assert np.diff(rows.ts_ms).max() > 2 * 60_000
    assert rows.refused == 20
    assert {product for product in rows.products if product.startswith("only_here")}
