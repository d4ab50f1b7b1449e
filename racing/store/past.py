"""The past of a venue as one log: its segment files, and after them the stream in Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from racing.entries import Entry
from racing.errors import StoreError
from racing.model import START, Position
from racing.race import Race
from racing.store import reads
from racing.store.keys import VenueKeys
from racing.store.log import entries_between, entry_of
from racing.store.protocol import SyncClient
from racing.store.segments import SegmentName, read_segment, segments_of


class Past:
    """Reads a venue's whole log, oldest entry first, each once. Damaged segments are named and refused."""

    def __init__(self, client: SyncClient, keys: VenueKeys, folder: Path | None) -> None:
        self._client = client
        self._keys = keys
        self.segments = segments_of(folder, keys.venue) if folder is not None else []

    def begin(self) -> tuple[Race, bytes | None]:
        """(race, its checkpoint record or None) at the beginning of what is kept. Raises StoreError."""
        if reads.reaches_back(self._client, self._keys) or (self.segments and self.segments[0].after == START):
            return Race(), None
        if self.segments:
            record = read_segment(self.segments[0]).checkpoint
            if record is None:
                raise StoreError(f"segment {str(self.segments[0].path)!r} begins with no checkpoint")
            return Race.restore([record]), record
        return reads.oldest_full(self._client, self._keys)

    def between(self, after: Position, last: Position) -> Iterator[list[Entry]]:
        """Batches of the entries after one position up to and with another, from files first.

        Raises StoreError on a gap between segments, or between them and the stream.
        """
        for name in self.segments:
            if name.last <= after or after >= last:
                continue
            if name.after > after:
                break
            for entries in _of_segment(name, after, last):
                after = entries[-1].position
                yield entries
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


def _of_segment(name: SegmentName, after: Position, last: Position) -> Iterator[list[Entry]]:
    for batch in read_segment(name).batches():
        entries = [entry for entry in map(entry_of, batch) if after < entry.position <= last]
        if entries:
            yield entries
