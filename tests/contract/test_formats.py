"""Old and new side by side: what a newer Saima has written is refused by name and left as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from racing import formats
from racing.entries import DECISION_FIELD, EVENTS_FIELD, RuleChange, encode_decision
from racing.errors import NewerFormatError
from racing.formats import FORMAT
from racing.formula import FORMULA, FORMULAS, Formula
from racing.model import START, FloatArray
from racing.owner import VenueThread
from racing.rule import DEFAULT_RULE
from racing.store.desk import Desk
from racing.store.log import read_after
from racing.store.protocol import SyncClient
from racing.verify import verify
from tests.contract.servers import RealStore
from tests.contract.track import CLICKS, Track, clicks, packed
from tests.laws.logs import state
from tests.waiting import until

pytestmark = pytest.mark.parametrize("store", ["embedded"], indirect=True)
"""One kind of server: nothing here depends on it."""

NEWER = f"has format {FORMAT + 1}, this Saima reads up to {FORMAT}"


@pytest.fixture
def track(client: SyncClient) -> Track:
    made = Track(client)
    made.begin()
    owner = made.owner()
    made.settle(owner)
    made.click(0, 0, 1)
    made.click(0, after_ms=2_000)
    made.settle(owner)
    return made


def held(track: Track) -> dict[bytes, Any]:
    return {key: track.raw.dump(key) for key in track.raw.keys()}  # noqa: SIM118  # of Redis


def with_newer_commit(track: Track) -> None:
    track.raw.set(track.keys.commit, msgspec.json.encode(msgspec.structs.replace(track.commit(), format=FORMAT + 1)))


def with_commit_of_other_fields(track: Track) -> None:
    track.raw.set(track.keys.commit, msgspec.json.encode({"format": FORMAT + 1, "position": ["of", "two", "logs"]}))


def as_newer(track: Track, write: Callable[[], object]) -> None:
    """Let a newer Saima write."""
    with pytest.MonkeyPatch.context() as patched:
        for module in ("racing.columns", "racing.entries", "racing.store.commit"):
            patched.setattr(f"{module}.FORMAT", FORMAT + 1)
        patched.setattr(formats, "FORMAT", FORMAT + 1)
        write()


def with_newer_events(track: Track) -> None:
    as_newer(track, lambda: track.raw.xadd(track.keys.log, {EVENTS_FIELD: packed(clicks([2]))}))


def with_newer_decision(track: Track) -> None:
    as_newer(track, lambda: track.raw.xadd(track.keys.log, {DECISION_FIELD: encode_decision(RuleChange(2, CLICKS))}))


@pytest.mark.parametrize("change", [with_newer_commit, with_commit_of_other_fields])
def test_newer_state_is_not_taken_over(track: Track, change: Callable[[Track], None]) -> None:
    change(track)
    before = held(track)
    with pytest.raises(NewerFormatError, match=NEWER):
        track.owner()
    assert held(track) == before


@pytest.mark.parametrize("change", [with_newer_events, with_newer_decision])
def test_newer_entry_stops_an_older_scorer_before_it_writes_anything(
    track: Track, change: Callable[[Track], None]
) -> None:
    owner = track.owner()
    change(track)
    before = held(track)
    with pytest.raises(NewerFormatError, match=NEWER):
        read_after(track.client, track.keys, owner.race.position)
    assert held(track) == before
    as_newer(track, lambda: track.settle(owner))
    assert owner.race.counts.unreadable == 0


def test_newer_checkpoint_is_not_taken_for_a_damaged_one(track: Track) -> None:
    def write() -> None:
        track.click(1, after_ms=2_000)
        record = msgspec.structs.replace(track.settle(track.owner()), format=FORMAT)
        track.raw.set(track.keys.commit, msgspec.json.encode(record))  # the mark that keeps an older one away is gone

    as_newer(track, write)
    checkpoints = track.raw.hgetall(track.keys.checkpoints)
    with pytest.raises(NewerFormatError, match=NEWER):
        track.owner()
    assert track.raw.hgetall(track.keys.checkpoints) == checkpoints


def test_verify_refuses_what_is_newer(track: Track) -> None:
    with_newer_commit(track)
    with pytest.raises(NewerFormatError, match=NEWER):
        verify(track.client, track.venue)


def test_older_scorer_gives_the_lease_up_for_a_newer_one(track: Track, store: RealStore) -> None:
    with_newer_commit(track)
    older = VenueThread(store.url, track.venue, "older", track.settings)
    older.start()
    try:
        lease = track.keys.lease
        until(lambda: _hold(track, lease), within_s=10, what="the lease is free for a newer scorer")
    finally:
        older.stop()
        older.join(10)
    assert track.raw.get(lease) == b"newer"


def _hold(track: Track, lease: str) -> bool:
    return bool(track.raw.set(lease, "newer", nx=True, px=60_000))


# -- formulas ------------------------------------------------------------------------------------------------


class Doubled(Formula):
    """Scores twice as high: a formula of tomorrow."""

    def scores(self, sums: Any) -> FloatArray:
        return 2 * super().scores(sums)


def change_rule(track: Track, version: int, formula: int) -> None:
    raw = encode_decision(RuleChange(version, CLICKS, formula=formula))
    track.raw.xadd(track.keys.log, {DECISION_FIELD: raw}, id=f"{track.now_ms}-*")


def test_frames_are_verified_with_the_formula_that_their_rule_version_was_logged_with(
    track: Track, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMULAS, FORMULA + 1, Doubled)
    owner = track.owner()
    track.click(0, 0, 1)
    track.settle(owner)
    assert track.frames()[-1].slots[0].score == 5
    assert verify(track.client, track.venue).differences == []
    change_rule(track, 2, FORMULA + 1)
    track.settle(owner)
    assert track.frames()[-1].slots[0].score == 10
    assert verify(track.client, track.venue).differences == [], "refolded through both formulas"
    assert state(track.owner().race) == state(owner.race), "a restored race knows its formula"
    track.click(*[2] * 20, after_ms=10)
    track.settle(track.owner())
    assert track.frames()[-1].slots[0].score == 40
    assert verify(track.client, track.venue).differences == []


def test_rule_version_of_an_unknown_formula_is_refused_and_nothing_is_written(track: Track) -> None:
    owner = track.owner()
    change_rule(track, 2, FORMULA + 1)
    before = held(track)
    with pytest.raises(NewerFormatError, match=f"formula {FORMULA + 1}, this Saima knows up to {FORMULA}"):
        track.step(owner)
    assert held(track) == before


async def test_new_rule_version_is_scored_by_the_newest_formula(
    desk: Desk, client: SyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("rules", "venues"):
        monkeypatch.setattr(f"racing.store.{module}.FORMULA", 7)
    await desk.venues.create("hall-1", "Hall 1", DEFAULT_RULE, author="me")
    made, _ = await desk.rules.put("hall-1", DEFAULT_RULE, after=1, author="me", note="")
    track = Track(client)
    found = [entry.body for entry in read_after(client, track.keys, START)]
    assert [body.formula for body in found if isinstance(body, RuleChange)] == [7, 7]
    assert made.formula == (await desk.rules.read("hall-1")).formula == 7
