"""Laws of how long answers to Idempotency-Keys are kept, whatever owners come and go and however they are paused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from racing.store.answers import AnswersAge
from racing.store.keys import VenueKeys

KEYS = VenueKeys("hall-1")
KEEP_MS = 1_000


@dataclass
class Redis:
    """The hashes of answers and the commit record, and what happens to them."""

    now_ms: int = 0
    hashes: dict[str, set[int]] = field(default_factory=dict)
    age_ms: int = 0
    taken_ms: int = 0
    answered_ms: dict[int, int] = field(default_factory=dict)

    def clock_s(self) -> float:
        """The owners' monotonic clock."""
        return self.now_ms / 1000

    def owner(self) -> AnswersAge:
        """A new owner, from what was committed last."""
        with mock.patch("time.monotonic", self.clock_s):
            return AnswersAge(KEYS, KEEP_MS, self.age_ms)

    def take(self, owner: AnswersAge) -> list[tuple[Any, ...]]:
        """What an owner puts into a commit, which is not written yet."""
        with mock.patch("time.monotonic", self.clock_s):
            self.taken_ms, commands = owner.take()
        return commands

    def answer(self) -> None:
        """A batch under a new key."""
        key = len(self.answered_ms)
        self.answered_ms[key] = self.now_ms
        self.hashes.setdefault(KEYS.answers, set()).add(key)

    def commit(self, owner: AnswersAge) -> None:
        """A commit of this owner."""
        commands = self.take(owner)
        self.age_ms = self.taken_ms
        for name, key, *rest in commands:
            if name == "UNLINK":
                self.hashes.pop(key, None)
            elif name == "HSET":
                self.hashes.setdefault(key, set())
            else:
                assert name == "RENAME"
                self.hashes[rest[0]] = self.hashes.pop(key)

    def known(self) -> set[int]:
        """Keys of which an answer is known."""
        return set().union(*(self.hashes.get(key, set()) for key in (KEYS.answers, KEYS.answers_before)))


TURNS = st.lists(st.tuples(st.sampled_from(["commit", "commit", "owner", "fail"]), st.integers(0, 400)), max_size=60)


@given(turns=TURNS)
@settings(max_examples=200)
def test_an_answer_is_kept_for_as_long_as_was_promised_whoever_owns_the_venue(
    turns: list[tuple[str, int]],
) -> None:
    redis = Redis()
    owner = redis.owner()
    for what, passed_ms in turns:
        redis.answer()
        redis.now_ms += passed_ms
        if what == "commit":
            redis.commit(owner)
        elif what == "fail":  # the commit is refused, and the owner ends
            redis.take(owner)
            owner = redis.owner()
        else:
            owner = redis.owner()
        young = {key for key, at_ms in redis.answered_ms.items() if redis.now_ms - at_ms < KEEP_MS}
        assert young <= redis.known()


@given(steps_ms=st.lists(st.integers(1, 500), min_size=1, max_size=60))
@settings(max_examples=100)
def test_an_answer_goes_after_twice_as_long_and_two_commits(steps_ms: list[int]) -> None:
    """While one owner commits every half second at least, as it does."""
    redis = Redis()
    owner = redis.owner()
    for step_ms in steps_ms:
        redis.answer()
        redis.now_ms += step_ms
        redis.commit(owner)
        assert all(redis.now_ms - redis.answered_ms[key] < 2 * (KEEP_MS + 500) for key in redis.known())


@given(left_ms=st.integers(0, KEEP_MS - 1))
def test_the_next_owner_counts_on(left_ms: int) -> None:
    """So owners that come and go do not keep answers for good."""
    redis = Redis()
    first = redis.owner()
    redis.now_ms += left_ms
    redis.commit(first)
    second = redis.owner()
    redis.now_ms += KEEP_MS - left_ms
    assert redis.take(second)
