"""Board settings: what is refused, what each makes of a board, and what is told where it cannot be done."""

from __future__ import annotations

from typing import Any

import pytest

from racing.errors import RuleError
from racing.rule import parse_rule
from tests.laws.logs import START_MS, batch_of, rule_of, state
from tests.unit.racing.venues import CLICKS, BoardVenue, boost, exclude, pin

_MERCHANT_CAP = {"by": "merchant", "most": 1, "within": 3}


@pytest.mark.parametrize(
    ("board", "told"),
    [
        ({"caps": [{"by": "merchant"}]}, "board.caps[0].most: is required"),
        ({"caps": [{"by": "merchant", "most": 0}]}, "board.caps[0].most: must be at least 1, not 0"),
        (
            {"caps": [{"by": "merchant", "most": 3, "within": 3}]},
            "board.caps[0].most: has no effect unless it is less than within = 3",
        ),
        ({"caps": [{"by": "a b", "most": 3}]}, "board.caps[0].by: must be 1 to 64 characters"),
        ({"tiers": [{"tier": "hero", "slots": "4-2"}]}, "'4-2' is no stretch of slots from 1 to 1000"),
        ({"tiers": [{"tier": "hero", "slots": "one"}]}, "board.tiers[0].slots: must be slots and ranges of them"),
        ({"slots": 6, "tiers": [{"tier": "hero", "slots": "7"}]}, "tiers[0].slots: slot 7 is beyond the board's 6"),
        (
            {"tiers": [{"tier": "hero", "slots": "1-3"}, {"tier": "plain", "slots": "3-4"}]},
            "tiers[1].slots: slot 3 is kept for tiers[0] already",
        ),
        ({"shares": [{"by": "merchant", "value": "m1"}]}, "shares[0].min: one of min and max is required"),
        (
            {"shares": [{"by": "merchant", "value": "m1", "min": 0.5, "max": 0.4}]},
            "shares[0].min: must be at most max = 0.4",
        ),
        (
            {"shares": [{"by": "merchant", "value": each, "min": 0.6} for each in ("m1", "m2")]},
            "shares: the least shares add up to 1.2, more than the whole board",
        ),
        ({"stock": {"policy": "hide"}}, "stock.policy: must be one of"),
        ({"stability": {"lead_s": 3}}, "stability.margin: one of margin and noise_units must be more than 0"),
        ({"newcomers": {"share": 0, "for_s": 60}}, "newcomers.share: must be more than 0, not 0"),
        ({"boosts": {"floor": 2}}, "boosts.floor: must be at most 1, not 2"),
        ({"colour": "red"}, "board.colour: no such field; there are slots"),
    ],
)
def test_a_board_that_cannot_be_is_refused_with_field_and_reason(board: dict[str, Any], told: str) -> None:
    with pytest.raises(RuleError) as refused:
        parse_rule(rule_of(CLICKS, board=board))
    assert told in str(refused.value)


def test_a_rule_without_board_settings_is_written_as_it_was() -> None:
    rule = parse_rule(rule_of(CLICKS, board={"slots": 6}))

    assert {"slots": 6} == rule.model_dump(mode="json", exclude_none=True)["board"]


@pytest.mark.parametrize("kind", ["stock", "price"])
def test_a_metric_of_stated_values_is_refused(kind: str) -> None:
    document = rule_of({"metric": "a", "signal": "level", "weight": 1})
    document["metrics"] = {"a": {"event": kind}}
    with pytest.raises(RuleError, match=f"events of kind '{kind}' state a value, and are not counted"):
        parse_rule(document)


# -- caps and shares ---------------------------------------------------------------------------------------------------


def test_a_cap_that_cannot_be_met_gives_way_and_is_told() -> None:
    venue = BoardVenue(caps=[{"by": "category", "most": 1, "within": 3}], size=4)

    assert "0 1 2 3" == venue.board()
    assert [f"slot {n}: no product keeps cap 1 per category within 3; relaxed" for n in (3, 4)] == venue.told()


def test_of_two_caps_that_cannot_both_be_met_the_last_gives_way() -> None:
    venue = BoardVenue(caps=[{"by": "category", "most": 1, "within": 2}, {"by": "merchant", "most": 1}], slots=4)

    assert "0 1 2 3" == venue.board()  # after 0, 1, 2 every merchant has a slot; 3 keeps the first cap
    assert ["slot 4: no product keeps cap 1 per merchant; relaxed"] == venue.told()


def test_a_cap_spreads_a_merchant_over_consecutive_slots() -> None:
    venue = BoardVenue(caps=[_MERCHANT_CAP])
    for number in (3, 6):
        venue.clicks(number, 40)  # merchant m0 leads with 3 and 6, then 0

    assert "3 1 2 6 4 5" == venue.board()
    assert [] == venue.told()
    assert [("caps and shares", 2, 4)] == venue.steps(6)


def test_a_cap_looks_beyond_the_leaders_where_it_must() -> None:
    """The leaders that are kept are all of one merchant: who else fits stands far below."""
    venue = BoardVenue(CLICKS, size=900, slots=2, caps=[{"by": "merchant", "most": 1}])
    venue.entry(batch_of([{"runner": number, "type": "click"} for number in range(0, 900, 3)]))

    assert "0 1" == venue.board()


def test_products_without_the_word_are_not_capped() -> None:
    venue = BoardVenue(caps=[{"by": "tier", "most": 1}])

    assert "0 1 2 3 5 6" == venue.board()


def test_a_share_is_filled_with_the_last_slots_and_not_exceeded() -> None:
    least = BoardVenue(shares=[{"by": "tier", "value": "hero", "min": 0.5}])
    assert "0 1 2 3 4 8" == least.board()

    most = BoardVenue(shares=[{"by": "merchant", "value": "m0", "max": 0.2}])
    assert "0 1 2 4 5 7" == most.board()


def test_a_share_that_cannot_be_met_is_told() -> None:
    venue = BoardVenue(shares=[{"by": "tag", "value": "none", "min": 0.5}, {"by": "gift", "value": "true", "min": 0.5}])

    assert "0 1 2 3 4 7" == venue.board()
    assert ["share of tag none: 0 of at least 3 slots", "share of gift true: 1 of at least 3 slots"] == venue.told()


# -- tiers -------------------------------------------------------------------------------------------------------------


def test_a_slot_kept_for_a_tier_of_which_none_is_left_goes_to_another_and_is_told() -> None:
    venue = BoardVenue(tiers=[{"tier": "hero", "slots": "1-4"}])

    assert "0 4 8 1 2 3" == venue.board()
    assert ["slot 4: no product of tier hero is left; given to another"] == venue.told()


def test_products_of_a_tier_wait_for_its_slots_where_there_are_no_more_of_them() -> None:
    venue = BoardVenue(tiers=[{"tier": "hero", "slots": "4-6"}])

    assert "1 2 3 0 4 8" == venue.board()


# -- stock -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "board", "labels"),
    [("drop", "0 2 3 4 5 6", ()), ("sink", "0 2 3 4 5 6", ()), ("keep", "0 1 2 3 4 5", ("sold_out",))],
)
def test_what_becomes_of_a_sold_out_product(policy: str, board: str, labels: tuple[str, ...]) -> None:
    venue = BoardVenue(stock={"policy": policy})
    venue.stock(1, 0, at_ms=10)

    assert board == venue.board()
    assert labels == venue.explain(1).labels
    venue.stock(1, 4, at_ms=20)
    assert "0 1 2 3 4 5" == venue.board()


def test_sunk_products_fill_a_board_from_behind_in_their_own_order() -> None:
    venue = BoardVenue(stock={"policy": "sink", "badge": "gone"}, size=5)
    for number in (0, 2):
        venue.stock(number, 0)

    assert "1 3 4 0 2" == venue.board()
    assert ("gone",) == venue.shown.slots[4].labels


def test_stock_means_nothing_to_a_rule_without_a_policy() -> None:
    venue = BoardVenue()
    venue.stock(1, 0)

    assert "0 1 2 3 4 5" == venue.board()


def test_stock_that_is_older_than_what_was_stated_is_ignored_and_counted() -> None:
    venue = BoardVenue(stock={"policy": "drop"})
    for ts_ms, left in ((500, 0), (400, 9), (500, 3), (499, 8)):
        event = {"runner": 1, "type": "stock", "ts_ms": START_MS + ts_ms, "amount": left}
        venue.entry(batch_of([event]), 1000)

    assert (3, 1200) == (venue.race.stated_of(1)[0], 1200)
    assert (2, 2) == (venue.race.counts.stated, venue.race.counts.outdated)


def test_stated_values_of_one_batch_count_as_one_by_one() -> None:
    events = [
        {"runner": runner, "type": kind, "ts_ms": START_MS + ts_ms, "amount": amount}
        for runner, kind, ts_ms, amount in [
            (1, "stock", 5, 1), (1, "stock", 3, 2), (2, "stock", 9, 3), (1, "stock", 5, 4), (1, "price", 1, 5),
            (2, "stock", 8, 6), (1, "stock", 4, 7), (3, "click", 2, 0), (2, "stock", 10, 8), (77, "stock", 1, 9),
        ]
    ]  # fmt: skip
    one_by_one, at_once = BoardVenue(), BoardVenue()
    for event in events:
        one_by_one.entry(batch_of([event]), 10)
    at_once.entry(batch_of(events), 10)

    assert (4, 5) == at_once.race.stated_of(1)
    assert 8 == at_once.race.stated_of(2)[0]
    assert one_by_one.race.counts == at_once.race.counts
    assert at_once.race.counts.accepted == at_once.race.counts.settled() == 10


def test_a_stock_from_the_future_is_refused_like_any_other_event() -> None:
    venue = BoardVenue()
    venue.entry(batch_of([{"runner": 1, "type": "stock", "ts_ms": START_MS + 400_000, "amount": 0}]))

    assert (5, None) == venue.race.stated_of(1)
    assert 1 == venue.race.counts.future


def test_payments_leave_stock_alone() -> None:
    venue = BoardVenue()
    venue.entry(batch_of([{"runner": 1, "type": "pay", "amount": 7}] * 9))

    assert 5 == venue.race.stated_of(1)[0]


def test_data_given_again_states_a_stock_only_where_it_says_something_new() -> None:
    """A changed title must not bring back the stock of an hour ago."""
    venue = BoardVenue()
    venue.stock(1, 0, at_ms=10)
    venue.enrol(1, at_ms=20)
    assert 0 == venue.race.stated_of(1)[0]
    venue.enrol(1, at_ms=30, stock=6, price=900)
    assert (6, 900) == venue.race.stated_of(1)


# -- newcomers ---------------------------------------------------------------------------------------------------------


def test_newcomers_have_their_share_for_as_long_as_they_are_new() -> None:
    venue = BoardVenue(newcomers={"share": 0.3, "for_s": 2})
    venue.tick(3000)
    assert ["newcomers: 0 of at least 2 slots"] == venue.told()

    venue.enrol(12, at_ms=3100, entry_score=0.5)
    venue.enrol(13, at_ms=3200, entry_score=-3.0)
    venue.tick(3499)
    assert "0 1 2 3 4 5" == venue.board()  # between two looks
    venue.tick(3500)
    assert "0 1 2 3 12 13" == venue.board()
    assert ("new",) == venue.shown.slots[5].labels
    venue.tick(5499)
    assert "0 1 2 3 12 13" == venue.board()
    venue.tick(5500)
    assert "0 1 2 3 4 5" == venue.board()


def test_newcomers_on_the_board_by_themselves_count() -> None:
    venue = BoardVenue(newcomers={"share": 0.3, "for_s": 2}, size=12)

    assert "0 1 2 3 4 5" == venue.board()
    assert [] == venue.told()


def test_a_product_that_takes_another_s_place_is_new() -> None:
    venue = BoardVenue(newcomers={"share": 0.1, "for_s": 2})
    venue.tick(3000)
    venue.enrol(11, at_ms=3001, entry_score=0.0)
    venue.tick(3500)
    assert "0 1 2 3 4 5" == venue.board()


# -- stability ---------------------------------------------------------------------------------------------------------


def _steady(*terms: dict[str, Any], **board: Any) -> BoardVenue:
    """A venue whose board has been looked at once, 500 ms after its beginning."""
    venue = BoardVenue(*terms, **{"slots": 3, **board})
    venue.tick(500)
    return venue


def test_a_challenger_passes_only_by_more_than_the_margin() -> None:
    venue = _steady(stability={"margin": 5})
    venue.clicks(1, 6, at_ms=510)  # 17 against 12: a lead of 5
    venue.tick(1000)
    assert "0 1 2" == venue.board()
    assert [("stability", 1, 2)] == venue.steps(1)

    venue.clicks(1, 1, at_ms=1010)
    venue.tick(1499)
    assert "0 1 2" == venue.board()
    venue.tick(1500)
    assert "1 0 2" == venue.board()


def test_a_lead_suffices_when_it_has_lasted() -> None:
    venue = _steady(stability={"margin": 50, "lead_s": 1})
    venue.clicks(1, 2, at_ms=510)
    for at_ms, board in ((1000, "0 1 2"), (1999, "0 1 2"), (2000, "1 0 2")):
        venue.tick(at_ms)
        assert board == venue.board(), at_ms


def test_a_lead_that_lasts_is_seen_however_late_the_next_entry_comes() -> None:
    """In an hour without events time stops wherever a look is due."""
    venue = _steady(stability={"margin": 50, "lead_s": 1})
    venue.clicks(1, 2, at_ms=510)
    venue.tick(1000)
    assert START_MS + 2000 == venue.race.memory.due_ms
    venue.tick(2100)
    assert "1 0 2" == venue.board()


def test_a_lead_that_is_lost_in_between_begins_anew() -> None:
    venue = _steady(stability={"margin": 50, "lead_s": 1})
    venue.clicks(1, 2, at_ms=510)
    venue.clicks(0, 2, at_ms=1400)
    venue.clicks(1, 2, at_ms=1600)
    for at_ms, board in ((2000, "0 1 2"), (2500, "0 1 2"), (2999, "0 1 2"), (3000, "1 0 2")):
        venue.tick(at_ms)
        assert board == venue.board(), at_ms


def test_a_challenger_from_below_the_board_passes_in_the_same_way() -> None:
    venue = _steady(stability={"margin": 5})
    venue.clicks(3, 6, at_ms=510)  # 15: ahead of all, of p2 by 5, of p1 by 4, of p0 by 3
    venue.tick(1000)
    assert "0 1 2" == venue.board()
    venue.clicks(3, 1, at_ms=1010)
    venue.tick(1500)
    assert "0 1 3" == venue.board()


def test_stability_looks_only_at_moments_of_the_grid_and_only_when_something_has_stirred() -> None:
    venue = _steady(stability={"margin": 1})
    assert venue.race.due_ms() is None
    venue.clicks(1, 9, at_ms=510)
    assert START_MS + 600 == venue.race.due_ms()  # a step of the windows; the grid comes later
    assert START_MS + 1000 == venue.race.memory.due_ms


def test_hard_changes_act_at_once_on_a_steady_board() -> None:
    venue = BoardVenue(slots=3, stability={"margin": 100})
    venue.put(exclude("a", product="p0"), at_ms=1)
    assert "1 2 3" == venue.board()
    venue.put(boost("b", 9, product="p11"), at_ms=2)
    assert "1 2 3" == venue.board()
    venue.put(boost("b", 90, product="p11"), at_ms=3)
    assert "11 1 2" == venue.board()


def test_churn_and_what_it_costs_are_measured() -> None:
    venue = _steady(stability={"margin": 5})
    venue.clicks(1, 6, at_ms=510)
    venue.tick(1000)
    churn = venue.race.churn

    assert (0, 2, 5.0) == (churn.moved, churn.moved_without, churn.given_up)


def test_a_margin_in_units_of_noise_grows_with_the_counts() -> None:
    """Levels of c and d clicks differ by chance by sqrt(c + d): 100 against 110 is no lead, 100 against 150 is one."""
    venue = _steady(CLICKS, slots=2, size=2, stability={"noise_units": 2})
    venue.clicks(0, 100, at_ms=510)
    venue.clicks(1, 110, at_ms=520)
    venue.tick(1000)
    assert "0 1" == venue.board()
    venue.clicks(1, 40, at_ms=1100)
    venue.tick(1500)
    assert "1 0" == venue.board()


# -- pairs of steps whose order matters --------------------------------------------------------------------------------


def test_boosts_act_before_standings_and_exclusions_after() -> None:
    venue = BoardVenue()
    venue.put(boost("a", 50, product="p11"), exclude("b", product="p11"))

    assert (1, None) == (venue.explain(11).standing, venue.explain(11).slot)


def test_an_exclusion_goes_before_stock() -> None:
    venue = BoardVenue(stock={"policy": "sink"}, size=4)
    venue.stock(1, 0)
    venue.put(exclude("a", product="p1"))

    assert "0 2 3" == venue.board()
    assert ["exclude"] == [step for step, _, _ in venue.steps(1)]


def test_stock_goes_before_stability() -> None:
    """Who holds a slot leaves it when sold out, whatever the margin, and comes back to it."""
    venue = _steady(stock={"policy": "drop"}, stability={"margin": 100})
    venue.clicks(5, 20, at_ms=510)
    venue.stock(0, 0, at_ms=520)
    assert "1 2 5" == venue.board()
    venue.stock(0, 5, at_ms=530)
    assert "0 1 2" == venue.board()


def test_stability_goes_before_newcomers() -> None:
    venue = BoardVenue(slots=3, stability={"margin": 100}, newcomers={"share": 0.3, "for_s": 60}, size=3)
    venue.rule(at_ms=61_000, slots=3, stability={"margin": 100}, newcomers={"share": 0.3, "for_s": 60})
    venue.enrol(12, at_ms=61_100, entry_score=-9.0)
    venue.tick(61_500)

    assert "0 1 12" == venue.board()


def test_newcomers_go_before_caps() -> None:
    """A newcomer has its place in the order, and is moved by a cap like any other."""
    venue = BoardVenue(slots=3, newcomers={"share": 0.3, "for_s": 2}, caps=[{"by": "merchant", "most": 1}])
    venue.tick(3000)
    venue.enrol(12, at_ms=3001, entry_score=0.0)  # of merchant m0, as p0 is
    venue.tick(3500)

    assert "0 1 2" == venue.board()
    assert ["newcomers", "caps and shares"] == [step for step, _, _ in venue.steps(12)]
    assert ["newcomers: 0 of at least 1 slots"] == venue.told()


def test_caps_go_before_tiers() -> None:
    venue = BoardVenue(
        slots=3, caps=[{"by": "category", "most": 1, "within": 2}], tiers=[{"tier": "hero", "slots": "2"}]
    )

    assert "0 4 1" == venue.board()
    assert ["slot 2: more than 1 per category within 2, by a later step"] == venue.told()


def test_tiers_go_before_soft_pins() -> None:
    venue = BoardVenue(slots=3, tiers=[{"tier": "hero", "slots": "1"}])
    venue.put(pin("a", "p7", 1, hard=False))

    assert "7 0 1" == venue.board()
    assert ["slot 1: no product of tier hero, by a later step"] == venue.told()


def test_soft_pins_go_before_hard_pins() -> None:
    venue = BoardVenue(slots=3)
    venue.put(pin("a", "p7", 1, hard=False), pin("b", "p8", 1))

    assert "8 7 0" == venue.board()


def test_caps_go_before_hard_pins() -> None:
    venue = BoardVenue(slots=3, caps=[_MERCHANT_CAP])
    venue.put(pin("a", "p3", 2))

    assert "0 3 1" == venue.board()
    assert ["slot 2: more than 1 per merchant within 3, by a later step"] == venue.told()


def test_stock_goes_before_hard_pins() -> None:
    """Pinned and sold out is suspended, told, and comes back."""
    venue = BoardVenue(slots=3, stock={"policy": "drop"})
    venue.put(pin("a", "p7", 1))
    venue.stock(7, 0)
    assert "0 1 2" == venue.board()
    assert ["pin a: suspended: p7 is sold out"] == venue.told()
    venue.stock(7, 1)
    assert "7 0 1" == venue.board()


def test_an_exclusion_goes_before_hard_pins() -> None:
    venue = BoardVenue(slots=3)
    venue.put(pin("a", "p7", 1), exclude("b", merchant="m1"))

    assert "0 2 3" == venue.board()
    assert ["pin a: suspended: p7 is excluded"] == venue.told()


def test_hard_pins_go_before_a_freeze() -> None:
    venue = BoardVenue(slots=3)
    venue.put({"kind": "freeze", "id": "f", "slots": 2})
    venue.put(pin("a", "p7", 1))
    assert "0 1 7" == venue.board()
    venue.put(withdraw=["f"])
    assert "7 0 1" == venue.board()


def test_a_freeze_goes_before_an_emergency_order() -> None:
    venue = BoardVenue(slots=3)
    venue.put({"kind": "freeze", "id": "f"})
    venue.put({"kind": "emergency", "id": "e", "products": ["p9"]})

    assert "9 0 1" == venue.board()
    assert "operators" == venue.shown.served


def test_stability_goes_before_caps() -> None:
    """Who holds a slot is moved by a cap like any other: the challenger of another merchant comes in."""
    venue = _steady(stability={"margin": 100}, slots=4, caps=[{"by": "merchant", "most": 1, "within": 4}])
    venue.clicks(9, 20, at_ms=510)
    venue.tick(1000)

    assert "0 1 2 3" == venue.board()  # p3 is the first of the order for the slot that no product fits
    assert ["slot 4: no product keeps cap 1 per merchant within 4; relaxed"] == venue.told()


def test_stability_goes_before_hard_pins() -> None:
    venue = _steady(stability={"margin": 100})
    venue.put(pin("a", "p9", 1), at_ms=510)

    assert "9 0 1" == venue.board()


def test_newcomers_go_before_tiers() -> None:
    venue = BoardVenue(slots=2, newcomers={"share": 0.5, "for_s": 2}, tiers=[{"tier": "hero", "slots": "1-2"}])
    venue.tick(3000)
    venue.enrol(13, at_ms=3001, entry_score=0.0)
    venue.tick(3500)

    assert "0 4" == venue.board()
    assert ["newcomers: 0 of at least 1 slots"] == venue.told()


def test_shares_go_before_tiers() -> None:
    venue = BoardVenue(
        slots=2, shares=[{"by": "tier", "value": "hero", "max": 0}], tiers=[{"tier": "hero", "slots": "1"}]
    )

    assert "0 1" == venue.board()
    assert ["share of tier hero: 1 of at most 0 slots"] == venue.told()


def test_tiers_go_before_hard_pins() -> None:
    venue = BoardVenue(slots=3, tiers=[{"tier": "hero", "slots": "2"}])
    venue.put(pin("a", "p7", 2))

    assert "0 7 4" == venue.board()
    assert ["slot 2: no product of tier hero, by a later step"] == venue.told()


def test_soft_pins_go_before_a_freeze() -> None:
    venue = BoardVenue(slots=3)
    venue.put({"kind": "freeze", "id": "f", "slots": 1})
    venue.put(pin("a", "p7", 1, hard=False))

    assert "0 7 1" == venue.board()


@pytest.mark.parametrize(
    "held", [{"kind": "freeze", "id": "h"}, {"kind": "emergency", "id": "h", "products": ["p0", "p1", "p2"]}]
)
def test_stock_goes_before_a_freeze_and_an_emergency_order(held: dict[str, Any]) -> None:
    """What is sold out leaves its slot, which is filled, and has it again when it comes back."""
    venue = BoardVenue(slots=3, stock={"policy": "sink"})
    venue.put(held)
    venue.stock(1, 0)
    assert "0 3 2" == venue.board()
    venue.stock(1, 2)
    assert "0 1 2" == venue.board()


def test_hard_pins_go_before_an_emergency_order() -> None:
    venue = BoardVenue(slots=3)
    venue.put(pin("a", "p7", 1, label="paid"), {"kind": "emergency", "id": "e", "products": ["p9"]})

    assert "9 7 0" == venue.board()
    assert () == venue.shown.slots[1].labels  # it is not where it was paid for


# -- kept --------------------------------------------------------------------------------------------------------------


def test_what_the_steps_of_a_board_remember_is_in_the_checkpoint() -> None:
    venue = _steady(stability={"margin": 5, "lead_s": 60}, newcomers={"share": 0.3, "for_s": 60})
    venue.clicks(1, 3, at_ms=510)
    venue.tick(1000)
    venue.clicks(2, 2, at_ms=1100)

    assert venue.race.memory.clocks
    assert state(venue.race) == state(venue.restored())


def test_a_race_that_is_restored_looks_no_sooner_than_one_that_never_stopped() -> None:
    venue = _steady(stability={"margin": 5}, stock={"policy": "drop"})
    venue.put(boost("a", 2, product="p5"), exclude("b", product="p1"), at_ms=600)
    venue.tick(1000)

    assert state(venue.race) == state(venue.restored())
