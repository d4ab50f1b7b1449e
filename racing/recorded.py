"""Event files: recorded traffic as columns, read from CSV or NDJSON, plain or gzip.

A row is one line, columns are found by the header's names (NDJSON: by the objects' keys). A row that cannot
be counted is refused with its reason and the reading goes on; only a file that is no event file is an error.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from itertools import chain
from pathlib import Path
from typing import Literal, NoReturn

import msgspec
import numpy as np

from racing.errors import RecordedFileError
from racing.events import ALIASES
from racing.model import EVENT_KINDS, ID_PATTERN, IntArray

COLUMNS = ("ts_ms", "type", "product", "user", "category", "price", "position")
REQUIRED = COLUMNS[:3]

TIME_MAX_MS = 253_402_300_799_999
"""The end of the year 9999: what lies beyond was not written in milliseconds."""
AMOUNT_MAX = 10**12
"""Largest amount of one event, minor units: what the service takes too."""
SAMPLES_MAX = 5
"""Refused rows that are told in words; the others are only counted."""
_ROWS_PER_REPORT = 10_000
_DIGITS_MAX = 40
_SHOWN_MAX = 60

Reason = Literal["fields", "ts_ms", "type", "product", "price", "json"]
"""Why a row was refused: the column that is wrong, or the row as a whole (fields: CSV, json: NDJSON)."""

Row = tuple[str, ...]
"""One row's fields in the order of COLUMNS, as text; empty where absent."""

_GZIP_MAGIC = b"\x1f\x8b"
_is_id = re.compile(ID_PATTERN).fullmatch
_is_decimal = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,2})?").fullmatch
_exact = Context(prec=200)
_decode_object = msgspec.json.Decoder(float_hook=str).decode  # a price keeps the digits that were written


@dataclass(frozen=True, slots=True)
class Recorded:
    """What an event file holds, in file order, as columns of one length; refused rows are not in them.

    kind: index into kinds, canonical names. product: index into products, which stand in the order of first
    appearance in the file, those named only by refused rows included. amount: minor units, 0 where empty.
    samples tells the first few refused rows in words.
    """

    ts_ms: IntArray
    kind: IntArray
    kinds: tuple[str, ...]
    product: IntArray
    products: tuple[str, ...]
    amount: IntArray
    user: list[str | None]
    category: list[str | None]
    position: list[str | None]
    refused: Counter[Reason]
    samples: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ts_ms)


def read_recorded(
    path: Path,
    *,
    kinds: AbstractSet[str] = frozenset(EVENT_KINDS),
    aliases: Mapping[str, str] | None = None,
    on_bytes: Callable[[int], None] | None = None,
) -> Recorded:
    """The rows of an event file.

    kinds: what the rule takes; the built-in kinds are always taken. aliases: more names for kinds, as
    parse_aliases gives them; they go before the built-in ones. on_bytes is told now and then how many bytes
    of the file (as it lies on disk) are read, for progress.
    Raises RecordedFileError if the file is missing, damaged, not text, or its header lacks a required column.
    Cost: about 2 us and 250 bytes per row.
    """
    canonical = {**ALIASES, **{kind: kind for kind in (*EVENT_KINDS, *kinds)}, **(aliases or {})}
    reading = _Reading(canonical)
    with _reported(path, reading), path.open("rb") as raw:
        packed = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        data = gzip.GzipFile(fileobj=raw) if packed else raw
        text = io.TextIOWrapper(data, encoding="utf-8-sig")
        for fields in _rows(text, reading):
            if on_bytes is not None and reading.line % _ROWS_PER_REPORT == 0:
                on_bytes(raw.tell())
            reading.take(fields)
    return reading.recorded()


def parse_aliases(pairs: Iterable[str], *, kinds: AbstractSet[str] = frozenset(EVENT_KINDS)) -> dict[str, str]:
    """The aliases in texts of the form ``name=kind``, each with its canonical kind.

    The kind may itself be a known alias. Raises RecordedFileError if a text has another form, names an
    unknown kind, or gives a name two meanings.
    """
    known = {*EVENT_KINDS, *kinds}
    listed = ", ".join(sorted(known))
    found: dict[str, str] = {}
    for pair in pairs:
        name, _, given = (part.strip() for part in pair.partition("="))
        kind = given if given in known else ALIASES.get(given, "")
        if not name or not given:
            raise RecordedFileError(f"{pair!r} is no alias: write name=kind, for example item_view=click")
        if not kind:
            raise RecordedFileError(f"{pair!r} names an unknown kind {given!r}: known are {listed}")
        if found.setdefault(name, kind) != kind:
            raise RecordedFileError(f"{name!r} is mapped to both {found[name]!r} and {kind!r}: leave one out")
    return found


# -- lines to rows ---------------------------------------------------------------------------------------


class _RefusedRowError(Exception):
    """A row that cannot be counted: its reason and the sentence for a person."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def _rows(lines: Iterable[str], reading: _Reading) -> Iterator[Row]:
    """Each row's fields; rows without fields that can be told apart are refused on the way."""
    numbered: Iterator[tuple[int, str]] = enumerate(lines, 1)
    first = next(((number, line) for number, line in numbered if line.strip()), None)
    if first is None:
        raise RecordedFileError("the file is empty")
    if first[1].lstrip().startswith("{"):
        split = _object_fields
        numbered = chain([first], numbered)
    else:
        split = _Header(first[1]).fields
    for reading.line, line in numbered:
        if not line.isspace():
            try:
                yield split(line)
            except _RefusedRowError as refusal:
                reading.refuse(refusal)


class _Header:
    """Where a CSV file keeps each column."""

    def __init__(self, line: str) -> None:
        names = [name.strip() for name in _fields(line)]
        missing = [name for name in REQUIRED if name not in names]
        if missing:
            hint = "; NDJSON holds one object per line" if line.lstrip().startswith("[") else ""
            raise RecordedFileError(
                f"the header lacks {', '.join(missing)}: it begins {line.strip()[:80]!r}, "
                f"and should name {','.join(COLUMNS)} (the last four may be missing){hint}"
            )
        twice = [name for name in COLUMNS if names.count(name) > 1]
        if twice:
            raise RecordedFileError(f"the header names {', '.join(twice)} more than once")
        self._length = len(names)
        self._places = [names.index(name) if name in names else -1 for name in COLUMNS]

    def fields(self, line: str) -> Row:
        """The columns of one line; an absent column is empty."""
        fields = _fields(line)
        if len(fields) != self._length:
            raise _RefusedRowError("fields", f"has {len(fields)} fields, the header has {self._length}")
        fields.append("")  # where place -1 leads
        return tuple([fields[place] for place in self._places])


def _fields(line: str) -> list[str]:
    """One CSV line's fields. A quote that does not end on its line refuses that line alone."""
    line = line.rstrip("\n")
    if '"' not in line:
        return line.split(",")
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as exc:
        raise _RefusedRowError("fields", f"is {_shown(line)}, quoted wrongly: {exc}") from exc


def _object_fields(line: str) -> Row:
    try:
        document = _decode_object(line)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise _RefusedRowError("json", f"is {_shown(line.rstrip())}, not a JSON object: {exc}") from exc
    if not isinstance(document, dict):
        raise _RefusedRowError("json", f"is {_shown(line.rstrip())}, not a JSON object")
    return tuple([_text(document.get(name)) for name in COLUMNS])


def _text(value: object) -> str:
    """A JSON value as CSV would have it."""
    if isinstance(value, str):
        return value
    return "" if value is None else str(value)


# -- rows to columns -------------------------------------------------------------------------------------


class _Reading:
    """The columns so far. line is the number of the line that is being read, from 1."""

    def __init__(self, canonical: Mapping[str, str]) -> None:
        self.line = 0
        self._canonical = canonical
        self._known_kinds = f"{', '.join(sorted(set(canonical.values())))}, and names mapped to them"
        self._kinds: dict[str, int] = {}
        self._products: dict[str, int] = {}
        self._amounts: dict[str, int] = {"": 0}
        self._numbers = array("q")  # four to a row: ts_ms, kind, product, amount
        self._user: list[str | None] = []
        self._category: list[str | None] = []
        self._position: list[str | None] = []
        self._refused: Counter[Reason] = Counter()
        self._samples: list[str] = []

    def take(self, fields: Row) -> None:
        """Count the row in, or refuse it."""
        ts_ms, kind, product, user, category, price, position = fields
        try:
            # the product first: a row that is refused for another reason still enrols it
            number = self._product(product)
            row = (_moment(ts_ms), self._kind(kind), _checked(number, product), self._amount(price))
        except _RefusedRowError as refusal:
            self.refuse(refusal)
        else:
            self._numbers.extend(row)
            self._user.append(user or None)
            self._category.append(category or None)
            self._position.append(position or None)

    def refuse(self, refusal: _RefusedRowError) -> None:
        """Count a refused row; the first few are kept in words."""
        self._refused[refusal.reason] += 1
        if len(self._samples) < SAMPLES_MAX:
            self._samples.append(f"line {self.line} {refusal}")

    def _product(self, product: str) -> int:
        """The product's number, enrolling it at its first appearance; -1 for what is no product id."""
        number = self._products.get(product)
        if number is None:
            number = self._products.setdefault(product, len(self._products)) if _is_id(product) else -1
        return number

    def _kind(self, name: str) -> int:
        kind = self._canonical.get(name)
        if kind is None:
            raise _RefusedRowError("type", f"has type {_shown(name)}: known are {self._known_kinds}")
        return self._kinds.setdefault(kind, len(self._kinds))

    def _amount(self, price: str) -> int:
        amount = self._amounts.get(price)
        if amount is None:
            amount = self._amounts[price] = _minor_units(price)
        return amount

    def recorded(self) -> Recorded:
        """All that was read."""
        ts_ms, kind, product, amount = np.array(self._numbers, np.int64).reshape(-1, 4).T.copy()
        return Recorded(
            ts_ms=ts_ms,
            kind=kind,
            kinds=tuple(self._kinds),
            product=product,
            products=tuple(self._products),
            amount=amount,
            user=self._user,
            category=self._category,
            position=self._position,
            refused=self._refused,
            samples=tuple(self._samples),
        )


def _checked(number: int, product: str) -> int:
    if number < 0:
        raise _RefusedRowError(
            "product", f"has product {_shown(product)}: 1 to 64 letters, digits, dots, underscores or hyphens"
        )
    return number


def _moment(text: str) -> int:
    if text.isdecimal() and text.isascii():
        moment_ms = int(text) if len(text) <= _DIGITS_MAX else TIME_MAX_MS + 1
        if moment_ms <= TIME_MAX_MS:
            return moment_ms
        raise _RefusedRowError("ts_ms", f"has ts_ms {_shown(text)}, after the year 9999: give milliseconds")
    why = ", which is negative" if re.fullmatch(r"-[0-9]+", text) else ""
    raise _RefusedRowError(
        "ts_ms", f"has ts_ms {_shown(text)}{why}: whole milliseconds since 1970, for example 1511658000000"
    )


def _minor_units(price: str) -> int:
    """price * 100 rounded half to even, exactly as the decimal text has it."""
    if not _is_decimal(price):
        raise _RefusedRowError("price", f"has price {_shown(price)}: decimal major units, for example 19.90")
    minor = _exact.multiply(_exact.create_decimal(price), Decimal(100))
    if minor < 0:
        raise _RefusedRowError("price", f"has price {_shown(price)}, which is negative")
    if minor > AMOUNT_MAX:
        raise _RefusedRowError("price", f"has price {_shown(price)}, more than {AMOUNT_MAX // 100}")
    return int(minor.quantize(Decimal(1), ROUND_HALF_EVEN, context=_exact))


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…")


# -- files that cannot be read ---------------------------------------------------------------------------


@contextmanager
def _reported(path: Path, reading: _Reading) -> Iterator[None]:
    """Whatever stops the reading becomes a RecordedFileError that names the file and the place."""

    def stop(why: str, exc: Exception) -> NoReturn:
        raise RecordedFileError(f"{path}: {why}") from exc

    where = "after line {}"
    try:
        yield
    except RecordedFileError as exc:
        stop(str(exc), exc)
    except _RefusedRowError as exc:
        stop(f"the header {exc}", exc)
    except UnicodeDecodeError as exc:
        stop(f"not UTF-8 text ({exc.reason}, {where.format(reading.line)}); give plain text or gzip", exc)
    except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
        stop(f"the gzip data is cut off or damaged ({where.format(reading.line)}): {exc}", exc)
    except OSError as exc:
        stop(f"cannot be read: {exc.strerror or exc}", exc)
