"""The rules that race for being the default."""

from __future__ import annotations

from typing import Any

from racing.rule import DEFAULT_RULE, Rule, parse_rule


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
