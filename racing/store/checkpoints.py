"""The chain of checkpoint records: a full one, the parts after it, and the full one before for recounts.

One record form serves restart, recount and totals: parts are small and come at every bucket boundary; a new full
record is due when the parts after the last one outweigh it and two windows have passed: so all records together stay
below about four full ones, however long the race. Then all before the previous full record goes, and the log before
it may be trimmed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from racing.columns import unpack
from racing.errors import CorruptRecordError
from racing.model import Position

_FULL, _PART = "full", "part"
_NAME = re.compile(rb"[0-9]{15}-[0-9]{10}:(full|part)")
_OUTWEIGHED_BYTES_MIN = 65_536
"""Parts of a quiet venue may weigh this much before a full record is worth it."""

_TIGHT_FULLS_MAX = 3
"""Full records beside which another one is made before its time where room is wanted."""


@dataclass(slots=True)
class Chain:
    """Names and sizes of the records that a venue keeps, oldest first.

    strays: names in its hash that no record of it has, for a server read them wrongly; they go with the next record.
    """

    records: list[tuple[str, int]] = field(default_factory=list)
    strays: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, kept: dict[str, bytes], strays: Iterable[bytes] = ()) -> Chain:
        """The chain of what a venue's checkpoints hash holds."""
        return cls(sorted((name, len(record)) for name, record in kept.items()), list(strays))

    def full_names(self) -> list[str]:
        """The full records, oldest first."""
        return [name for name, _ in self.records if is_full(name)]

    def latest(self) -> list[str]:
        """The names to restore from, in order: the last full record and the parts after it."""
        fulls = self.full_names()
        return [name for name, _ in self.records if name >= fulls[-1]] if fulls else []

    def leading_to(self, position: Position) -> list[str]:
        """The names to restore from as close before a position as there are records; none where all come after it."""
        before = [name for name, _ in self.records if name.partition(":")[0] <= _stem(position)]
        fulls = [name for name in before if is_full(name)]
        return [name for name in before if name >= fulls[-1]] if fulls else []

    def full_wanted(self, moment_ms: int, apart_ms: int, *, pressed: bool = False, tight: bool = False) -> bool:
        """Whether the next record should be a full one; pressed: however small the parts, so that the log can go.

        tight: however soon after the last one as well, so that the log goes as soon as it is old enough: while few
        full ones are held, for they take room too.
        """
        names = self.latest()
        if not names:
            return True
        if tight and len(self.full_names()) <= _TIGHT_FULLS_MAX:
            return True
        sizes = dict(self.records)
        parts = sum(sizes[name] for name in names[1:])
        old_enough = moment_ms - moment_of(names[0]) >= apart_ms
        return old_enough and (pressed or parts > max(sizes[names[0]], _OUTWEIGHED_BYTES_MIN))

    def add(
        self, position: Position, size: int, *, full: bool, archived: Position | None = None
    ) -> tuple[str, list[str | bytes]]:
        """(name of the new record, names that go): the chain with one more record.

        archived: up to where segment files hold the log; full records from there on stay, for the next one
        begins with one of them. None where there are no segment files.
        """
        name = name_of(position, full=full)
        gone: list[str] = []
        fulls = self.full_names()
        if full and fulls:
            held = [each for each in fulls if archived is not None and each >= _stem(archived)]
            gone = [each for each, _ in self.records if each < fulls[-1] and each not in held]
        self.records = [
            *((each, n) for each, n in self.records if each not in gone and each != name),
            (name, size),
        ]
        strays, self.strays = [each for each in self.strays if each != name.encode()], []
        return name, [*gone, *strays]

    def prune(self, archived: Position | None) -> list[str]:
        """Names of records that go although no full one has come: those that were held for segments since written."""
        fulls = self.full_names()
        first = fulls[-2] if len(fulls) > 1 else ""
        held = "" if archived is None else _stem(archived)
        gone = [name for name, _ in self.records if name < first and (archived is None or name < held)]
        self.records = [each for each in self.records if each[0] not in gone]
        return gone

    def trim_ms(self) -> int | None:
        """The log before this moment is not needed by any record; None while all of it is."""
        fulls = self.full_names()
        return moment_of(fulls[0]) if len(fulls) > 1 else None


def name_of(position: Position, *, full: bool) -> str:
    """The name of a record that is taken at a position."""
    return f"{_stem(position)}:{_FULL if full else _PART}"


def is_name(raw: bytes) -> bool:
    """Whether a field of the checkpoints hash can be a record's name."""
    return _NAME.fullmatch(raw) is not None


def check_name(name: str, position: Position) -> None:
    """Raise CorruptRecordError where the name is not that of a record taken at the position."""
    if name != name_of(position, full=is_full(name)):
        raise CorruptRecordError(f"the checkpoint {name} was taken at {position}")


def misnamed(kept: dict[str, bytes]) -> list[bytes]:
    """The names of records that are damaged, or taken at another position than their name says."""
    return [name.encode() for name, record in kept.items() if not _is_named(record, name)]


def _is_named(record: bytes, name: str) -> bool:
    try:
        check_name(name, position_of(record))
    except CorruptRecordError:
        return False
    return True


def _stem(position: Position) -> str:
    return f"{position.ms:015d}-{position.seq:010d}"


def is_full(name: str) -> bool:
    """Whether a record is a full one, by its name."""
    return name.endswith(_FULL)


def moment_of(name: str) -> int:
    """The moment of a record by its name, ms."""
    return int(name.split("-", maxsplit=1)[0])


def position_of(record: bytes) -> Position:
    """The position that a record was taken at. Raises CorruptRecordError."""
    header, _ = unpack(record)
    try:
        return Position.parse(header["position"])
    except (KeyError, ValueError, TypeError) as exc:
        raise CorruptRecordError("a checkpoint names no position") from exc
