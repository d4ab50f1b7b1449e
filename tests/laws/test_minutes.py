"""Records of standings, and of who is watched, are read as they were written, to the precision that they keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from racing.store.blocks import DamagedFileError
from racing.store.minutes import Minute, pack, unpack
from racing.store.watched import pack_watched, point_in
from tests.contract.track import START_MS


@given(st.lists(st.floats(-(2.0**90), 2.0**90, width=32), max_size=40))
def test_a_record_is_read_as_it_was_written(scores: list[float]) -> None:
    fall = np.sort(np.array(scores, np.float64))[::-1] + 0.0
    runners = np.arange(len(fall), dtype=np.int64)[::-1] * 100_000_007 % 2**32
    found = unpack(pack(Minute(START_MS, 7, runners[:5], runners, fall)))
    assert (found.at_ms, found.field, found.board.tolist()) == (START_MS, 7, runners[:5].tolist())
    assert found.runners.tolist() == runners.tolist()
    assert found.score.tolist() == fall.tolist()


_STOOD = st.tuples(
    st.one_of(st.none(), st.integers(1, 10_000)), st.integers(1, 2**32 - 1), st.integers(-999_999, 999_999).map(float)
)


@given(st.dictionaries(st.integers(0, 2**32 - 1), _STOOD, max_size=20))
def test_watched_runners_are_read_as_they_were_written(stood: dict[int, tuple[int | None, int, float]]) -> None:
    data = pack_watched(START_MS, tuple(stood.items()))
    assert {runner: point_in(data, runner) for runner in stood} == stood
    absent = next(number for number in range(21) if number not in stood)
    assert point_in(data, absent) is None


@pytest.mark.parametrize("data", [b"", pack_watched(START_MS, ((1, (None, 2, 3.0)),))[:-1]])
def test_watched_runners_that_are_cut_off_are_damaged(data: bytes) -> None:
    with pytest.raises(DamagedFileError, match="watched"):
        point_in(data, 1)
