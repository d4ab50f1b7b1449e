"""The short form of the simulation: python -m tests.faults simulation runs the long one."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from racing.errors import FencedError
from racing.store.commit import Committer, read_commit
from racing.store.scripts import Script, source
from tests.faults.simulation import run
from tests.simulation.run import simulate
from tests.stack import ROOT

SEEDS = 500
PART = 100
"""Seeds of one test, so that processes of a test run share them."""

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # processes that are killed close nothing


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """What killed processes have left is collected here, not under another test."""
    yield
    gc.collect()


@pytest.mark.parametrize("first", range(1, SEEDS + 1, PART))
def test_no_seed_breaks_an_invariant_and_equal_seeds_give_equal_traces(first: int) -> None:
    result = run(PART, seed=first)

    assert result.holds, result.failed
    assert result.rounds == PART
    assert result.repeated == PART // 20
    assert result.acknowledged > 20 * PART
    assert result.take_overs > 2 * PART


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_trace_of_a_seed_is_the_same_in_another_process(hash_seed: str) -> None:
    """However that one hashes its strings."""
    code = "from tests.simulation.run import simulate; print(*(simulate(seed).trace for seed in (3, 8)))"
    told = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": hash_seed}, cwd=ROOT, capture_output=True, check=True
    )

    assert told.stdout.decode().split() == [simulate(seed).trace for seed in (3, 8)]


def test_different_seeds_give_different_traces() -> None:
    assert len({simulate(seed).trace for seed in range(1, 6)}) == 5


def _broken(likely: int, most: int) -> bool:
    """Whether a seed finds it: first the one that did when this was written, then as many as it takes."""
    return any(not simulate(seed).holds for seed in (likely, *range(1, most)))


def test_an_owner_that_does_not_look_at_the_epoch_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation can fail: without the check before a fold, and the watch on the key, commits of two mix."""
    monkeypatch.setattr(Committer, "begin", lambda self: self._pipe.reset())

    assert _broken(105, 200)


def test_an_owner_that_looks_but_does_not_watch_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(self: Committer) -> None:
        self._pipe.reset()
        if read_commit(self._client, self._keys) != self.last:
            raise FencedError("another owner has committed")

    monkeypatch.setattr(Committer, "begin", begin)

    assert _broken(3, 400)


def test_an_append_that_does_not_know_its_key_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    forgetful = source("append_events").replace("if known then", "if false then")

    def told(name: Script) -> str:
        return forgetful if name == "append_events" else source(name)

    monkeypatch.setattr("racing.store.desk.source", told)

    assert _broken(2, 20)
