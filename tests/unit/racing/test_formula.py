"""The venue's own numbers, and terms compiled into scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from racing.formula import Formula, Held, Sums
from racing.model import EVENT_KINDS, FloatArray, IntArray
from racing.rule import parse_rule
from tests.laws.logs import METRICS, rule_of

_KINDS = {kind: index for index, kind in enumerate([*EVENT_KINDS, "scan"])}
_CLICK, _ORDER, _PAY = (2 * _KINDS[kind] for kind in ("click", "order", "pay"))


def _measures(**sums: int) -> IntArray:
    """Sums by measure: ``click`` is a count, ``pay_amount`` an amount."""
    found = np.zeros(2 * len(_KINDS), np.int64)
    for name, value in sums.items():
        found[2 * _KINDS[name.removesuffix("_amount")] + name.endswith("_amount")] = value
    return found


def _held(now: dict[str, int] | None = None, before: dict[str, int] | None = None) -> Held:
    return Held(_measures(**(now or {})), _measures(**(before or {})))


def _scores(terms: list[dict[str, Any]], held: Held, attributes: dict[str, FloatArray] | None = None) -> list[float]:
    """The score of one runner with 3 clicks now and 20 before, 5 orders, and two payments of 50 now."""
    sums = Sums(
        window=_measures(click=3, order=5, pay=2, pay_amount=100)[None],
        base_tenths=_measures(click=200, pay=5, pay_amount=250)[None],
        total=_measures(click=99)[None],
        attributes=attributes or {},
    )
    scores: list[float] = Formula(parse_rule(rule_of(*terms)), _KINDS, held).scores(sums).tolist()
    return scores


def _term(metric: str, signal: str, **options: Any) -> dict[str, Any]:
    return {"metric": metric, "signal": signal, "weight": 1, **options}


@pytest.mark.parametrize(
    ("now", "before", "tide"),
    [(0, 0, 1.0), (5, 0, 1.0), (0, 4, 0.0), (6, 4, 1.5), (-3, 4, 0.0), (5, -2, 1.0)],
)
def test_the_tide_is_the_venues_sum_now_over_before(now: int, before: int, tide: float) -> None:
    """1 without data, and never below 0 where refunds exceed payments."""
    assert tide == _held({"click": now}, {"click": before}).tide(_CLICK)


@pytest.mark.parametrize(
    ("orders", "clicks", "mean"),
    [((0, 0), (0, 0), 0.0), ((1, 2), (10, 20), 0.1), ((3, 0), (0, 0), 0.0), ((-9, 1), (4, 4), 0.0)],
)
def test_the_mean_is_taken_over_both_windows(orders: tuple[int, int], clicks: tuple[int, int], mean: float) -> None:
    held = _held({"order": orders[0], "click": clicks[0]}, {"order": orders[1], "click": clicks[1]})

    assert mean == held.mean(_ORDER, _CLICK)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (_term("click", "level"), 3.0),
        (_term("order", "root"), 5**0.5),
        (_term("click", "total"), 99.0),
        (_term("click", "uplift"), -17.0),
        (_term("click", "uplift", tide=True), 3 - 0.5 * 20),
        (_term("click", "growth"), -17 / 30),
        (_term("click", "growth", prior=5, tide=True), -7 / 15),
        (_term("click", "surge", prior=2), -17 / 5),
        (_term("click", "surge", prior=1, tide=True), -7 / 3),
        (_term("pay_amount", "level"), 100.0),
        (_term("pay_amount", "uplift"), 75.0),
        (_term("pay_amount", "growth"), 75 / 35),
        (_term("pay_amount", "root"), (100 / 25) ** 0.5),
        (_term("pay_amount", "surge", prior=11), (4 - 1) / 4),
        ({"ratio": ["order", "click"], "signal": "rate", "weight": 1, "prior": 7}, (5 - 0.25 * 3) / 10),
        (
            {"ratio": ["order", "click"], "signal": "rate_uplift", "weight": 1, "prior": 20},
            (5 - 0.25 * 3) / 23 - (0 - 0.25 * 20) / 40,
        ),
        ({"attribute": "margin", "weight": 3}, 6.0),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_a_term_is_its_signal_of_the_runners_sums(term: dict[str, Any], expected: float) -> None:
    """Under a tide of 1/2 in clicks, a mean payment of 25, and one order per four clicks."""
    held = _held(
        {"click": 100, "order": 75, "pay": 10, "pay_amount": 250},
        {"click": 200, "order": 0, "pay": 10, "pay_amount": 250},
    )

    assert [pytest.approx(expected, rel=1e-15)] == _scores([term], held, {"margin": np.array([2.0])})


@pytest.mark.parametrize("signal", ["surge", "root"])
def test_amounts_without_a_mean_are_worth_nothing_yet(signal: str) -> None:
    """The first payments of a venue count once a bucket boundary has told what a payment is worth."""
    assert [0.0] == _scores([_term("pay_amount", signal)], _held())


def test_weights_multiply_and_terms_add_up() -> None:
    terms = [{**_term("click", "level"), "weight": -2}, {**_term("order", "level"), "weight": 0.5}]

    assert [-2 * 3 + 0.5 * 5] == _scores(terms, _held())


def test_terms_are_told_by_name_and_weight() -> None:
    formula = Formula(
        parse_rule(rule_of(_term("click", "level"), {"attribute": "margin", "weight": -2})), _KINDS, _held()
    )

    assert (("click level", "margin"), (1.0, -2.0)) == (formula.names, formula.weights)


def test_every_metric_of_a_rule_finds_its_measure() -> None:
    """Also a kind that no venue knows but by the rule."""
    terms = [_term(metric, "level") for metric in sorted(METRICS)]

    assert [3.0 + 5 + 2 + 100] == _scores(terms, _held())
