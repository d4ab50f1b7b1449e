"""The past of a venue as one log: its segment files, and after them the stream in Redis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from racing.entries import Enrolment, Entry, RuleChange
from racing.errors import CorruptRecordError, GoneError, StoreError, StoreUnavailableError, UnrestorableError
from racing.model import END, START, Frame, Position
from racing.race import Race
from racing.store import reads
from racing.store.checkpoints import Chain
from racing.store.keys import VenueKeys
from racing.store.log import entries_between, entry_of
from racing.store.protocol import SyncClient
from racing.store.reel import first_kept, frame_kept
from racing.store.segment_files import (
    DamagedSegmentError,
    RawEntry,
    SegmentName,
    decisions_of,
    read_segment,
    segments_of,
    venue_folder,
)

Decision = RuleChange | Enrolment


class Past:
    """Reads a venue's whole log, oldest entry first, each once. Damaged segments are named and refused."""

    def __init__(self, client: SyncClient, keys: VenueKeys, folder: Path | None) -> None:
        self._client = client
        self._keys = keys
        self._folder = folder
        self.segments = segments_of(folder, keys.venue) if folder is not None else []

    @property
    def archived_until(self) -> Position:
        """The position up to which there are segments; START without any."""
        return max((name.last for name in self.segments), default=START)

    def frame(self, *, at_ms: int | None = None, number: int | None = None) -> Frame | None:
        """The newest frame kept that is not after a moment of log time (ms), or not after a number; None without one.

        Raises StoreError, which names a damaged file.
        """
        return frame_kept(self._client, self._keys, self._folder, at_ms=at_ms, number=number)

    def decisions(
        self, after: Position = START, last: Position = END, *, gaps: bool = False
    ) -> Iterator[tuple[Position, Decision]]:
        """Rule changes and enrolments after one position up to and with another, oldest first, each with its own.

        Raises StoreError on a gap, and for a damaged segment; gaps: passes over them. Cost: events in files are passed
        over unread; the newest stretch, since the last segment, is read from Redis with its events.
        """
        for name in self.segments:
            if name.last <= after:
                continue
            if name.after >= last or (name.after > after and not gaps):
                break
            yield from _decided(map(entry_of, _decisions_of(name, gaps=gaps)), after, last)
            after = name.last
        if after < last:
            if not gaps:
                self._check_joined(after)
            for entries in entries_between(self._client, self._keys, after, last):
                yield from _decided(entries, after, last)

    def begin(self) -> tuple[Race, bytes | None]:
        """(race, its checkpoint record or None) at the beginning of what is kept. Raises StoreError."""
        if reads.reaches_back(self._client, self._keys) or (self.segments and self.segments[0].after == START):
            return Race(), None
        if self.segments:
            record = _record_of(self.segments[0])
            return Race.restore([record]), record
        return reads.oldest_full(self._client, self._keys)

    def sound_race(self) -> Race:
        """The race at a sound state from which on the log is kept: for who cannot use the last checkpoints.

        Of Redis if it has one, else the start of the newest sound segment. Raises UnrestorableError.
        """
        try:
            return reads.oldest_race(self._client, self._keys)
        except StoreUnavailableError:
            raise
        except StoreError as exc:
            for name in reversed(self.segments):
                with suppress(DamagedSegmentError, CorruptRecordError):
                    return _race_at_start(name)
            where = f"in {str(venue_folder(self._folder, self._keys.venue))!r}" if self._folder else "set"
            raise UnrestorableError(
                f"{exc}, and no sound segment files are {where}: put back copies of them, or import an export"
            ) from exc

    def race_at(self, position: Position, *, earliest: bool = False) -> Race:
        """The race at the last state that is kept and not after a position: between() leads on from it.

        earliest: where none is so old, the first that is kept. Else that raises GoneError, which names its moment.
        Raises StoreError.
        """
        kept = reads.checkpoints(self._client, self._keys)
        with suppress(CorruptRecordError):
            if names := Chain.of(kept).leading_to(position):
                return Race.restore([kept[name] for name in names])
        for name in reversed(self.segments):
            if name.after <= position:
                return _race_at_start(name)
        if reads.reaches_back(self._client, self._keys):
            return Race()
        race, _ = self.begin()
        if not earliest and race.position > position:
            raise GoneError(
                f"venue {self._keys.venue}: its log no longer reaches back to {position.ms}; the earliest moment that"
                f" can be told is {race.moment_ms}"
            )
        return race

    def first_frame(self) -> Frame | None:
        """The earliest frame kept; None without one. Raises StoreError."""
        return first_kept(self._client, self._keys, self._folder)

    def state_at(self, position: Position) -> bytes:
        """A full checkpoint at a position where a segment ends, refolded from that one. Raises StoreError."""
        name = next((name for name in reversed(self.segments) if name.after < position <= name.last), None)
        if name is None:
            raise StoreError(f"venue {self._keys.venue}: no segment file leads up to {position}")
        race = _race_at_start(name)
        for entries in _of_segment(name, race.position, position):
            race.apply(entries)
        return race.checkpoint(full=True)[0]

    def between(self, after: Position, last: Position, *, owner: bool = False) -> Iterator[list[Entry]]:
        """Batches of the entries after one position up to and with another, from files first.

        owner: asked by who alone trims the stream; then files are read only for what it no longer holds.
        Raises StoreError on a gap between segments, or between them and the stream.
        """
        for name in self.segments:
            if name.last <= after or after >= last:
                continue
            if name.after > after or (owner and reads.holds_after(self._client, self._keys, after)):
                break
            for entries in _of_segment(name, after, last):
                after = entries[-1].position
                yield entries
            if name.last >= last:
                return
        if after < last:
            self._check_joined(after)
            yield from entries_between(self._client, self._keys, after, last)

    def _check_joined(self, after: Position) -> None:
        """The stream must still hold what comes right after: it is trimmed only up to where segments end."""
        if not reads.holds_after(self._client, self._keys, after):
            raise StoreError(
                f"venue {self._keys.venue}: entries after {after} are neither in a segment file nor in Redis:"
                " put back the segment file that held them"
            )


def _decided(entries: Iterable[Entry], after: Position, last: Position) -> Iterator[tuple[Position, Decision]]:
    for entry in entries:
        if after < entry.position <= last and isinstance(entry.body, (RuleChange, Enrolment)):
            yield entry.position, entry.body


def _decisions_of(name: SegmentName, *, gaps: bool) -> list[RawEntry]:
    try:
        return decisions_of(name)
    except DamagedSegmentError:
        if gaps:
            return []
        raise


def _race_at_start(name: SegmentName) -> Race:
    """The race where a segment begins. Raises DamagedSegmentError, CorruptRecordError."""
    if name.after == START:
        read_segment(name)  # to know that it is sound
        return Race()
    return Race.restore([_record_of(name)])


def _record_of(name: SegmentName) -> bytes:
    record = read_segment(name).checkpoint
    if record is None:
        raise StoreError(f"segment {str(name.path)!r} begins with no checkpoint")
    return record


def _of_segment(name: SegmentName, after: Position, last: Position) -> Iterator[list[Entry]]:
    for batch in read_segment(name).batches():
        entries = [entry for entry in map(entry_of, batch) if after < entry.position <= last]
        if entries:
            yield entries
