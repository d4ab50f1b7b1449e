"""The short form of cuts and flips: python -m tests.faults torn_file runs the long one."""

from __future__ import annotations

from tests.faults.torn_file import run


def test_cut_files_give_a_prefix_and_flipped_bits_are_never_silent() -> None:
    result = run(12)
    assert result.holds, result
    assert result.cuts == 12
    assert sum(result.flips["segments"].values()) == sum(result.flips["append_only_file"].values()) == 5
