"""Files cut off anywhere and bytes flipped: a prefix comes back and nothing else, or it is refused; never silence.

A venue is raced by hand on an embedded server, with checkpoints, sets, frames and segment files. Then copies of its
append-only file are cut at many offsets, and single bits are flipped in that file, in checkpoints, in segments,
and in batches and decisions that no checkpoint holds yet. What a new owner makes of each copy is held against a
replay of the sender's own journal: it is right, or refused, or told: an entry is passed over and counted, and all that
is shown agrees with the rest.
"""

from __future__ import annotations

import itertools
import logging
import random
import shutil
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import structlog

from racing.entries import DECISION_FIELD, EVENTS_FIELD, Entry
from racing.errors import RacingError, StoreUnavailableError
from racing.model import START, Position
from racing.race import Race
from racing.store import reads
from racing.store.archive import archive
from racing.store.client import connect
from racing.store.commit import last_frame, read_commit
from racing.store.embedded import EmbeddedServer
from racing.store.keys import VenueKeys
from racing.store.log import entries_between, entry_of, raw_between
from racing.store.reads import members
from racing.store.segment_files import read_segment, segments_of
from tests.contract.track import Raw, Track, sets_of
from tests.faults.exercise import Tell, run_from_command_line, silent
from tests.laws.logs import EVERY_SIGNAL, rule_of, state

VENUE = "hall-1"
QUICK_S = 38.0
"""Quick runs do as many rounds as fit in this."""
_FLIPS_PER_CUT = 10
_STEPS = 120
_NAME_MAX = 64
"""Bytes of names, keys and ids; what is longer is a value, and has a checksum of its own."""


@dataclass
class Result:
    """What cuts and flips came to. It holds if every cut gave a prefix, and no flip went by in silence."""

    rounds: int = 0
    cuts: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    torn: int = 0
    flips: dict[str, dict[str, int]] = field(default_factory=dict)
    silent: int = 0
    troubles: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every bound was kept."""
        wrong = self.lost or self.doubled or self.torn or self.silent or self.troubles
        return bool(self.cuts and self.acknowledged and not wrong)

    def flip(self, where: str, what: str) -> None:
        """Count what became of a flip."""
        counted = self.flips.setdefault(where, dict.fromkeys(("right", "told", "refused", "silent"), 0))
        counted[what] += 1
        self.silent += what == "silent"

    def trouble(self, text: str) -> None:
        """Keep the first few."""
        if len(self.troubles) < 40:
            self.troubles.append(text)


@dataclass(frozen=True)
class Raced:
    """A data folder as its server left it, and the sender's journal: entries, and where in the file each ends."""

    folder: Path
    journal: list[Entry]
    raws: list[Raw]
    ends: list[int]
    events: list[int]

    framing: dict[str, list[list[int]]]

    @property
    def file(self) -> Path:
        """The append-only file proper."""
        return _append_only(self.folder)

    def replayed(self, last: Position) -> Race:
        """The race by the journal alone, up to and with a position."""
        race = Race()
        race.apply([entry for entry in self.journal if entry.position <= last])
        return race


def _append_only(folder: Path) -> Path:
    (found,) = folder.glob("appendonlydir/*.incr.aof")
    return found


def race(folder: Path, seed: int) -> Raced:
    """Race a venue by hand for two minutes of log time, then end its server."""
    rng = random.Random(seed)
    server = EmbeddedServer(folder, appendfsync="always")
    server.start()
    client = connect(server.url)
    track = Track(client, VENUE)
    ends: list[int] = []
    events: list[int] = []

    def noted(count: int) -> None:
        ends.extend([_append_only(folder).stat().st_size] * (track.raw.xlen(track.keys.log) - len(ends)))
        events.extend([count] * (len(ends) - len(events)))

    track.begin(rule_of(*EVERY_SIGNAL, window_s=8, bucket_s=2, board={"slots": 4}), runners=8)
    noted(0)
    owner = track.owner()
    for step in range(_STEPS):
        batch = [_event(rng, step, index) for index in range(rng.randrange(1, 6))]
        track.write({"events": batch}, after_ms=rng.randrange(1, 900))
        noted(len(batch))
        if step % 40 == 20:
            track.write({"rule": rule_of(*EVERY_SIGNAL, window_s=8, bucket_s=2, board={"slots": 3 + step % 3})})
            noted(0)
        if rng.random() < 0.7:  # entries gather now and then
            track.step(owner, after_ms=rng.randrange(100))
    raws = list(itertools.chain.from_iterable(raw_between(client, track.keys, START, Position(2**62, 0))))
    client.close()
    server.stop()
    framing = _framing_of(_append_only(folder).read_bytes())
    return Raced(folder, [entry_of(raw) for raw in raws], raws, ends, events, framing)


def _event(rng: random.Random, step: int, index: int) -> dict[str, Any]:
    kind = rng.choice(["click", "pay", "order", "refund"])
    return {"type": kind, "runner": rng.randrange(8), "amount": rng.randrange(1, 999), "id": f"e{step // 2}-{index}"}


@contextmanager
def _copy(raced: Raced, data: bytes) -> Iterator[Track]:
    """The venue on a server over a copy with another append-only file. StoreUnavailableError if it won't start."""
    with tempfile.TemporaryDirectory(prefix="saima-") as name:
        folder = Path(name)
        shutil.copytree(raced.folder / "appendonlydir", folder / "appendonlydir")
        _append_only(folder).write_bytes(data)
        server = EmbeddedServer(folder)
        try:
            server.start()
            track = Track(connect(server.url), VENUE)
            try:
                yield track
            finally:
                track.client.close()
        finally:
            server.stop()


# -- cuts ------------------------------------------------------------------------------------------------------


def cut(raced: Raced, offset: int, result: Result) -> None:
    """Cut the file at an offset: what stood whole before it comes back, and the board is that prefix's."""
    whole = raced.file.read_bytes()
    result.cuts += 1
    expected = sum(end <= offset for end in raced.ends)
    result.acknowledged += sum(raced.events[:expected])
    try:
        with _copy(raced, whole[:offset]) as track:
            log = _log_of(track)
            result.lost += max(0, expected - len(log))
            result.doubled += len(log) - len({entry.position for entry in log})
            if [entry.position for entry in log] != [entry.position for entry in raced.journal[: len(log)]]:
                result.trouble(f"cut at {offset}: the log is not a prefix of the journal")
            if expected >= 2:  # there is a race, with rule and runners
                _hold_against(raced, track, f"cut at {offset}", result)
    except (RacingError, AssertionError) as exc:
        result.trouble(f"cut at {offset}: {exc!r}"[:400])


def _log_of(track: Track) -> list[Entry]:
    last = Position(2**62, 0)
    return list(itertools.chain.from_iterable(entries_between(track.client, track.keys, START, last)))


def _hold_against(raced: Raced, track: Track, where: str, result: Result) -> None:
    """Commit, frame, recovered state and sets against the journal's replay."""
    commit = read_commit(track.client, track.keys)
    counts = msgspec.to_builtins(raced.replayed(Position.parse(commit.position)).counts)
    frames = track.frames()
    torn = bool(commit.counts) and commit.counts != counts
    torn |= (frames[-1].frame if frames else 0) != commit.frame
    torn |= bool(frames) and frames[-1].slots != raced.replayed(Position.parse(frames[-1].position)).slots()
    owner = track.owner()
    torn |= state(owner.race) != state(raced.replayed(owner.race.position))
    track.now_ms = _log_of(track)[-1].position.ms
    track.settle(owner)
    torn |= state(owner.race) != state(raced.replayed(owner.race.position)) or track.sets() != sets_of(owner.race)
    torn |= track.commit().damaged != 0
    if torn:
        result.torn += 1
        result.trouble(f"{where}: what came back is not the board of its log")


# -- flips ------------------------------------------------------------------------------------------------------


def flipped(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """(the same bytes but for one bit, where that was)."""
    at, bit = rng.randrange(len(data)), rng.randrange(8)
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :], f"byte {at} bit {bit}"


def flip_file(raced: Raced, rng: random.Random, result: Result) -> None:
    """A bit of the append-only file."""
    data, where = flipped(raced.file.read_bytes(), rng)
    try:
        with _copy(raced, data) as track:
            _judge(raced, track, "append_only_file", where, result, raced.journal[-1].position)
    except StoreUnavailableError:
        result.flip("append_only_file", "refused")


def flip_framing(raced: Raced, rng: random.Random, result: Result) -> None:
    """A bit of a command's name, key, field, id or length, every kind of command as often, at times near the end."""
    whole = raced.file.read_bytes()
    kind = rng.choice(sorted(raced.framing))
    places = rng.choice(raced.framing[kind])
    at, bit = rng.choice(places), rng.randrange(8)
    after = bisect_right(raced.ends, at)
    last = rng.choice([len(raced.ends) - 1, min(after + rng.randrange(3), len(raced.ends) - 1)])
    last = bisect_right(raced.ends, raced.ends[last]) - 1
    data = whole[: raced.ends[last]] if last < len(raced.ends) - 1 else whole
    flipped_data = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
    line = whole[places[0] : places[-1] + 1].replace(b"\r\n", b" ")[:200]
    where = f"{kind}: byte {at} bit {bit}, entry {after} of {last}, in {line!r} at {at - places[0]}"
    try:
        with _copy(raced, flipped_data) as track:
            _judge(raced, track, "framing", where, result, raced.journal[last].position)
    except StoreUnavailableError:
        result.flip("framing", "refused")


def _framing_of(data: bytes) -> dict[str, list[list[int]]]:
    """Command and key -> for each such command the offsets of all its bytes that are not of a long value.

    All sorted sets are as one.
    """
    found: dict[str, list[list[int]]] = {}
    at = 0
    while at < len(data):
        begun, (count, at) = at, _number(data, at)
        places, words = list(range(begun, at)), []
        for _ in range(count):
            start, (size, at) = at, _number(data, at)
            places += range(start, at + (size if size <= _NAME_MAX else 0))
            words.append(data[at : at + size])
            at += size + 2
        name = " ".join(word.decode() for word in words[: 1 if words[0].startswith(b"Z") else 2])
        found.setdefault(name, []).append(places)
    return found


def _number(data: bytes, at: int) -> tuple[int, int]:
    """(the number of a line such as *3 or $5, where the next line begins)."""
    end = data.index(b"\r\n", at)
    return int(data[at + 1 : end]), end + 2


def flip_entry(raced: Raced, rng: random.Random, result: Result) -> None:
    """A bit of a batch or a decision, in a file that ends soon after it, so that mostly no checkpoint has it yet."""
    what = rng.choice([EVENTS_FIELD, DECISION_FIELD])
    index = rng.choice([place for place, (_, fields) in enumerate(raced.raws) if what in fields and place > 1])
    last = min(index + rng.randrange(4), len(raced.raws) - 1)
    part = rng.choice(list(raced.raws[index][1].values()))
    data = raced.file.read_bytes()[: raced.ends[last]]
    start = data.index(part, raced.ends[index - 1], raced.ends[index])
    changed, where = flipped(part, rng)
    try:
        with _copy(raced, data[:start] + changed + data[start + len(part) :]) as track:
            _judge(
                raced, track, what.decode(), f"entry {index} of {last}: {where}", result, raced.journal[last].position
            )
    except StoreUnavailableError:
        result.flip(what.decode(), "refused")


def flip_checkpoint(raced: Raced, rng: random.Random, result: Result) -> None:
    """A bit of a checkpoint record that a restart reads."""
    with _copy(raced, raced.file.read_bytes()) as track:
        kept = reads.checkpoints(track.client, track.keys)
        name = rng.choice(sorted(kept))
        data, where = flipped(kept[name], rng)
        track.raw.hset(track.keys.checkpoints, name, data)
        _judge(raced, track, "checkpoints", f"{name} {where}", result, raced.journal[-1].position)


def _judge(raced: Raced, track: Track, what: str, where: str, result: Result, last: Position) -> None:
    """Restore, go on to the log's end, and compare all that is shown with the journal's replay up to there."""
    expected = raced.replayed(last)
    if not reads.exists(track.client, track.keys):  # all of it is elsewhere: readers hear of no such venue
        result.flip(what, "refused")
        return
    try:
        owner = track.owner()
        track.now_ms = last.ms
        track.settle(owner)
        frame = last_frame(track.client, track.keys)
    except RacingError:
        result.flip(what, "refused")
        return
    except Exception as exc:  # noqa: BLE001  # told with what was flipped
        result.flip(what, "silent")
        result.trouble(f"{what} {where}: {exc!r}")
        return
    wrong = ["state"] if state(owner.race) != state(expected) else []
    told = track.commit().damaged or owner.race.counts.unreadable > expected.counts.unreadable
    shown = owner.race if told else expected
    wrong += [] if _sets_are(track, shown) else ["sets"]
    wrong += [] if frame is not None and frame.slots == shown.slots() else ["frame"]
    if not wrong:
        result.flip(what, "right")
    elif told and wrong == ["state"]:
        result.flip(what, "told")
    else:
        result.flip(what, "silent")
        result.trouble(f"{what} {where}: wrong {', '.join(wrong)}, shown as if nothing were amiss")


def _sets_are(track: Track, expected: Race) -> bool:
    """Whether every set that has a reader holds what it must; a set under a damaged name is read by nobody."""
    right = sets_of(expected)
    prefix = track.keys.standings.removesuffix("standings")
    try:
        held = {name: members(track.client, f"{prefix}{name}") for name in right}
    except ValueError:  # a member that is no runner number
        return False
    return {
        name: {runner: value for runner, value in found.items() if value or not name.startswith("total:")}
        for name, found in held.items()
    } == right


def flip_segment(raced: Raced, rng: random.Random, result: Result, home: Path) -> None:
    """A bit of a segment file: reading it must name the file."""
    name = rng.choice(segments_of(home, VENUE))
    whole = name.path.read_bytes()
    data, where = flipped(whole, rng)
    name.path.write_bytes(data)
    try:
        read_segment(name)
        result.flip("segments", "silent")
        result.trouble(f"segment {where}: read as if nothing were wrong")
    except RacingError as exc:
        result.flip("segments", "refused" if name.path.name in str(exc) else "silent")
    finally:
        name.path.write_bytes(whole)


# -- rounds ----------------------------------------------------------------------------------------------------


def run(rounds: int, *, seed: int = 1, tell: Tell = silent, within_s: float | None = None) -> Result:
    """So many cuts, and a flip of each kind with every tenth, or as many as fit in within_s."""
    begun_s = time.monotonic()
    rng, result = random.Random(seed), Result()
    with tempfile.TemporaryDirectory(prefix="saima-") as name:
        home = Path(name) / "segments"
        raced = race(Path(name) / "data", seed)
        _file_away(raced, home)
        size = raced.file.stat().st_size
        for number in range(rounds):
            if within_s is not None and time.monotonic() - begun_s > within_s:
                break
            cut(raced, rng.randrange(size + 1), result)
            if number % _FLIPS_PER_CUT < 3:
                flip_file(raced, rng, result)
                flip_framing(raced, rng, result)
                flip_entry(raced, rng, result)
                flip_checkpoint(raced, rng, result)
                flip_segment(raced, rng, result, home)
            result.rounds += 1
            if result.rounds % 50 == 0:
                tell(f"{result.rounds} rounds: {result.torn} torn, {result.flips}")
    result.seconds = round(time.monotonic() - begun_s, 1)
    return result


def _file_away(raced: Raced, home: Path) -> None:
    with _copy(raced, raced.file.read_bytes()) as track:
        archive(track.client, VenueKeys(VENUE), home, 1)


def _quiet() -> None:
    """Log lines of what is damaged on purpose would drown the result."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def main(arguments: Sequence[str]) -> int:
    """The exercise from the command line."""
    _quiet()
    within_s = QUICK_S if "--quick" in arguments else None

    def bounded(rounds: int, *, seed: int, tell: Tell) -> Result:
        return run(2_000 if within_s else rounds, seed=seed, tell=tell, within_s=within_s)

    return run_from_command_line("torn_file", bounded, arguments, rounds=2_000, about=__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
