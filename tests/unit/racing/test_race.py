"""The fold by example: single venues whose every number can be worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from racing.entries import Body, Enrolment, Entry, RuleChange, Tick, Unreadable
from racing.model import EVENT_KINDS, START, Position
from racing.race import Race
from racing.rule import DEFAULT_RULE
from tests.laws.logs import START_MS, batch_of, rule_of, runner_of

_SEED = {"metric": "click", "signal": "uplift", "weight": 1}
_PAID = {"metric": "pay_amount", "signal": "level", "weight": 1}
_CLICK: dict[str, Any] = {"runner": 0, "type": "click"}
_PAY: dict[str, Any] = {"runner": 0, "type": "pay", "amount": 100, "id": "order-5"}
_REFUND: dict[str, Any] = {**_PAY, "type": "refund"}


class _Venue:
    """A race with 4 s windows of 2 s buckets and three runners, written to in ms since its start."""

    def __init__(self, *terms: dict[str, Any], **fields: Any) -> None:
        self.race = Race()
        self._seq = 0
        self.rule(*(terms or (_SEED,)), **fields)
        self.enrol({0: {}, 1: {}, 2: {}})

    def entry(self, body: Body, at_ms: int = 0) -> None:
        self._seq += 1
        self.race.apply([Entry(Position(START_MS + at_ms, self._seq), body)])

    def rule(self, *terms: dict[str, Any], at_ms: int = 0, version: int = 1, **fields: Any) -> None:
        self.entry(RuleChange(version=version, rule=rule_of(*terms, **fields)), at_ms)

    def enrol(self, runners: dict[int, dict[str, float]], at_ms: int = 0) -> None:
        self.entry(Enrolment([(number, runner_of(number, given)) for number, given in runners.items()]), at_ms)

    def events(self, at_ms: int, *events: dict[str, Any]) -> None:
        """Events whose own ts_ms, too, are since the start."""
        timed = [{**e, "ts_ms": START_MS + e["ts_ms"]} if "ts_ms" in e else e for e in events]
        self.entry(batch_of(timed), at_ms)

    def tick(self, at_ms: int) -> None:
        self.entry(Tick(), at_ms)

    def scores(self) -> list[float]:
        found: list[float] = self.race.scores.tolist()
        return found

    def counted(self) -> dict[str, int]:
        """The counts that are not 0, but for the sum that they balance with."""
        counts = self.race.counts
        assert counts.accepted == counts.settled()
        return {
            name: value for name in counts.__struct_fields__ if (value := getattr(counts, name)) and name != "accepted"
        }


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({**_CLICK, "runner": 3}, "unknown_runner"),
        ({**_CLICK, "ts_ms": 9000 + 300_001}, "future"),
        ({**_CLICK, "ts_ms": 1999}, "late"),
        ({**_CLICK, "ts_ms": -10_000_000}, "late"),
        ({**_REFUND, "id": "another"}, "unmatched_refund"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_event_that_cannot_be_counted_is_told_by_its_reason(event: dict[str, Any], reason: str) -> None:
    """At 9 s bucket 4 runs, and the base begins at 2 s."""
    venue = _Venue()
    venue.tick(9000)
    venue.events(9000, event)

    assert 1 == venue.counted()[reason]
    assert [0.0, 0.0, 0.0] == venue.scores()


def test_an_event_refused_once_is_refused_for_one_reason() -> None:
    venue = _Venue()
    venue.events(9000, {**_CLICK, "runner": 3, "ts_ms": -5, "id": "a"}, {**_CLICK, "runner": 3, "ts_ms": 10**9})

    assert {"unknown_runner": 2} == venue.counted()


def test_an_id_that_was_refused_may_come_again() -> None:
    """Only what was counted is a repeat: a late event corrected by its sender counts."""
    venue = _Venue()
    venue.tick(9000)
    venue.events(9000, {**_CLICK, "ts_ms": 0, "id": "a"})
    venue.events(9000, {**_CLICK, "ts_ms": 8500, "id": "a"})

    assert {"late": 1, "counted": 1} == venue.counted()


def test_an_unreadable_entry_is_counted_and_time_goes_on() -> None:
    venue = _Venue()
    venue.events(0, _CLICK)
    venue.entry(Unreadable("a flipped bit"), 4000)

    assert {"counted": 1, "unreadable": 1} == venue.counted()
    assert [-1.0, 0.0, 0.0] == venue.scores()


def test_a_rule_that_is_none_leaves_the_old_one() -> None:
    venue = _Venue()
    venue.entry(RuleChange(version=2, rule={"terms": []}))

    assert {"unreadable": 1} == venue.counted()
    assert 1 == venue.race.rule_version


# -- events in time ------------------------------------------------------------------------------------------


def test_an_event_rises_and_is_compared_and_leaves() -> None:
    """A click at 0 s: up for 4 s, down for as long, the last bucket by tenths."""
    venue = _Venue()
    venue.events(0, _CLICK)
    seen = []
    for at_ms in (3999, 4000, 5999, 6000, 6200, 7800, 7999, 8000):
        venue.tick(at_ms)
        seen.append(venue.scores()[0])

    assert [1.0, -1.0, -1.0, -0.1, -0.2, -1.0, -1.0, 0.0] == seen


def test_an_event_without_a_time_happens_when_it_arrives() -> None:
    venue = _Venue()
    venue.events(2000, _CLICK)
    venue.tick(5999)

    assert [1.0, 0.0, 0.0] == venue.scores()


def test_an_event_a_little_ahead_happens_now() -> None:
    """Its clock is ahead: it does not wait for its time, and does not count twice when that comes."""
    venue = _Venue(clock_skew_s=2)
    venue.events(3000, {**_CLICK, "ts_ms": 5000}, {**_CLICK, "ts_ms": 5001})

    assert {"counted": 1, "future": 1} == venue.counted()
    assert [1.0, 0.0, 0.0] == venue.scores()
    venue.tick(6000)
    assert [-1.0, 0.0, 0.0] == venue.scores()


def test_a_late_event_counts_in_the_bucket_of_its_own_time() -> None:
    """At 9 s the clicks of 2 s are compared with; a tenth's share of the oldest bucket applies to them too."""
    venue = _Venue()
    venue.tick(9000)
    venue.events(9000, {**_CLICK, "ts_ms": 4000}, {**_CLICK, "runner": 1, "ts_ms": 2000})

    assert [-1.0, -0.6, 0.0] == venue.scores()


@pytest.mark.parametrize(("ts_ms", "counted"), [(8000, 1), (7999, 0)])
def test_a_rule_may_take_late_events_for_a_shorter_time(ts_ms: int, counted: int) -> None:
    venue = _Venue(lateness_s=1)
    venue.events(9000, {**_CLICK, "ts_ms": ts_ms})

    assert (counted, 1 - counted) == (venue.race.counts.counted, venue.race.counts.late)


def test_time_moves_by_entries_alone() -> None:
    """Also by those that say nothing, and by those that cannot be read."""
    venue = _Venue()
    venue.events(0, _CLICK)
    moments: list[int] = []
    for body in (Tick(), Unreadable("?"), Enrolment([]), batch_of([])):
        venue.entry(body, 100 * (len(moments) + 1))
        moments.append(venue.race.moment_ms - START_MS)

    assert [100, 200, 300, 400] == moments


@pytest.mark.parametrize(("at_ms", "step_ms"), [(0, 200), (199, 200), (200, 400), (1800, 2000), (1999, 2000)])
def test_the_next_step_is_when_a_tick_is_due(at_ms: int, step_ms: int) -> None:
    venue = _Venue()
    venue.tick(at_ms)

    assert START_MS + step_ms == venue.race.next_step_ms()


def test_entries_not_after_the_position_are_passed_over() -> None:
    venue = _Venue()
    venue.events(500, _CLICK)
    again = Entry(venue.race.position, batch_of([_CLICK]))
    earlier = Entry(Position(START_MS, 99), batch_of([_CLICK]))
    venue.race.apply([again, earlier])

    assert {"counted": 1} == venue.counted()
    assert START_MS + 500 == venue.race.moment_ms


# -- ids and refunds -----------------------------------------------------------------------------------------


def test_an_id_counts_once_and_other_kinds_with_it_once_each() -> None:
    venue = _Venue()
    named = {**_CLICK, "id": "a"}
    venue.events(0, named, named, {**named, "type": "cart"})
    venue.events(500, named)

    assert {"counted": 2, "duplicate": 2} == venue.counted()


def test_events_without_an_id_are_not_compared() -> None:
    venue = _Venue()
    venue.events(0, _CLICK, _CLICK)
    venue.events(0, _CLICK)

    assert {"counted": 3} == venue.counted()


@pytest.mark.parametrize(
    ("refund", "left", "payments"),
    [
        ({"amount": 30}, 70.0, 1),
        ({"amount": 100}, 0.0, 0),
        ({"amount": 500}, 0.0, 0),
        ({"amount": 0}, 0.0, 0),
        ({"amount": None}, 0.0, 0),
        ({"runner": 1}, 100.0, 1),
        ({"id": "order-6"}, 100.0, 1),
        ({"id": None}, 100.0, 1),
    ],
    ids=str,
)
def test_a_refund_takes_back_from_the_payment_that_it_names(refund: dict[str, Any], left: float, payments: int) -> None:
    """The amount that it says, or all; and the payment's count once nothing is left."""
    venue = _Venue(_PAID)
    venue.events(0, _PAY)
    venue.events(0, {**_REFUND, **refund})

    assert left == venue.scores()[0]
    assert payments == venue.race.windows.window[0, 2 * EVENT_KINDS.index("pay")]


def test_a_refund_subtracts_at_the_moment_of_its_payment() -> None:
    """Paid at 0 s and refunded at 5 s: the base falls, and what happened since is untouched."""
    venue = _Venue({**_PAID, "signal": "uplift"})
    venue.events(0, _PAY, {**_PAY, "id": "order-6", "amount": 7})
    venue.events(5000, _REFUND)

    assert -7.0 == venue.scores()[0]


def test_a_refund_is_an_event_of_its_own_too() -> None:
    venue = _Venue({"metric": "refund_amount", "signal": "level", "weight": 1})
    venue.events(0, _PAY)
    venue.events(5000, _REFUND)

    assert 100.0 == venue.scores()[0]
    assert {"counted": 2} == venue.counted()


def test_a_payment_that_left_the_base_is_not_subtracted() -> None:
    """Its sums are gone; only the total since the race began still holds it."""
    venue = _Venue({**_PAID, "signal": "total"}, _PAID)
    venue.events(0, _PAY)
    venue.events(8000, _REFUND)

    assert 100.0 == venue.scores()[0]
    assert {"counted": 2} == venue.counted()


def test_a_refund_before_its_payment_names_nothing() -> None:
    venue = _Venue(_PAID)
    venue.events(0, _REFUND, _PAY)

    assert 100.0 == venue.scores()[0]
    assert {"counted": 2, "unmatched_refund": 1} == venue.counted()


# -- the venue's own numbers ---------------------------------------------------------------------------------


def test_the_tide_is_held_while_a_bucket_runs() -> None:
    """4 clicks and then 2: half is what everyone has, whatever comes late or now, until the next bucket."""
    venue = _Venue({**_SEED, "tide": True})
    venue.events(0, *[_CLICK] * 3, {**_CLICK, "runner": 1})
    venue.events(4000, _CLICK, {**_CLICK, "runner": 1})
    venue.tick(7999)
    assert [1 - 0.5 * 3, 1 - 0.5 * 1, 0.0] == venue.scores()

    venue.events(7999, *[{**_CLICK, "runner": 2}] * 4, {**_CLICK, "runner": 2, "ts_ms": 5000})
    assert [-0.5, 0.5, 5.0] == venue.scores()

    # now 4..8 s has 3 late or old clicks and 4 new ones, 0..4 s has 4
    venue.tick(8000)
    assert [-7 / 4, -7 / 4, 4 - 7 / 4] == venue.scores()


def test_an_event_changes_only_its_own_runners_score() -> None:
    terms = [{**_SEED, "tide": True}, {"ratio": ["order", "click"], "signal": "rate", "weight": 5}]
    venue = _Venue(*terms)
    venue.events(0, _CLICK, {**_CLICK, "runner": 1})
    venue.tick(4500)
    before = venue.scores()
    venue.events(4600, *[{"runner": 2, "type": "order"}] * 9)

    assert before[:2] == venue.scores()[:2]
    assert before[2] < venue.scores()[2]


# -- decisions -----------------------------------------------------------------------------------------------


def test_a_race_begins_with_nobody_and_the_default_rule() -> None:
    race = Race()

    assert (DEFAULT_RULE, 0, START, 0) == (race.rule, race.rule_version, race.position, race.moment_ms)
    assert () == race.slots()
    assert [] == race.take_changes().runners.tolist()


def test_runners_without_evidence_stand_in_the_order_of_their_enrolment() -> None:
    assert [(1, 0), (2, 1), (3, 2)] == [(slot.slot, slot.runner) for slot in _Venue().race.slots()]


def test_the_board_has_as_many_slots_as_the_rule_says() -> None:
    venue = _Venue(board={"slots": 2})
    venue.events(0, {**_CLICK, "runner": 2})
    assert [2, 0] == [slot.runner for slot in venue.race.slots()]

    venue.rule(_SEED, version=2, board={"slots": 1})

    assert [2] == [slot.runner for slot in venue.race.slots()]


def test_a_runner_that_joins_late_is_on_the_board() -> None:
    venue = _Venue({"attribute": "entry_score", "weight": 2})
    venue.enrol({3: {"entry_score": 1.5}}, at_ms=100)
    first = venue.race.slots()[0]

    assert (3, "product-3", 3.0) == (first.runner, first.product, first.score)


def test_enrolling_again_replaces_a_runners_data_and_keeps_its_events() -> None:
    venue = _Venue(_SEED, {"attribute": "entry_score", "weight": 1}, {"attribute": "margin", "weight": 1})
    venue.enrol({1: {"entry_score": 5.0, "margin": 2.0}})
    venue.events(0, {**_CLICK, "runner": 1})
    assert 8.0 == venue.scores()[1]

    venue.enrol({1: {"margin": 1.0}})

    assert 2.0 == venue.scores()[1]


def test_a_new_rule_scores_what_has_been_counted_all_along() -> None:
    """Counts and amounts of every kind are kept, whatever the rule of the moment weighs."""
    venue = _Venue()
    venue.events(0, {"runner": 1, "type": "cart", "amount": 30}, {"runner": 2, "type": "scan"})
    assert [0.0, 0.0, 0.0] == venue.scores()

    metrics = {"carts": {"event": "cart", "sum": "amount"}, "scans": {"event": "scan"}}
    terms = [{"metric": "carts", "signal": "level", "weight": 1}, {"metric": "scans", "signal": "total", "weight": 2}]
    venue.entry(RuleChange(version=2, rule={"window_s": 4, "bucket_s": 2, "metrics": metrics, "terms": terms}))

    assert [0.0, 30.0, 2.0] == venue.scores()
    assert 2 == venue.race.rule_version


def test_totals_outlive_windows_and_rules() -> None:
    venue = _Venue({"metric": "click", "signal": "total", "weight": 1})
    venue.events(0, _CLICK)
    venue.tick(100_000)
    venue.rule({"metric": "click", "signal": "total", "weight": 1}, at_ms=100_000, window_s=6, bucket_s=3)

    assert [1.0, 0.0, 0.0] == venue.scores()


# -- what is told --------------------------------------------------------------------------------------------


def test_changes_are_told_once() -> None:
    venue = _Venue()
    assert [0, 1, 2] == venue.race.take_changes().runners.tolist()
    venue.events(0, {**_CLICK, "runner": 1})
    changes = venue.race.take_changes()

    assert [1] == changes.runners.tolist()
    assert [128 + 2 * EVENT_KINDS.index("click")] == changes.keys.tolist()
    again = venue.race.take_changes()
    assert ([], []) == (again.runners.tolist(), again.keys.tolist())


def test_a_sum_may_change_where_no_score_does() -> None:
    """What the rule does not weigh is counted and shown nevertheless."""
    venue = _Venue()
    venue.race.take_changes()
    venue.events(0, {"runner": 1, "type": "cart"})
    changes = venue.race.take_changes()

    assert [] == changes.runners.tolist()
    assert [128 + 2 * EVENT_KINDS.index("cart")] == changes.keys.tolist()


def test_a_checkpoint_is_due_when_a_bucket_begins() -> None:
    venue = _Venue()
    venue.race.checkpoint()
    due = []
    for at_ms in (100, 1999, 2000, 2001):
        venue.tick(at_ms)
        due.append(venue.race.checkpoint_due)
        if due[-1]:
            venue.race.checkpoint()

    assert [False, False, True, False] == due


def test_a_checkpoint_is_full_at_first_and_when_buckets_are_cut_anew() -> None:
    venue = _Venue()
    full = [venue.race.checkpoint()[1], venue.race.checkpoint()[1]]
    venue.rule({**_SEED, "weight": 2}, version=2)
    full.append(venue.race.checkpoint()[1])
    venue.rule(_SEED, version=3, window_s=6, bucket_s=3)
    full += [venue.race.checkpoint()[1], venue.race.checkpoint()[1], venue.race.checkpoint(full=True)[1]]

    assert [True, False, False, True, False, True] == full


def test_a_checkpoint_of_nothing_new_is_small() -> None:
    """It holds what came since the last one, not all that is known."""
    venue = _Venue()
    venue.enrol({number: {"entry_score": 1.0} for number in range(2000)})
    venue.events(0, *({"runner": number, "type": "click", "id": str(number)} for number in range(2000)))
    whole, _ = venue.race.checkpoint()
    since, _ = venue.race.checkpoint()

    assert len(since) < 2000
    assert len(whole) > 20_000
