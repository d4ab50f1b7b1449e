"""The verdict on a run, from what the server carried out, the whole log, and the senders' own journal."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from racing.entries import Entry, decode_body
from racing.events import EventBatch
from racing.model import Frame, Position
from racing.race import Race
from racing.recount import Recount
from racing.store.commit import CommitRecord, decode_commit, decode_frame
from racing.store.keys import VenueKeys
from racing.store.sets import measure_names
from tests.contract.track import sets_of
from tests.simulation.senders import Journal, Reader
from tests.simulation.server import Args, Server, Stream
from tests.simulation.world import VENUE, World

KEYS = VenueKeys(VENUE)
_COMMIT, _FRAMES, _LOG = KEYS.commit.encode(), KEYS.frames.encode(), KEYS.log.encode()


@dataclass
class Verdict:
    """What a run came to."""

    seed: int
    trace: str = ""
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    stale_commits: int = 0
    commits: int = 0
    take_overs: int = 0
    frames: int = 0
    entries: int = 0
    retries: int = 0
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every invariant was kept."""
        return not (self.lost or self.doubled or self.stale_commits or self.wrong)


class Judge:
    """Watches a run from the server's side, where nobody can miss anything."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.commits: list[tuple[str, CommitRecord]] = []
        self.frames: list[Frame] = []
        self.log: list[Entry] = []
        self._race = Race()
        self._folded = 0
        world.watchers.append(self._watch)
        world.server.appended = self._appended

    def _watch(self, who: str, command: Args, reply: Any) -> None:
        if command[0] == b"SET" and command[1] == _COMMIT:
            self.commits.append((who, decode_commit(command[2])))

    def _appended(self, key: bytes, entry: tuple[int, int], fields: Args) -> None:
        if key == _LOG:
            body = decode_body(dict(zip(fields[::2], fields[1::2], strict=True)))
            self.log.append(Entry(Position(*entry), body))
        elif key == _FRAMES:
            self.frames.append(decode_frame(fields[1]))

    # -- the end -----------------------------------------------------------------------------------------

    def settled(self) -> bool:
        """Whether all of the log is committed, in the sets, and on the board."""
        raw = self._world.server.peek(_COMMIT)
        if raw is None or not self.log:
            return False
        record = decode_commit(raw)
        last = str(self.log[-1].position)
        if not record.position == record.sets_position == last:
            return False
        self._race.apply(self.log[self._folded :])
        self._folded = len(self.log)
        return bool(self.frames and self.frames[-1].slots == self._race.slots())

    def verdict(self, journal: Journal, reader: Reader, *, settled: bool) -> Verdict:
        """The verdict, at a moment at which it is settled."""
        world = self._world
        result = Verdict(
            world.plan.seed,
            world.trace,
            acknowledged=len(journal.acknowledged),
            commits=len(self.commits),
            frames=len(self.frames),
            entries=len(self.log),
            retries=journal.retries,
            virtual_s=world.loop.time(),
        )
        wrong = result.wrong
        wrong += [*journal.wrong, *world.errors, *reader.wrong]
        if not settled:
            wrong.append("the race did not settle after all faults had ended")
        self._judge_log(journal, result)
        self._judge_commits(result)
        self._judge_frames(reader, wrong)
        if settled:
            self._judge_end(result)
        return result

    def _judge_log(self, journal: Journal, result: Verdict) -> None:
        """Every acknowledged event is in the log, and none twice but those that were sent twice under an id."""
        found: Counter[int] = Counter()
        for entry in self.log:
            if isinstance(entry.body, EventBatch):
                assert entry.body.amount is not None
                found.update(entry.body.amount.tolist())
        result.lost += sum(number not in found for number in journal.acknowledged)
        result.doubled += sum(count > 1 and not journal.marks[number].named for number, count in found.items())
        self._sent = [journal.marks[number] for number in found]

    def _judge_commits(self, result: Verdict) -> None:
        """Each commit follows the one before it: its number in its epoch, or the first of a greater epoch."""
        owners: dict[int, str] = {}
        for who, record in self.commits:
            if owners.setdefault(record.epoch, who) != who:
                result.stale_commits += 1
        result.take_overs = len(owners)
        for (_, before), (who, after) in pairwise(self.commits):
            follows = (
                after.number == before.number + 1
                if after.epoch == before.epoch
                else after.epoch > before.epoch and after.number == 0
            )
            if not follows:
                result.stale_commits += 1
            for name in ("position", "sets_position"):
                if Position.parse(getattr(after, name)) < Position.parse(getattr(before, name)):
                    result.wrong.append(f"{who}: {name} went back in commit {after.epoch}-{after.number}")

    def _judge_frames(self, reader: Reader, wrong: list[str]) -> None:
        """A number has one frame, and each is what the log up to its position says."""
        numbers = Counter(frame.frame for frame in self.frames)
        wrong += [
            f"frame number {number} was published {count} times" for number, count in numbers.items() if count > 1
        ]
        published = {frame.name: frame for frame in self.frames}
        wrong += [f"frame {name} was shown otherwise" for name, f in reader.frames.items() if published.get(name) != f]
        race, folded = Race(), 0
        for frame in self.frames:
            position = Position.parse(frame.position)
            until = folded
            while until < len(self.log) and self.log[until].position <= position:
                until += 1
            race.apply(self.log[folded:until])
            folded = until
            if race.position != position or race.slots() != frame.slots:
                wrong.append(f"frame {frame.name} is not what the log says at {frame.position}")

    def _judge_end(self, result: Verdict) -> None:
        """Counts, sets and board against a fold from scratch, a plain recount, and the senders' own numbers."""
        server, wrong = self._world.server, result.wrong
        race = Race()
        race.apply(self.log)
        record = decode_commit(server.peek(_COMMIT))
        counted = record.counts.get("counted", 0)
        expected = len(self._sent)
        result.lost += max(0, expected - counted)
        result.doubled += max(0, counted - expected)
        for name, value in record.counts.items():
            if getattr(race.counts, name) != value:
                wrong.append(f"{name}: committed {value}, from scratch {getattr(race.counts, name)}")
        held = sets_in(server)
        if held != sets_of(race):
            wrong.append(_first_difference(held, sets_of(race)))
        totals: Counter[tuple[str, int]] = Counter()
        for mark in self._sent:
            totals[f"total:{mark.kind}:amount", mark.runner] += mark.number
        for (name, runner), total in totals.items():
            if held.get(name, {}).get(runner) != total:
                wrong.append(f"{name} of runner {runner}: {held.get(name, {}).get(runner)}, the senders say {total}")
        self._recount(race, wrong)

    def _recount(self, race: Race, wrong: list[str]) -> None:
        """The last two windows event by event."""
        recount = Recount()
        for entry in self.log:
            recount.read(entry)
        if not recount.exact(race.moment_ms):
            return
        window, _ = recount.sums(race.moment_ms)
        names = measure_names(race)
        folded = {
            (names[measure], runner): int(race.windows.window[runner, measure])
            for runner in range(len(race.products))
            for measure in range(len(names))
            if race.windows.window[runner, measure]
        }
        if window != folded:
            wrong.append(f"recounted window sums differ: {sorted(set(window.items()) ^ set(folded.items()))[:3]}")


def sets_in(server: Server) -> dict[str, dict[int, float]]:
    """Every sorted set of the race that a server holds, totals of zero left out."""
    prefix = KEYS.sums("", "").removesuffix(":").encode()
    found: dict[str, dict[int, float]] = {}
    for key in sorted(server.data):
        held = server.data[key]
        if key == KEYS.merchants.encode():  # written as products enrol, not by the race
            continue
        if key.startswith(prefix) and not isinstance(held, (bytes, Stream)) and type(held).__name__ == "ZSet":
            name = key.removeprefix(prefix).decode()
            members = {int(member): score for member, score in held.items() if score or not name.startswith("total:")}
            if members:
                found[name] = members
    return found


def _first_difference(held: dict[str, dict[int, float]], wanted: dict[str, dict[int, float]]) -> str:
    for name in sorted(held.keys() | wanted.keys()):
        if held.get(name) != wanted.get(name):
            return f"set {name} holds {held.get(name)}, from scratch {wanted.get(name)}"
    return "sets differ"
