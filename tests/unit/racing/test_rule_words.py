"""A rule in words, made of the document: both languages tell the same, and nothing is left out."""

from __future__ import annotations

from typing import Any

import pytest

from racing.rule import DEFAULT_RULE, parse_rule
from racing.rule_words import LANGUAGES, in_words

RULE: dict[str, Any] = {
    "window_s": 300,
    "bucket_s": 10,
    "metrics": {
        "click": {"event": "click"},
        "order": {"event": "order"},
        "paid": {"event": "pay", "sum": "amount"},
        "share": {"event": "share_link"},
    },
    "terms": [
        {"metric": "click", "signal": "surge", "weight": 1, "prior": 12, "tide": True},
        {"metric": "paid", "signal": "root", "weight": 0.3},
        {"ratio": ["order", "click"], "signal": "rate", "weight": 20, "prior": 50},
        {"attribute": "entry_score", "weight": 2},
    ],
    "board": {"slots": 50},
}


def test_each_language_tells_the_whole_rule() -> None:
    assert in_words(parse_rule(RULE), "en") == [
        "The last 5 minutes are compared with the 5 minutes before, in steps of 10 seconds.",
        "The score is the sum of 4 terms; higher ones come first, of equal ones the product enrolled first.",
        (
            "Weight 1: how far clicks rose over the window before, in units of its own noise, small numbers damped by a"
            " prior of 12, the rise or fall of the whole venue left out."
        ),
        "Weight 0.3: the square root of the amount paid: the level in units of its own noise.",
        (
            "Weight 20: how far the ratio of orders to clicks lies above the venue's mean (drawn to the mean while"
            " there is little data, by 50)."
        ),
        "Weight 2: the score given at enrolment.",
        "The venue has 50 slots.",
    ]
    assert in_words(parse_rule(RULE), "zh") == [
        "比较最近 5 分钟与之前 5 分钟的数据，每 10 秒滚动一次。",
        "综合分由4项相加，得分高者在前；同分时先报名者在前。",
        "权重 1：点击数相对上一时间窗的涨幅（按自身波动计），小数据按先验 12 平滑，会场整体的涨落已扣除。",
        "权重 0.3：支付金额的平方根（按自身波动计的水平）。",
        "权重 20：下单数与点击数之比高出会场均值多少（数据少时向均值靠拢，强度 50）。",
        "权重 2：报名时的评分。",
        "会场共50个坑位。",
    ]


@pytest.mark.parametrize("signal", ["level", "root", "total", "uplift", "growth", "surge"])
@pytest.mark.parametrize("metric", ["click", "paid", "share"])
def test_every_signal_of_every_metric_has_words_of_its_own(signal: str, metric: str) -> None:
    def told(signal: str) -> list[list[str]]:
        rule = parse_rule({**RULE, "terms": [{"metric": metric, "signal": signal, "weight": 1}]})
        return [in_words(rule, language) for language in LANGUAGES]

    found = told(signal)
    assert len(found[0]) == len(found[1])
    other = told("level" if signal != "level" else "root")
    assert all(one[2] != two[2] for one, two in zip(found, other, strict=True))


def test_kind_that_a_rule_declares_is_told_by_its_name() -> None:
    rule = parse_rule({**RULE, "terms": [{"metric": "share", "signal": "level", "weight": 1}]})
    assert in_words(rule, "en")[2] == "Weight 1: share_link events in the window."
    assert in_words(rule, "zh")[2] == "权重 1：share_link 事件数的数值。"


def test_how_scores_become_slots_is_told_in_the_order_of_operations() -> None:
    board = {
        "slots": 1,
        "stock": {"policy": "drop"},
        "stability": {"margin": 0.5, "noise_units": 1, "lead_s": 60},
        "newcomers": {"share": 0.1, "for_s": 86_400},
        "caps": [{"by": "merchant", "most": 2, "within": 10}, {"by": "brand", "most": 3}],
        "shares": [{"by": "category", "value": "audio", "min": 0.2, "max": 0.5}],
        "tiers": [{"tier": "A", "slots": "1-1"}],
    }
    rule = parse_rule({**RULE, "board": board})
    assert in_words(rule, "en")[6:] == [
        "The venue has 1 slot.",
        "Sold-out products leave the board.",
        (
            "A challenger passes who stands above it only if it leads by the greater of 0.5 points and 1 deviation"
            " of its own noise, or for 1 minute."
        ),
        "At least 10% of the slots go to products that joined less than 1 day ago.",
        "One merchant has at most 2 of the first 10 slots.",
        "One brand has at most 3 slots.",
        "Products of category audio have at least 20% and at most 50% of the slots.",
        "Slots 1-1 are kept for products of tier A.",
    ]
    assert len(in_words(rule, "zh")) == len(in_words(rule, "en"))


def test_default_rule_is_told() -> None:
    for language in LANGUAGES:
        told = in_words(DEFAULT_RULE, language)
        assert len(told) == 2 + len(DEFAULT_RULE.terms) + 1
        assert all(sentence.endswith((".", "。")) for sentence in told)
