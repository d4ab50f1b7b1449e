"""A log that is not what was committed: found by the next owner, who goes on with what is sound of it, and says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from racing.entries import DECISION_FIELD, EVENTS_FIELD, Runner
from racing.orders import parse_order
from racing.rule import parse_rule
from racing.scorer import VenueScorer
from racing.store.archive import SETTLED_MS, archive
from racing.store.checkpoints import Chain
from racing.store.desk import Desk
from racing.store.orders import Orders, Wanted
from racing.store.protocol import SyncClient
from racing.verify import verify
from tests.contract.track import CLICKS, Raw, Track, clicks, packed, sets_of
from tests.laws.logs import rule_of, state

DOUBLE = rule_of({"metric": "click", "signal": "level", "weight": 2}, board={"slots": 3})


@pytest.fixture
def track(client: SyncClient) -> Track:
    """A venue whose last checkpoint comes before a rule, an enrolment, a batch and a tick."""
    made = Track(client)
    made.begin()
    owner = made.owner()
    made.settle(owner)
    made.click(0, 0, 1)
    made.settle(owner)
    made.now_ms += 2000 - made.now_ms % 2000 + 10
    made.click(2)
    made.settle(owner)
    made.write({"rule": DOUBLE}, after_ms=10)
    made.write({"enrol": {3: {}}})
    made.click(1, 1)
    made.write({"tick": True})
    made.settle(owner)
    assert made.commit().damaged == 0
    return made


def at(raws: list[Raw], field: bytes) -> int:
    """Where the last entry with a field is."""
    return max(index for index, (_, fields) in enumerate(raws) if field in fields)


def flip(field: bytes, place: int) -> Callable[[list[Raw]], list[Raw]]:
    """One bit of a field of the last entry that has it."""

    def change(raws: list[Raw]) -> list[Raw]:
        index = at(raws, field)
        name, fields = raws[index]
        value = bytearray(fields[field])
        value[place] ^= 1
        return [*raws[:index], (name, {**fields, field: bytes(value)}), *raws[index + 1 :]]

    return change


def lose(raws: list[Raw]) -> list[Raw]:
    index = at(raws, EVENTS_FIELD)
    return raws[:index] + raws[index + 1 :]


def lose_the_end(raws: list[Raw]) -> list[Raw]:
    return raws[: at(raws, EVENTS_FIELD)]


def move(raws: list[Raw]) -> list[Raw]:
    """The last entry, by one place within its millisecond."""
    *before, (name, fields) = raws
    ms, _, seq = name.partition(b"-")
    return [*before, (ms + b"-" + str(int(seq) + 1).encode(), fields)]


def settled(track: Track, owner: VenueScorer) -> None:
    """Let an owner fold and write all there is, and see that what it shows agrees."""
    track.settle(owner)
    assert track.sets() == sets_of(owner.race)
    assert track.frames()[-1].slots == owner.race.slots()
    assert owner.race.counts.accepted == owner.race.counts.settled()


@pytest.mark.parametrize(
    "change",
    [flip(EVENTS_FIELD, -1), flip(EVENTS_FIELD, 2), flip(DECISION_FIELD, 40), lose, lose_the_end, move],
    ids=["flipped batch", "flipped checksum", "flipped decision", "lost entry", "lost end", "moved entry"],
)
def test_damaged_log_is_found_by_the_next_owner_and_what_is_shown_is_that_of_the_rest(
    track: Track, change: Callable[[list[Raw]], list[Raw]]
) -> None:
    track.rewrite(change)
    with capture_logs() as lines:
        owner = track.owner()

    assert next(line["event"] for line in lines if line["log_level"] == "error").startswith("log damaged")
    settled(track, owner)
    assert track.commit().damaged == 1


def test_sound_log_is_no_damage_to_the_next_owner(track: Track) -> None:
    track.rewrite(list)
    with capture_logs() as lines:
        owner = track.owner()

    assert not [line for line in lines if line["event"].startswith(("log", "checkpoint", "sorted sets"))]
    settled(track, owner)
    assert track.commit().damaged == 0


def test_damage_is_told_for_as_long_as_the_venue_lives(track: Track) -> None:
    track.rewrite(lose)
    settled(track, track.owner())
    settled(track, track.owner())

    assert track.commit().damaged == 1
    assert any("damaged" in note for note in verify(track.client, track.venue).notes)


@pytest.mark.parametrize("change", [flip(EVENTS_FIELD, -1), lose, move], ids=["flipped", "lost", "moved"])
def test_verify_names_a_log_that_is_not_what_was_committed(
    track: Track, change: Callable[[list[Raw]], list[Raw]]
) -> None:
    assert verify(track.client, track.venue).clean
    track.rewrite(change)

    assert any(line.startswith("log: ") for line in verify(track.client, track.venue).differences)


def test_decision_that_is_damaged_before_it_is_folded_is_passed_over_and_counted(track: Track) -> None:
    track.write({"rule": CLICKS}, after_ms=10)
    track.rewrite(flip(DECISION_FIELD, 60))
    owner = track.owner()
    track.settle(owner)

    assert (owner.race.rule_version, owner.race.counts.unreadable) == (2, 1)


@pytest.mark.parametrize("at_place", [30, -30])
async def test_damaged_enrolment_and_rule_are_logged_again_from_their_hashes(
    desk: Desk, client: SyncClient, at_place: int
) -> None:
    await desk.venues.create("hall-1", "Hall 1", parse_rule(CLICKS), author="test")
    track = Track(client)
    await desk.runners.enrol(track.venue, [Runner(f"p-{index}", "m", "title", entry_score=index) for index in range(3)])
    await desk.rules.put(track.venue, parse_rule(DOUBLE), after=1, author="test", note="")
    owner = track.owner()
    track.now_ms = owner.race.moment_ms
    track.settle(owner)
    right = (owner.race.rule_version, owner.race.products, owner.race.slots())

    def change(raws: list[Raw]) -> list[Raw]:
        return [flip(DECISION_FIELD, at_place)([raw])[0] for raw in raws]

    track.rewrite(change)
    track.raw.delete(track.keys.checkpoints)
    owner = track.owner()
    settled(track, owner)

    assert (owner.race.rule_version, owner.race.products, owner.race.slots()) == right
    assert owner.race.counts.unreadable == 3


async def test_damaged_orders_are_logged_again_from_their_hash(desk: Desk, client: SyncClient) -> None:
    """What was put is put again, and what was withdrawn is withdrawn."""
    await desk.venues.create("hall-1", "Hall 1", parse_rule(CLICKS), author="test")
    track = Track(client)
    await desk.runners.enrol(track.venue, [Runner(f"p-{index}", "m", "title") for index in range(3)])
    orders = Orders(desk, desk.client)
    pins = [parse_order({"kind": "pin", "id": name, "product": "p-2", "slot": 1}) for name in "ab"]
    await orders.decide(track.venue, lambda _: Wanted(put=pins[:1], author="test"))
    await orders.decide(track.venue, lambda _: Wanted(put=pins[1:], withdraw=["a"], author="test"))
    owner = track.owner()
    track.now_ms = owner.race.moment_ms
    track.settle(owner)
    right = (owner.race.steering.book.documents(), owner.race.slots())

    track.rewrite(lambda raws: [*raws[:-1], *flip(DECISION_FIELD, 40)(raws[-1:])])
    track.raw.delete(track.keys.checkpoints)
    owner = track.owner()
    settled(track, owner)

    assert (owner.race.steering.book.documents(), owner.race.slots()) == right
    assert ["b"] == [document["id"] for document in right[0]]


def test_segment_files_make_up_for_damaged_entries_that_they_hold(client: SyncClient, tmp_path: Path) -> None:
    """The newest checkpoints are damaged too, so that what the files hold must be folded again."""
    track = Track(client, segments_dir=tmp_path)
    track.begin()
    owner = track.owner()
    for _ in range(8):
        track.click(0, 1, after_ms=1100)
        track.settle(owner)
    track.raw.hset(track.keys.checkpoints, *full_now(track, owner))
    track.click(0, after_ms=SETTLED_MS + 1_000)
    track.settle(owner)
    assert archive(track.client, track.keys, tmp_path, owner.epoch)
    track.click(2, after_ms=3000)
    track.settle(owner)
    right = state(owner.race)

    def enrolment(raws: list[Raw]) -> list[Raw]:
        return [*raws[:1], *flip(DECISION_FIELD, 60)(raws[1:2]), *raws[2:]]

    track.rewrite(enrolment)
    for name, record in track.raw.hgetall(track.keys.checkpoints).items():
        track.raw.hset(track.keys.checkpoints, name, record[:-1] + bytes([record[-1] ^ 1]))
    with capture_logs() as lines:
        owner = track.owner()

    said = [line["event"] for line in lines if line["log_level"] == "error"]
    assert said[:2] == ["checkpoint damaged, going back to a sound one", "log damaged, reading segment files instead"]
    assert state(owner.race) == right
    settled(track, owner)
    assert track.commit().damaged == 0


@pytest.mark.parametrize("which", ["a part", "the newest part", "the full one"])
def test_checkpoint_that_is_lost_is_no_part_of_a_race_that_others_are_restored_to(track: Track, which: str) -> None:
    """Its name in the file was another: each record is sound, but one is missing among them."""
    owner = track.owner()
    for _ in range(3):
        track.click(0, after_ms=2000)
        track.settle(owner)
    right = state(owner.race)
    names = sorted(name.decode() for name in track.raw.hkeys(track.keys.checkpoints))
    assert len(names) >= 4
    assert names[0].endswith("full")
    lost = {"a part": names[-2], "the newest part": names[-1], "the full one": names[0]}[which]
    track.raw.hdel(track.keys.checkpoints, lost)
    owner = track.owner()

    assert state(owner.race) == right
    settled(track, owner)
    assert track.commit().damaged == 0


@pytest.mark.parametrize("change", [lose, lose_the_end, move], ids=["lost entry", "lost end", "moved entry"])
def test_damage_after_the_last_commit_is_found_by_the_links_of_entries(
    track: Track, change: Callable[[list[Raw]], list[Raw]]
) -> None:
    track.click(0, after_ms=10)
    track.click(1, after_ms=10)
    track.write({"tick": True})
    track.click(2, after_ms=10)
    track.rewrite(change)
    track.raw.delete(track.keys.sets_run)  # another run of the server: it has loaded its file
    with capture_logs() as lines:
        owner = track.owner()

    assert next(line["event"] for line in lines if line["log_level"] == "error").startswith("log damaged")
    settled(track, owner)
    assert track.commit().damaged == 1


def test_entries_without_links_and_entries_of_now_are_no_damage(track: Track) -> None:
    """As an older Saima appends them, and as they come while an owner looks."""
    track.click(0, after_ms=10)
    track.raw.xadd(track.keys.log, {EVENTS_FIELD: packed(clicks([1]))}, id=f"{track.now_ms}-*")
    track.click(2, after_ms=10)
    track.raw.xadd(track.keys.log, {EVENTS_FIELD: packed(clicks([1]))}, id=f"{track.now_ms}-*")
    track.raw.delete(track.keys.sets_run)
    settled(track, track.owner())

    assert track.commit().damaged == 0


def test_mark_of_the_compared_sets_that_is_damaged_only_has_them_compared_again(track: Track) -> None:
    track.raw.set(track.keys.sets_run, b"82cc61274\xe57e")
    settled(track, track.owner())

    assert track.commit().damaged == 0


@pytest.mark.parametrize(
    ("place", "bit"),
    [(2, 0x20), (2, 0x80), (15, 0x01), (27, 0x01), (3, 0x01)],
    ids=["no digit", "no text", "no dash", "no kind", "a later moment"],
)
def test_checkpoint_under_a_damaged_name_is_passed_over_and_goes_with_the_next_record(
    track: Track, place: int, bit: int
) -> None:
    owner = track.owner()
    for _ in range(3):
        track.click(0, after_ms=2000)
        track.settle(owner)
    right = state(owner.race)
    (name,) = (name for name in track.raw.hkeys(track.keys.checkpoints) if name.endswith(b"full"))
    wrong = name[:place] + bytes([name[place] ^ bit]) + name[place + 1 :]
    track.raw.hset(track.keys.checkpoints, wrong, track.raw.hget(track.keys.checkpoints, name))
    track.raw.hdel(track.keys.checkpoints, name)
    owner = track.owner()

    assert state(owner.race) == right
    track.click(0, after_ms=2000)
    settled(track, owner)
    assert track.raw.hexists(track.keys.checkpoints, wrong) == 0
    assert track.commit().damaged == 0


def full_now(track: Track, owner: VenueScorer) -> tuple[str, bytes]:
    """A full checkpoint of an owner's race as it stands, by its name."""
    race = owner.race
    name, _ = Chain().add(race.position, 1, full=True)
    return name, race.checkpoint(full=True)[0]
