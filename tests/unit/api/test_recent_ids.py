"""Ids that came before are told as repeats, for as long as the race remembers them."""

from __future__ import annotations

from api.recent_ids import RecentIds
from api.sent_events import EventIn
from racing.rule import Rule
from tests.unit.api.batches import RULE, event, taken_of


def named(*events: EventIn) -> list[tuple[str, str]]:
    """As a batch of these names those that have an id."""
    return taken_of(*events).named()


def test_an_id_that_came_before_is_a_repeat_within_its_kind() -> None:
    recent = RecentIds()
    recent.add(named(event(id="a"), event()), now_ms=100, since_ms=0)
    again = named(event(id="a"), event(type="order", id="a"), event(id="b"), event())
    assert recent.repeats(again, since_ms=0) == 1


def test_an_id_twice_in_a_batch_is_one_repeat() -> None:
    assert RecentIds().repeats(named(event(id="a"), event(id="a"), event(), event()), since_ms=0) == 1


def test_an_id_is_forgotten_when_the_race_has_forgotten_it() -> None:
    """The fold remembers an id from its first time on; a repeat does not make it young again."""
    recent = RecentIds()
    recent.add(named(event(id="a")), now_ms=1_000, since_ms=100)
    recent.add(named(event(id="a")), now_ms=1_500, since_ms=600)
    assert recent.repeats(named(event(id="a")), since_ms=1_000) == 1
    assert recent.repeats(named(event(id="a")), since_ms=1_001) == 0
    recent.add(named(event(id="a")), now_ms=2_000, since_ms=1_100)
    assert recent.repeats(named(event(id="a")), since_ms=1_500) == 1


def test_ids_are_kept_in_two_bounded_generations() -> None:
    """A full generation becomes the one before; the one before that is let go."""
    recent = RecentIds(most=2)
    for start in (0, 3, 6):
        recent.add(named(*(event(id=f"i{n}") for n in range(start, start + 3))), now_ms=1, since_ms=0)
    assert recent.repeats(named(*(event(id=f"i{n}") for n in range(9))), since_ms=0) == 3


def test_a_rule_knows_how_long_an_id_is_remembered() -> None:
    """The longer of two windows and 15 minutes."""
    assert [Rule.model_validate({**RULE, "window_s": s}).id_memory_ms for s in (60, 3600)] == [900_000, 7_200_000]
