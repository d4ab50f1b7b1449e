"""A follower stands where the last commit stands, goes back as far as the log does, and says where that is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from racing.advice import Target
from racing.errors import BoundError, DocumentError, GoneError, NotFoundError, StoreError, StoreUnavailableError
from racing.follower import VENUES_MAX, Followed, Follower
from racing.inquiries import Answer, AskAdvice, AskExplain, AskPlain, AskPreview, AskSlot, AskWhatIf, Question
from racing.model import START, Position
from racing.questions import Draft, rule_document
from racing.scorer import VenueScorer
from racing.store.log import first_position
from racing.store.past import Past
from racing.store.protocol import SyncClient
from tests.contract.test_checkpoints import race_on
from tests.contract.test_segment_files import race_and_file
from tests.contract.track import CLICKS, START_MS, Track
from tests.laws.logs import EVERY_SIGNAL, rule_of, state

pytestmark = pytest.mark.parametrize("store", ["embedded"], indirect=True)
"""One kind of server: it reads by commands that the other suites ask of all."""


@pytest.fixture
def track(client: SyncClient, monkeypatch: pytest.MonkeyPatch) -> Track:
    monkeypatch.setattr("racing.store.checkpoints._OUTWEIGHED_BYTES_MIN", 1_000)
    return Track(client, log_keep_s=60)


@pytest.fixture
def owner(track: Track) -> VenueScorer:
    """A race of four minutes, every signal in its rule."""
    track.begin(rule_of(*EVERY_SIGNAL, window_s=60, bucket_s=30, board={"slots": 4}), runners=5)
    made = track.owner()
    race_on(track, made, minutes=4)
    track.settle(made)
    return made


def followed(track: Track, **settings: Any) -> Followed:
    return Followed(track.client, track.venue, track.settings.model_copy(update=settings))


def explain(track: Track, product: str = "product-1", **at: Any) -> dict[str, Any]:
    return followed(track).answer(AskExplain(track.venue, product, **at))


# -- the race now ----------------------------------------------------------------------------------------------


def test_a_venue_that_is_not_is_refused(track: Track) -> None:
    with pytest.raises(NotFoundError, match="there is no venue"):
        followed(track).live()


def test_a_product_that_is_not_enrolled_is_refused(track: Track, owner: VenueScorer) -> None:
    with pytest.raises(NotFoundError, match="'p-none' was not enrolled"):
        explain(track, "p-none")


def test_it_is_the_owners_race_and_follows_it(track: Track, owner: VenueScorer) -> None:
    """State for state, from one commit to the next, over bucket boundaries and checkpoints."""
    follower = followed(track)
    for _ in range(4):
        race, record = follower.live()
        assert state(race) == state(owner.race)
        assert (record.frame, race.position) == (track.frames()[-1].frame, owner.race.position)
        race_on(track, owner, minutes=1)
        track.settle(owner)


def test_it_never_runs_ahead_of_the_commit(track: Track, owner: VenueScorer) -> None:
    """What is only in the log may be gone after a failover."""
    track.click(1, 1, 1, after_ms=10)
    race, _ = followed(track).live()
    assert race.position == owner.race.position < Position.parse(track.last())


def test_it_writes_nothing(track: Track, owner: VenueScorer) -> None:
    def everything() -> dict[bytes, Any]:
        return {key: track.raw.dump(key) for key in sorted(track.raw.scan_iter(count=1000))}

    before = everything()
    draft = Draft(rule=CLICKS)
    questions: list[Question] = [
        AskPreview(track.venue, draft),
        AskWhatIf(track.venue, draft, 2),
        AskExplain(track.venue, "product-1"),
        AskSlot(track.venue, 1),
        AskAdvice(track.venue, "product-1", Target(), None, "exact"),
        AskPlain(track.venue, 4),
    ]
    for question in questions:
        assert followed(track).answer(question)["position"]
    assert everything() == before


def test_after_a_take_over_it_is_restored(track: Track, owner: VenueScorer) -> None:
    """A failover may have taken entries back that were folded: then the log goes on without them."""
    follower = followed(track)
    lost = follower.live()[0]
    lost.apply([])
    other = track.owner()
    track.click(3, 3, after_ms=50)
    track.settle(other)
    race, record = follower.live()
    assert race is not lost
    assert record.epoch == other.epoch
    assert state(race) == state(other.race)


def test_a_log_that_is_not_what_was_committed_gets_no_answer(track: Track, owner: VenueScorer) -> None:
    record = track.commit()
    track.raw.set(track.keys.commit, msgspec.json.encode(msgspec.structs.replace(record, log_sum=1)))
    with pytest.raises(StoreError, match="does not come to what was committed"):
        followed(track).live()


def test_one_question_folds_so_many_events_and_no_more(track: Track, owner: VenueScorer) -> None:
    follower = followed(track, follower_events_max=5)
    with pytest.raises(BoundError, match="more than 5 events"):
        follower.answer(AskWhatIf(track.venue, Draft(rule=CLICKS), 60))


# -- explain ---------------------------------------------------------------------------------------------------


def test_a_product_is_explained_as_it_stands_in_each_kept_frame(track: Track, owner: VenueScorer) -> None:
    """Terms and scores are those that the frame shows, bit for bit."""
    frames = track.frames()
    assert len(frames) > 5
    for frame in (frames[0], frames[len(frames) // 2], frames[-1]):
        for slot in frame.slots:
            found = explain(track, slot.product, frame=frame.frame)
            assert (found["frame"], found["position"], found["slot"]) == (frame.frame, frame.position, slot.slot)
            assert found["terms"] == msgspec.to_builtins(slot.terms)
            assert found["score"] == slot.score == found["summed"]
            assert found["rule_version"] == frame.rule_version


def test_a_moment_is_explained_as_the_race_stood_then(track: Track, owner: VenueScorer) -> None:
    """With all entries of that millisecond, and none after it."""
    frame = track.frames()[len(track.frames()) // 2]
    found = explain(track, frame.slots[0].product, at_ms=frame.at_ms)
    assert found["terms"] == msgspec.to_builtins(frame.slots[0].terms)
    before = explain(track, frame.slots[0].product, at_ms=frame.at_ms - 1)
    assert Position.parse(before["position"]) < Position.parse(frame.position)


def test_a_moment_that_lies_ahead_is_refused(track: Track, owner: VenueScorer) -> None:
    with pytest.raises(DocumentError, match="at_ms: must not lie ahead") as refused:
        explain(track, at_ms=track.now_ms + 60_000)
    assert refused.value.fields[0][0] == "at_ms"


def test_before_the_race_it_is_gone_and_the_beginning_is_named(track: Track, owner: VenueScorer) -> None:
    with pytest.raises(GoneError, match=str(START_MS)):
        explain(track, at_ms=START_MS - 1)


def test_a_frame_to_come_is_not_found_and_one_that_went_is_gone(track: Track, owner: VenueScorer) -> None:
    last = track.frames()[-1].frame
    with pytest.raises(NotFoundError, match=f"no frame {last + 1} yet"):
        explain(track, frame=last + 1)
    track.raw.xtrim(track.keys.frames, maxlen=3, approximate=False)
    with pytest.raises(GoneError, match=f"frame 1 is not kept: the earliest is {last - 2}"):
        explain(track, frame=1)


def test_where_the_log_was_trimmed_the_earliest_moment_is_named(track: Track) -> None:
    track.begin(rule_of(*EVERY_SIGNAL, window_s=60, bucket_s=30, board={"slots": 4}), runners=5)
    owner = track.owner()
    race_on(track, owner, minutes=33)
    track.settle(owner)
    first = first_position(track.client, track.keys)
    assert first is not None
    assert first.ms > START_MS
    with pytest.raises(GoneError, match="no longer reaches back") as gone:
        explain(track, at_ms=START_MS + 60_000)
    earliest_ms = int(str(gone.value).rpartition(" ")[2])
    assert explain(track, at_ms=earliest_ms)["at_ms"] == earliest_ms
    with pytest.raises(GoneError):
        explain(track, at_ms=earliest_ms - 1)


def test_segment_files_lead_back_to_the_beginning(track: Track, tmp_path: Path) -> None:
    """An hour that Redis no longer holds is explained, previewed over and asked what if of."""
    track.begin(rule_of(*EVERY_SIGNAL, window_s=60, bucket_s=30, board={"slots": 4}), runners=5)
    owner = track.owner()
    owner.archived = START
    race_and_file(track, owner, tmp_path)
    track.settle(owner)
    follower = followed(track, segments_dir=tmp_path)
    wanted = Position(START_MS + 20 * 60_000, 0)
    race = Past(track.client, track.keys, tmp_path).race_at(wanted)
    assert race.position <= wanted
    found = follower.answer(AskExplain(track.venue, "product-1", at_ms=wanted.ms))
    assert found["at_ms"] <= wanted.ms < found["at_ms"] + 5_000
    whole = follower.answer(AskWhatIf(track.venue, Draft(rule=rule_document(owner.race.rule)), 10_080))
    assert whole["from_ms"] == START_MS
    assert whole["events"] == owner.race.counts.accepted
    assert whole["same"] == len(whole["boards"]) > 100


# -- slots -----------------------------------------------------------------------------------------------------


def test_who_held_a_slot_is_told_from_the_frame_with_the_whole_reason(track: Track, owner: VenueScorer) -> None:
    frame = track.frames()[3]
    found = followed(track).answer(AskSlot(track.venue, 2, at_ms=frame.at_ms))
    assert found["held"] == msgspec.to_builtins(frame.slots[1])
    assert (found["frame"], found["position"]) == (frame.frame, frame.position)
    assert found["explained"]["product"] == frame.slots[1].product
    assert found["explained"]["terms"] == found["held"]["terms"]
    now = followed(track).answer(AskSlot(track.venue, 1))
    assert now["held"] == msgspec.to_builtins(track.frames()[-1].slots[0])


def test_a_slot_that_the_frame_has_not_is_not_found(track: Track, owner: VenueScorer) -> None:
    with pytest.raises(NotFoundError, match="has 4 slots, and no slot 5"):
        followed(track).answer(AskSlot(track.venue, 5))


# -- segments --------------------------------------------------------------------------------------------------


def test_a_segment_that_is_not_declared_is_refused_now_and_is_the_whole_venue_where_it_was_not_yet(
    track: Track, owner: VenueScorer
) -> None:
    with pytest.raises(DocumentError, match='segment: leave it out: this venue declares no segments, not "new"') as no:
        followed(track).answer(AskExplain(track.venue, "product-1", segment="new"))
    assert no.value.fields[0][0] == "segment"
    with pytest.raises(DocumentError, match="segment: leave it out"):
        followed(track).answer(AskPreview(track.venue, Draft(), segment="new"))
    frame = track.frames()[3].frame
    assert explain(track, frame=frame) == explain(track, frame=frame, segment="new")


# -- what if ---------------------------------------------------------------------------------------------------


def test_what_if_under_the_served_rule_is_what_was_served(track: Track, owner: VenueScorer) -> None:
    """Each board beside the frame that readers had just before it."""
    found = followed(track).answer(AskWhatIf(track.venue, Draft(rule=rule_document(owner.race.rule)), 2, 7))
    assert found["same"] == len(found["boards"]) > 10
    assert (found["overlap"], found["rank_change"]) == (1.0, 0.0)
    assert found["from_ms"] == owner.race.position.ms - 120_000
    assert "not simulated" in found["assumed"][0]


def test_too_many_boards_are_refused_with_the_field(
    track: Track, owner: VenueScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = AskWhatIf(track.venue, Draft(rule=CLICKS), 60, 1)
    assert followed(track).answer(question)["every_ms"] == 1000
    monkeypatch.setattr("racing.follower._BOARDS_MAX", 10)
    with pytest.raises(DocumentError, match="every_s: must leave at most 10 boards"):
        followed(track).answer(question)


# -- a follower of several venues ------------------------------------------------------------------------------


def test_errors_come_as_answers_with_their_kind_and_fields(track: Track, owner: VenueScorer) -> None:
    follower = Follower("", track.settings, connect_to=lambda *_, **__: track.client)
    answer = follower.answer(AskExplain(track.venue, "product-1", at_ms=2**52))
    with pytest.raises(DocumentError) as refused:
        answer.found()
    assert refused.value.fields == (("at_ms", refused.value.fields[0][1], str(2**52)),)
    order = Draft(put=[{"kind": "pin", "id": "a", "product": "product-1", "slot": 0}])
    with pytest.raises(DocumentError, match=r"put\[0\]"):
        follower.answer(AskPreview(track.venue, order)).found()


def test_a_fault_of_ours_is_no_end_of_it(track: Track, owner: VenueScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    follower = Follower("", track.settings, connect_to=lambda *_, **__: _Unclosed(track.client))
    with monkeypatch.context() as patch:
        patch.setattr("racing.follower.explained", lambda *_: 1 / 0)
        assert follower.answer(AskExplain(track.venue, "product-1")).error == "RacingError"
    assert follower.answer(AskExplain(track.venue, "product-1")) != Answer()


def test_it_holds_so_many_venues_and_lets_the_oldest_go(track: Track) -> None:
    closed: list[str] = []

    class Client:
        def __init__(self, venue: str) -> None:
            self.venue = venue

        def close(self) -> None:
            closed.append(self.venue)

    follower = Follower("", track.settings, connect_to=lambda _, venue: Client(venue))  # type: ignore[arg-type,return-value]  # nothing else is asked of it
    for number in range(VENUES_MAX + 2):
        follower.venue(f"hall-{number}")
        follower.venue("hall-0")
    assert closed == ["hall-1", "hall-2"]


class _Unclosed:
    """A client that outlives who was given it."""

    def __init__(self, client: SyncClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def close(self) -> None:
        """Nothing."""


# -- venues that nobody races ----------------------------------------------------------------------------------


def test_a_venue_that_nobody_races_is_told_so(track: Track, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moments after it was made it is waited for."""
    monkeypatch.setattr("racing.follower._FIRST_S", 0.05)
    track.begin()
    with pytest.raises(StoreUnavailableError, match="not raced yet"):
        followed(track).live()


def test_the_past_begins_as_near_as_there_is_a_checkpoint(track: Track, owner: VenueScorer) -> None:
    """A part where there is one: little is to be folded."""
    past = Past(track.client, track.keys, None)
    wanted = Position(track.now_ms - 60_000, 0)
    race = past.race_at(wanted)
    assert wanted.ms - 30_000 - 3_000 <= race.position.ms <= wanted.ms
    assert past.race_at(START).position == START
