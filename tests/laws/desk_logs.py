"""Logs with orders of the desk in them: tiny boards, every kind of order, stock, phases, and settings of the board.

A strategy that is made anew for each draw is checked anew, which cost more than the draws: those that can be made once
stand here, and what they give about moments counts from the entry's.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from racing.rule import parse_rule
from tests.laws.logs import START_MS, Log, at_moment, event, rules
from tests.laws.oracle import Body

RUNNERS = 6
"""Products of a drawn venue; number 5 may join late, number 6 never does."""
PRODUCTS = st.sampled_from([f"product-{number}" for number in range(RUNNERS + 1)])
MERCHANTS = st.sampled_from(["m0", "m1", "m9"])
CATEGORIES = st.sampled_from(["c0", "c1", "c2"])
_IDS = st.sampled_from("abcdefgh")
_STARTS_MS = st.sampled_from([None, None, None, -500, 0, 1, 250, 500, 700, 1000, 3000])
_LASTING_MS = st.sampled_from([None, None, 1, 400, 1000, 2500])
_STEPS_MS = st.sampled_from([0, 0, 1, 99, 100, 250, 499, 500, 501, 700, 1000, 1500, 3000, 8000])


def _optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), st.none(), strategy)


CAPS = st.lists(
    st.sampled_from(
        [
            {"by": "merchant", "most": 1, "within": 2},
            {"by": "merchant", "most": 2},
            {"by": "category", "most": 1, "within": 3},
            {"by": "tier", "most": 1},
            {"by": "nothing", "most": 1},
        ]
    ),
    min_size=1,
    max_size=2,
)
SHARES = st.lists(
    st.sampled_from(
        [
            {"by": "merchant", "value": "m1", "min": 0.5},
            {"by": "merchant", "value": "m0", "max": 0.34},
            {"by": "category", "value": "c2", "min": 0.3, "max": 0.5},
            {"by": "category", "value": "c9", "min": 0.2},
        ]
    ),
    min_size=1,
    max_size=2,
    unique_by=lambda share: share["value"],
)


_SLOTS = st.sampled_from([1, 2, 3, 4, 50])
_TIERED = {
    slots: _optional(st.sampled_from([[{"tier": "hero", "slots": given}] for given in ("1", f"{slots}", f"1-{slots}")]))
    for slots in (1, 2, 3, 4, 50)
}
_STOCKS = _optional(st.sampled_from([{"policy": policy} for policy in ("drop", "sink", "keep")]))
_CAPS, _SHARES = _optional(CAPS), _optional(SHARES)
_BOOSTS = _optional(st.just({"floor": 0.5, "cap": 2}))
_STABILITY = _optional(
    st.sampled_from(
        [
            {"margin": 1.5},
            {"margin": 3, "lead_s": 1},
            {"noise_units": 1, "lead_s": 0.7},
            {"margin": 0.5, "noise_units": 2},
        ]
    )
)
_NEWCOMERS = _optional(st.sampled_from([{"share": 0.5, "for_s": 2}, {"share": 0.2, "for_s": 1}]))


@st.composite
def boards(draw: st.DrawFn, *, remembering: bool = True) -> dict[str, Any]:
    """Board settings; those of steps that remember only where asked for."""
    slots = draw(_SLOTS)
    board = {
        "slots": slots,
        "stock": draw(_STOCKS),
        "caps": draw(_CAPS),
        "shares": draw(_SHARES),
        "tiers": draw(_TIERED[slots]),
        "boosts": draw(_BOOSTS),
    }
    if remembering:
        board |= {"stability": draw(_STABILITY), "newcomers": draw(_NEWCOMERS)}
    return {name: value for name, value in board.items() if value is not None}


@st.composite
def boarded_rules(draw: st.DrawFn, *, remembering: bool = True) -> dict[str, Any]:
    """A rule with board settings."""
    return {**draw(_RULES), "board": draw(_BOARDS[remembering])}


_RULES = rules()
_BOARDS = {remembering: boards(remembering=remembering) for remembering in (False, True)}
_BOARDED = {remembering: boarded_rules(remembering=remembering) for remembering in (False, True)}

_KINDS = ["pin", "pin", "pin", "pin", "pin", "boost", "boost", "exclude", "exclude", "freeze", "emergency", "nail"]
_KIND = {phases: st.sampled_from([*_KINDS, "phase", "phase"] if phases else _KINDS) for phases in (False, True)}
_PHASE_STARTS_MS = st.sampled_from([-500, 0, 250, 1000, 3000])
_ACTIVE = st.sampled_from([True, True, True, False])
_BOOSTED = st.sampled_from(["product", "merchant", "category"])
_EXCLUDED = st.sampled_from(["product", "merchant"])
_AIMS = {"product": PRODUCTS, "merchant": MERCHANTS, "category": CATEGORIES}
_PINNED = st.sampled_from([1, 1, 1, 2, 2, 3, 5])
_FACTORS = st.sampled_from([0.25, 0.5, 2.0, 3.0])
_FROZEN = st.sampled_from([{}, {"slots": 1}, {"slots": 2}])
_LISTED = st.lists(PRODUCTS, min_size=1, max_size=3, unique=True)
_CARRIES = st.sampled_from([0.0, 0.1, 1.0])


@st.composite
def _orders(draw: st.DrawFn, *, phases: bool, remembering: bool) -> dict[str, Any]:
    """An order of any kind, its moments counted from now; now and then one that cannot be read."""
    kind = draw(_KIND[phases])
    start = draw(_PHASE_STARTS_MS if kind == "phase" else _STARTS_MS)
    lasting = draw(_LASTING_MS)
    order: dict[str, Any] = {"kind": kind, "id": draw(_IDS), "active": draw(_ACTIVE)}
    if start is not None:
        order["start_ms"] = start
    if lasting is not None:
        order["end_ms"] = order.get("start_ms", 0) + lasting
    aim = draw(_BOOSTED if kind == "boost" else _EXCLUDED)
    aimed = draw(_AIMS[aim])
    match kind:
        case "pin":
            hard = draw(st.booleans())
            order |= {"product": draw(PRODUCTS), "slot": draw(_PINNED), "hard": hard}
        case "boost":
            order |= {aim: aimed, "factor": draw(_FACTORS)}
        case "exclude":
            order |= {aim: aimed, "reason": "why"}
        case "freeze":
            order |= draw(_FROZEN)
        case "emergency":
            order |= {"products": draw(_LISTED)}
        case "phase":
            rule = draw(_BOARDED[remembering])
            carry = draw(_CARRIES)
            order |= {"title": "t", "rule": rule, "version": draw(st.integers(2, 9)), "carry": carry}
    return order


_ORDERS = {
    (phases, remembering): _orders(phases=phases, remembering=remembering)
    for phases in (False, True)
    for remembering in (False, True)
}
_ORDER_LISTS = {which: st.lists(one, max_size=3) for which, one in _ORDERS.items()}
_WITHDRAWN = st.lists(_IDS, max_size=2)


def _shifted(order: dict[str, Any], moment_ms: int) -> dict[str, Any]:
    return order | {at: moment_ms + order[at] for at in ("start_ms", "end_ms") if at in order}


@st.composite
def orders(draw: st.DrawFn, moment_ms: int, *, phases: bool = True, remembering: bool = True) -> dict[str, Any]:
    """An order around a moment, of any kind; now and then one that cannot be read."""
    return _shifted(draw(_ORDERS[phases, remembering]), moment_ms)


@st.composite
def changes(draw: st.DrawFn, moment_ms: int, *, phases: bool, remembering: bool) -> Body:
    """A change of orders."""
    return {
        "orders": [_shifted(order, moment_ms) for order in draw(_ORDER_LISTS[phases, remembering])],
        "withdraw": draw(_WITHDRAWN),
    }


_STOCK_EVENTS = st.fixed_dictionaries(
    {
        "runner": st.integers(0, RUNNERS),
        "type": st.sampled_from(["stock", "stock", "price"]),
        "amount": st.sampled_from([0, 0, 7]),
        "ts_ms": st.sampled_from([None, 0, -100, -5000, 400_000]),
    }
)
_ANY_EVENTS = st.builds(
    lambda e, runner: {**e, "runner": runner if e["runner"] == 0 else e["runner"]},
    event(0, money=False),
    st.integers(0, 5),
)
_EVENT_LISTS = st.lists(st.one_of(_ANY_EVENTS, _ANY_EVENTS, _STOCK_EVENTS), max_size=4)


@st.composite
def _events(draw: st.DrawFn, moment_ms: int) -> Body:
    return {"events": [at_moment(one, moment_ms) for one in draw(_EVENT_LISTS)]}


_OFFSETS_MS = st.sampled_from([0, 1, 50, 499])
_SCORES = st.sampled_from([-2.0, 0.0, 1.0, 2.5, 4.0])
_OTHERS: st.SearchStrategy[Body] = st.sampled_from(
    [{"tick": True}, {"enrol": {5: {"entry_score": 3.0}}}, {"enrol": {1: {"entry_score": 2.0}}}]
)


@st.composite
def desk_logs(
    draw: st.DrawFn, *, entries: int = 20, phases: bool = True, remembering: bool = True, ticked: bool = False
) -> Log:
    """A log with orders in it. ticked: a tick comes whenever one begins or ends, and before each change."""
    moment_ms = START_MS + draw(_OFFSETS_MS)
    scores = {number: {"entry_score": draw(_SCORES)} for number in range(5)}
    rule = _BOARDED[remembering]
    log: Log = [(moment_ms, {"rule": draw(rule)}), (moment_ms, {"enrol": scores})]
    due: set[int] = set()
    for _ in range(draw(st.integers(2, entries))):
        before_ms = moment_ms
        moment_ms += draw(_STEPS_MS)
        if ticked:
            log += [(at_ms, {"tick": True}) for at_ms in sorted(due) if before_ms < at_ms <= moment_ms]
        what = draw(st.integers(0, 11))
        if what < 5:
            body = draw(_events(moment_ms))
        elif what < 9:
            body = draw(changes(moment_ms, phases=phases, remembering=remembering))
            log += [(moment_ms, {"tick": True})] if ticked else []
            due |= {order[at] for order in body["orders"] for at in ("start_ms", "end_ms") if at in order}
        else:
            body = draw(_OTHERS) if what < 11 else {"rule": draw(rule)}
        log.append((moment_ms, body))
    return log


def slots_of(rule: dict[str, Any]) -> int:
    """The slots of a rule document."""
    return parse_rule(rule).board.slots
