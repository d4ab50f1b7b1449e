"""The shortest form of the crash points: python -m tests.faults crash_points runs all, with --quick in 50 s."""

from __future__ import annotations

from racing.store.scripts import Script, source
from tests.faults.crash_points import KINDS, crash_all, run


def test_a_crash_at_any_point_of_append_and_commit_is_mended_by_the_retry_and_the_next_owner() -> None:
    """All workloads of one batch and of two, and six of the 125 of three."""
    result = run(1000, deep=False, every=21)
    assert result.holds, result
    assert result.workloads == len(KINDS) + len(KINDS) ** 2 + -(-(len(KINDS) ** 3) // 21)
    assert result.retries == result.rounds > 1000


def test_an_append_that_forgets_its_key_is_found_out() -> None:
    """The exercise sees what it is there to see: a key that is not kept doubles a batch whose reply was lost."""

    def forgetful(name: Script) -> str:
        return (
            source(name)
            .replace("'*'", "redis.call('GET', 'clock')")
            .replace("'HSET', KEYS[3], ARGV[2],", "'HSET', KEYS[3], 'none',")
        )

    result = crash_all([("new",)], deep=False, scripts=forgetful)
    assert not result.holds
    assert result.doubled
