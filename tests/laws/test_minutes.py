"""A record of a minute's standings is read as it was written, to the precision that it keeps."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from racing.store.minutes import Minute, pack, unpack
from tests.contract.track import START_MS


@given(st.lists(st.floats(-(2.0**90), 2.0**90, width=32), max_size=40))
def test_a_record_is_read_as_it_was_written(scores: list[float]) -> None:
    fall = np.sort(np.array(scores, np.float64))[::-1] + 0.0
    runners = np.arange(len(fall), dtype=np.int64)[::-1] * 100_000_007 % 2**32
    found = unpack(pack(Minute(START_MS, 7, runners[:5], runners, fall)))
    assert (found.at_ms, found.field, found.board.tolist()) == (START_MS, 7, runners[:5].tolist())
    assert found.runners.tolist() == runners.tolist()
    assert found.score.tolist() == fall.tolist()
