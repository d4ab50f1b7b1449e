"""Which ids were counted, and what refunds may still take from the payments they name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from racing.ids import SeenIds, kind_salt
from racing.model import EVENT_KINDS
from racing.windows import Windows
from tests.laws.logs import law

_MEMORY_MS = 1000
_KEY, _RUNNER = 7, 3


def _first(ids: SeenIds, *keys: int, at_ms: int = 0) -> list[bool]:
    found: list[bool] = ids.first_seen(list(keys), [at_ms] * len(keys), _MEMORY_MS).tolist()
    return found


def _paid(amount: int = 100) -> SeenIds:
    """A payment of runner 3 at 50 ms under key 7, remembered until 1000 ms."""
    ids = SeenIds()
    _first(ids, _KEY)
    ids.paid(_KEY, 50, _RUNNER, amount, _MEMORY_MS)
    return ids


def _restored(ids: SeenIds) -> SeenIds:
    restored = SeenIds()
    restored.load(ids.save(full=True))
    return restored


def test_an_id_counts_once_in_a_batch() -> None:
    assert [True, True, False, True, False] == _first(SeenIds(), 1, 2, 1, 3, 3)


def test_an_id_counts_once_in_whatever_batch_it_comes_again() -> None:
    ids = SeenIds()

    assert [True] == _first(ids, 1)
    assert [False, True] == _first(ids, 1, 2, at_ms=500)


@pytest.mark.parametrize(("at_ms", "first"), [(_MEMORY_MS - 1, False), (_MEMORY_MS, True)])
@pytest.mark.parametrize("purged", [False, True])
def test_an_id_is_remembered_to_the_millisecond(at_ms: int, first: bool, purged: bool) -> None:
    """Whether it was purged in between decides nothing."""
    ids = SeenIds()
    _first(ids, 1)
    if purged:
        ids.purge(at_ms)

    assert [first] == _first(ids, 1, at_ms=at_ms)


def test_a_repeat_does_not_prolong_the_memory() -> None:
    ids = SeenIds()
    _first(ids, 1)
    _first(ids, 1, at_ms=900)

    assert [True] == _first(ids, 1, at_ms=1000)


def test_what_has_expired_is_forgotten() -> None:
    """Memory is bounded by what came within the memory's length."""
    ids = SeenIds()
    for at_ms in range(0, 50_000, 10):
        _first(ids, at_ms, at_ms=at_ms)
        ids.paid(at_ms, at_ms, _RUNNER, 1, at_ms + _MEMORY_MS)
        ids.purge(at_ms)

    assert len(ids) <= _MEMORY_MS // 10 + 1
    assert len(ids) == len(ids._payments)


def test_one_id_may_name_an_event_of_each_kind() -> None:
    """A payment and its refund share the id, and are no repeats of each other."""
    assert len(EVENT_KINDS) == len({kind_salt(kind) for kind in EVENT_KINDS})


@pytest.mark.parametrize(
    ("key", "runner", "at_ms"),
    [(8, _RUNNER, 10), (_KEY, 4, 10), (_KEY, _RUNNER, _MEMORY_MS)],
    ids=["another id", "another runner", "after its expiry"],
)
def test_a_refund_that_names_no_payment_takes_nothing(key: int, runner: int, at_ms: int) -> None:
    ids = _paid()

    assert ids.take_back(key, runner, 0, at_ms) is None
    assert (50, 100, True) == ids.take_back(_KEY, _RUNNER, 0, 10)


@pytest.mark.parametrize(
    ("amount", "taken", "whole"), [(0, 100, True), (30, 30, False), (100, 100, True), (101, 100, True)]
)
def test_a_refund_takes_what_it_says_and_never_more_than_was_paid(amount: int, taken: int, whole: bool) -> None:
    """An amount of 0 takes all."""
    assert (50, taken, whole) == _paid().take_back(_KEY, _RUNNER, amount, 10)


def test_refunds_of_parts_take_what_is_left_and_then_nothing() -> None:
    ids = _paid()

    assert (50, 30, False) == ids.take_back(_KEY, _RUNNER, 30, 10)
    assert (50, 60, False) == ids.take_back(_KEY, _RUNNER, 60, 10)
    assert (50, 10, True) == ids.take_back(_KEY, _RUNNER, 60, 10)
    assert ids.take_back(_KEY, _RUNNER, 0, 10) is None


def test_a_payment_of_nothing_can_be_taken_back_once() -> None:
    ids = _paid(amount=0)

    assert (50, 0, True) == ids.take_back(_KEY, _RUNNER, 0, 10)
    assert ids.take_back(_KEY, _RUNNER, 0, 10) is None


@pytest.mark.parametrize("taken", [0, 30, 100])
def test_restored_memory_gives_the_same_answers(taken: int) -> None:
    ids = _paid()
    if taken:
        ids.take_back(_KEY, _RUNNER, taken, 10)
    restored = _restored(ids)

    assert [False, True] == _first(restored, _KEY, 8, at_ms=999)
    assert ids.take_back(_KEY, _RUNNER, 0, 999) == restored.take_back(_KEY, _RUNNER, 0, 999)


def test_only_what_is_new_is_saved_again() -> None:
    ids = _paid()
    ids.save(full=False)

    assert {} == ids.save(full=False)
    _first(ids, 8)
    assert [8] == ids.save(full=False)["id_key"].tolist()
    ids.take_back(_KEY, _RUNNER, 30, 10)
    assert [70] == ids.save(full=False)["paid_left"].tolist()


@law(100)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 700), st.integers(0, 2)), max_size=25))
def test_parts_saved_on_the_way_are_the_whole(steps: list[tuple[int, int, int]]) -> None:
    """Purges and saves at any moment change no answer."""
    plain, purged, restored = SeenIds(), SeenIds(), SeenIds()
    at_ms = 0
    for key, later_ms, action in steps:
        at_ms += later_ms
        if action:
            purged.purge(at_ms)
        if action == 2:
            restored.load(purged.save(full=False))
            assert len(restored) >= len(purged)
        expected = _first(plain, key, at_ms=at_ms)
        assert expected == _first(purged, key, at_ms=at_ms)
    restored.load(purged.save(full=False))
    keys = range(5)

    assert _first(plain, *keys, at_ms=at_ms) == _first(restored, *keys, at_ms=at_ms)


def test_a_payment_goes_where_its_bucket_went() -> None:
    """A refund after buckets were cut anew subtracts where the payment's cell is now."""
    ids = _paid()
    old = Windows(window_ms=40, bucket_ms=20)
    old.move(*old.place(60))
    ids.recut(old)

    assert (40, 100, True) == ids.take_back(_KEY, _RUNNER, 0, 60)


def test_a_payment_that_left_the_base_does_not_come_back() -> None:
    ids = _paid()
    short = Windows(window_ms=20, bucket_ms=20)
    short.move(*short.place(100))
    ids.recut(short)
    found = ids.take_back(_KEY, _RUNNER, 0, 100)

    assert found is not None
    assert found[0] < -(10**15)


def test_keys_of_all_64_bits_are_kept() -> None:
    ids = SeenIds()
    _first(ids, 2**64 - 1)

    assert [2**64 - 1] == ids.save(full=True)["id_key"].tolist()
    assert np.uint64 == _paid().save(full=True)["paid_key"].dtype
