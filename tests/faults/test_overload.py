"""The short form of the overload; python -m tests.faults overload holds its times to their bounds as well.

Times are not held here: a machine that runs other tests beside this one tells nothing about them.
"""

from __future__ import annotations

import pytest

from tests.faults import overload


def test_whatever_is_acknowledged_under_overload_is_counted_once_and_whatever_is_not_is_told_when_to_return(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, seconds in (("_CALM_S", 0.5), ("_PEAK_S", 2.0), ("_OVER_S", 2.0)):
        monkeypatch.setattr(overload, name, seconds)
    result = overload.run(1)
    assert set(result.statuses) <= {"202", "503"}, result
    assert result.acknowledged, result
    assert (result.lost, result.doubled, result.unanswered, result.without_retry_after) == (0, 0, 0, 0), result
    assert result.reads_failed == 0, result
