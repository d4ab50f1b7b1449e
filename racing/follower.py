"""A follower: races that are restored and follow their logs without committing, and answer questions.

It is a process of its own, so that no question takes time from the race or from readers. Its race stands where the
venue's last commit stands, never ahead of it; what the commit says of the log is compared with what was folded.
"""

from __future__ import annotations

import select
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgspec
import structlog

from racing.advice import advise
from racing.documents import in_words
from racing.entries import Entry
from racing.errors import (
    BoundError,
    DocumentError,
    GoneError,
    NotFoundError,
    RacingError,
    StoreError,
    StoreUnavailableError,
)
from racing.events import EventBatch
from racing.explain import explained
from racing.inquiries import (
    LENGTH,
    Answer,
    AskAdvice,
    AskExplain,
    AskPlain,
    AskPreview,
    AskSlot,
    AskStock,
    AskTargets,
    AskWhatIf,
    OfNow,
    Question,
    decode_question,
    packed,
)
from racing.model import START, Frame, Position
from racing.plain import plain_board
from racing.preview import preview
from racing.questions import drafted, number_of
from racing.race import Race
from racing.restoring import begun
from racing.rule import no_segment
from racing.settings import Settings
from racing.stock_alerts import stock_alerts
from racing.store import reads
from racing.store.client import connect
from racing.store.commit import CommitRecord, log_damage, read_commit
from racing.store.keys import VenueKeys
from racing.store.log import entries_between
from racing.store.past import Past
from racing.store.protocol import SyncClient
from racing.targets import parse_targets, report
from racing.whatif import Span, what_if

log = structlog.get_logger("saima.follower")

VENUES_MAX = 4
"""Races held at once; the one that was asked for longest ago goes."""
_FOLLOW_S = 1.0
"""A held race follows its log so often while nobody asks."""
_FAR_MS = 60_000
"""A race that is behind by more is restored from the last checkpoint: that is at most a bucket old."""
_TRIES = 5
_FIRST_S, _LOOK_S = 2.0, 0.02
"""How long a first commit is waited for, and how often it is looked for."""
_WHAT_IF_S = 45.0
"""A what-if that has folded for so long answers with as far as it came: the API waits for 60 s."""
_BOARDS = 120
"""Boards that a what-if compares where the question leaves it open."""
_BOARDS_MAX = 2_000
_SEQ_MAX = 2**63 - 1


class Followed:
    """One venue as a follower knows it."""

    def __init__(self, client: SyncClient, venue: str, settings: Settings) -> None:
        self._client = client
        self._keys = VenueKeys(venue)
        self._settings = settings
        self._race: Race | None = None
        self._epoch = 0

    def close(self) -> None:
        """Give back the connection."""
        self._client.close()

    # -- the race now --------------------------------------------------------------------------------

    def live(self) -> tuple[Race, CommitRecord]:
        """The race as the last commit has it, and that commit. Raises NotFoundError, StoreError, BoundError.

        After a take-over or a failover it is restored anew: what was folded may be gone from the log.
        """
        for _ in range(_TRIES):
            record = self._record()
            until = Position.parse(record.position)
            race = self._race
            far = race is None or until.ms - race.position.ms > _FAR_MS
            if race is None or far or self._epoch != record.epoch or race.position > until:
                race, _ = begun(self._client, self._keys, self._past())
                self._race, self._epoch = race, record.epoch
            if race.position <= until:
                self._fold(race, entries_between(self._client, self._keys, race.position, until))
                if log_damage(race.position, race.log_sum, record) is None:
                    return race, record
            self._race = None  # a checkpoint has come meanwhile, or another owner
        raise StoreError(f"venue {self._keys.venue}: its log does not come to what was committed: try again")

    def _record(self) -> CommitRecord:
        """The last commit; a venue that is new has its first one within moments."""
        until_s = time.monotonic() + _FIRST_S
        while (record := read_commit(self._client, self._keys)).position == str(START):
            if not reads.exists(self._client, self._keys):
                raise NotFoundError(f"there is no venue {self._keys.venue!r}")
            if time.monotonic() > until_s:
                raise StoreUnavailableError(f"venue {self._keys.venue} is not raced yet: does a scorer run?")
            time.sleep(_LOOK_S)
        return record

    def _past(self) -> Past:
        return Past(self._client, self._keys, self._settings.segments_folder)

    def _fold(self, race: Race, batches: Iterator[list[Entry]]) -> None:
        for entries in self._bounded(batches):
            race.apply(entries)
            race.take_changes()

    def _bounded(self, batches: Iterator[list[Entry]]) -> Iterator[list[Entry]]:
        """The batches, up to so many events as one question may fold. Raises BoundError."""
        most, events = self._settings.follower_events_max, 0
        for entries in batches:
            events += sum(len(entry.body) for entry in entries if isinstance(entry.body, EventBatch))
            if events > most:
                raise BoundError(f"more than {most:,} events would have to be folded for this")
            yield entries

    # -- the race as it was --------------------------------------------------------------------------

    def at(self, at_ms: int | None, number: int | None) -> tuple[Race, dict[str, Any]]:
        """The race now, at a moment or at a frame, and what every answer says first of where it stands."""
        if at_ms is None and number is None:
            race, record = self.live()
            return race, self._head(race, record.epoch, record.frame)
        record = self._record()
        if number is not None:
            frame = self.frame(at_ms=None, number=number, record=record)
            last = Position.parse(frame.position)
        else:
            last = min(self._moment(at_ms or 0, record), Position.parse(record.position))
            found = self._past().frame(at_ms=at_ms)
            frame = found or Frame(self._keys.venue, 0, 0, "0-0", 0, 0, 0, 0, ())
        past = self._past()
        race = past.race_at(last)
        self._fold(race, past.between(race.position, last))
        if race.position == START:
            raise GoneError(f"venue {self._keys.venue} had not begun then: it did at {self._begun_ms(past, record)}")
        return race, self._head(race, frame.epoch, frame.frame)

    def _begun_ms(self, past: Past, record: CommitRecord) -> int:
        """The moment of a log's first entry, which is its first rule; for a log that is kept from there on."""
        return next(past.decisions(last=Position.parse(record.position)))[0].ms

    def _moment(self, at_ms: int, record: CommitRecord) -> Position:
        """The last position of a moment. Raises DocumentError for one that lies ahead."""
        if at_ms > record.as_of_ms:
            right = f"must not lie ahead: the race stands at {record.as_of_ms}"
            raise DocumentError(f"at_ms: {right}, not {at_ms}", [("at_ms", right, str(at_ms))])
        return Position(at_ms, _SEQ_MAX)

    def frame(self, *, at_ms: int | None, number: int | None, record: CommitRecord) -> Frame:
        """The frame of a number, or the one that stood at a moment; the current one of neither.

        Raises NotFoundError for one to come, GoneError, which names the earliest, for one that is no longer kept.
        """
        if number is not None and number > record.frame:
            raise NotFoundError(f"there is no frame {number} yet: the current one is {record.frame}")
        if at_ms is not None:
            self._moment(at_ms, record)
        past = self._past()
        found = past.frame(at_ms=at_ms, number=record.frame if at_ms is None and number is None else number)
        if found is not None and (number is None or found.frame == number):
            return found
        near = f"; the last one before it that is kept is {found.frame}, of {found.at_ms}" if found else ""
        wanted = f"frame {number}" if number is not None else f"the frame of {at_ms}"
        first = past.first_frame()
        earliest = f"the earliest is {first.frame}, of {first.at_ms}" if first else "none is"
        raise GoneError(f"{wanted} is not kept: {earliest}{near}")

    def _head(self, race: Race, epoch: int, frame: int) -> dict[str, Any]:
        return {
            "venue": self._keys.venue,
            "epoch": epoch,
            "frame": frame,
            "position": str(race.position),
            "at_ms": race.moment_ms,
            "rule_version": race.rule_version,
        }

    # -- answers -------------------------------------------------------------------------------------

    def answer(self, question: Question) -> dict[str, Any]:
        """The answer to a question about this venue. Raises RacingError."""
        match question:
            case AskWhatIf():
                return self._what_if(question)
            case AskExplain():
                race, head = self.at(question.at_ms, question.frame)
                if question.at_ms is None and question.frame is None:
                    _check_segment(question.segment, race)
                number = self._number(race, question.product)
                return {**head, **_plain(explained(race, number, question.segment))}
            case AskSlot():
                return self._slot(question)
            case _:
                race, head = self.at(None, None)
                return {**head, **_plain(self._now(race, head, question))}

    def _now(self, race: Race, head: dict[str, Any], question: OfNow) -> msgspec.Struct:
        """The answer of the race as it stands. head: what every answer says first."""
        match question:
            case AskPreview():
                _check_segment(question.segment, race)
                return preview(race, question.draft, hidden=question.hidden, segment=question.segment)
            case AskAdvice():
                number = self._number(race, question.product)
                return advise(race, number, question.target, price=question.price, mode=question.mode)
            case AskPlain():
                shown = plain_board(race, question.limit)._asdict()
                return Frame(**head, runners=len(race.products), roster=race.roster.entries, **shown)
            case AskStock():
                return stock_alerts(
                    race,
                    safety_stock=question.safety_stock,
                    lead_time_s=question.lead_time_s,
                    limit=question.limit,
                )
            case AskTargets():
                return report(race, parse_targets(question.targets))

    def _number(self, race: Race, product: str) -> int:
        number = number_of(race, product)
        if number is None:
            raise NotFoundError(f"product {product!r} was not enrolled in venue {self._keys.venue!r} then")
        return number

    def _slot(self, question: AskSlot) -> dict[str, Any]:
        """Who held a slot of a frame, as the frame has it, and why, for as far back as the log goes."""
        record = self._record()
        frame = self.frame(at_ms=question.at_ms, number=question.frame, record=record)
        slots = frame.slots_of(question.segment)
        slot = next((slot for slot in slots if slot.slot == question.slot), None)
        head = {name: getattr(frame, name) for name in ("venue", "epoch", "frame", "position", "at_ms", "rule_version")}
        if slot is None:
            raise NotFoundError(f"frame {frame.frame} has {len(slots)} slots, and no slot {question.slot}")
        found: dict[str, Any] = {**head, "slot": question.slot, "held": _plain(slot), "explained": None}
        with suppress(GoneError, BoundError):  # what the frame says is kept for longer than the log
            race, _ = self.at(None, frame.frame)
            found["explained"] = _plain(explained(race, slot.runner, question.segment))
        return found

    def _what_if(self, question: AskWhatIf) -> dict[str, Any]:
        ends_s = time.monotonic() + _WHAT_IF_S
        record = self._record()
        until = Position.parse(record.position)
        from_ms = until.ms - 60_000 * question.minutes
        past = self._past()
        race = self._before(past, from_ms, question)
        from_ms = max(from_ms, race.moment_ms or self._begun_ms(past, record))
        every_ms = 1000 * question.every_s or max(1000, -(-(until.ms - from_ms) // (_BOARDS * 1000)) * 1000)
        if (until.ms - from_ms) // every_ms > _BOARDS_MAX:
            right = f"must leave at most {_BOARDS_MAX} boards to compare"
            raise DocumentError(f"every_s: {right}", [("every_s", right, str(question.every_s))])
        span = Span(from_ms, until.ms, every_ms, self._settings.follower_events_max)
        entries = past.between(race.position, until)
        found = what_if(race, question.draft, entries, span, in_time=lambda: time.monotonic() < ends_s)
        return {**self._head(race, record.epoch, record.frame), **_plain(found)}

    def _before(self, past: Past, from_ms: int, question: AskWhatIf) -> Race:
        """A race so long before a moment that the draft's windows are whole by then; the earliest one there is."""
        latest = past.race_at(Position(max(from_ms, 0), 0), earliest=True)
        apart_ms = 2 * drafted(latest, question.draft).rule.window_ms
        return past.race_at(Position(max(from_ms - apart_ms, 0), 0), earliest=True)


def _check_segment(segment: str | None, race: Race) -> None:
    """Raise DocumentError for a segment that the race does not declare."""
    declared = race.rule.segment_names
    if segment is not None and segment not in declared:
        errors = [no_segment(segment, declared)]
        raise DocumentError(in_words(errors), errors)


def _plain(value: Any) -> dict[str, Any]:
    """A struct as JSON has it."""
    found: dict[str, Any] = msgspec.to_builtins(value)
    return found


class Follower:
    """The venues of one follower, and its answers. Not for several threads."""

    def __init__(self, url: str, settings: Settings, *, connect_to: Callable[..., SyncClient] = connect) -> None:
        self._url = url
        self._settings = settings
        self._connect = connect_to
        self._held: OrderedDict[str, Followed] = OrderedDict()

    def answer(self, question: Question) -> Answer:
        """The answer to a question, whatever comes of it."""
        try:
            return Answer(msgspec.json.encode(self.venue(question.venue).answer(question)))
        except RacingError as exc:
            return Answer.refusal(exc)
        except Exception:
            log.exception("unexpected error", question=type(question).__name__, venue=question.venue)
            self._drop(question.venue)
            return Answer(error="RacingError", text="an unexpected error; it is logged")

    def venue(self, venue: str) -> Followed:
        """A venue, held from now on."""
        found = self._held.get(venue)
        if found is None:
            found = self._held[venue] = Followed(self._connect(self._url, venue=venue), venue, self._settings)
            if len(self._held) > VENUES_MAX:
                self._drop(next(iter(self._held)))
        self._held.move_to_end(venue)
        return found

    def follow(self) -> None:
        """Let every held race catch up; one that cannot be followed is let go."""
        for venue, followed in list(self._held.items()):
            try:
                followed.live()
            except RacingError as exc:
                log.info("venue let go", venue=venue, reason=str(exc))
                self._drop(venue)

    def _drop(self, venue: str) -> None:
        self._held.pop(venue).close()


# -- the process ----------------------------------------------------------------------------------------------


def serve(url: str, settings: Settings, line: socket.socket) -> None:
    """Answer questions that come over a line, one after the other, until it ends or nobody has asked for long."""
    follower = Follower(url, settings)
    asked_s = time.monotonic()
    while time.monotonic() - asked_s < settings.follower_idle_s:
        if not select.select([line], [], [], _FOLLOW_S)[0]:
            follower.follow()
            continue
        body = _received(line)
        if body is None:
            return
        line.sendall(packed(follower.answer(decode_question(body))))
        asked_s = time.monotonic()


def _received(line: socket.socket) -> bytes | None:
    """The bytes of one message; None at the line's end."""
    head = _exactly(line, LENGTH.size)
    return None if head is None else _exactly(line, LENGTH.unpack(head)[0])


def _exactly(line: socket.socket, size: int) -> bytes | None:
    parts, left = [], size
    while left:
        part = line.recv(min(left, 1 << 20))
        if not part:
            return None
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
