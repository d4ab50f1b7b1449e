"""Parts of a frame: its rows from a slot on, filtered, with some of their fields, as the body of an answer."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from api.cursors import Cursor
from api.history import Shown
from api.rows import ALWAYS, Row, head_of
from api.tokens import VenueTokens
from racing.model import Frame

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Part:
    """Which rows of a frame are asked for: the first ``limit`` after a slot of those that fit, with these fields.

    category and tier: of the products, as given at enrolment; None takes any. fields: empty for all. tokens: each with
    the token by which what happens to it is tied to its slot and frame. segment: whose board it is; None: the venue's.
    """

    limit: int
    after: int = 0
    category: str | None = None
    tier: str | None = None
    fields: tuple[str, ...] = ()
    tokens: bool = False
    segment: str | None = None


@dataclass(frozen=True, slots=True)
class State:
    """What an answer tells besides its frame. evolved: whether there is a newer one. gone: products excluded since.

    issued_s: when its tokens are said to be issued, if it has some.
    """

    stale: bool = False
    details: bool = True
    evolved: bool = False
    gone: frozenset[str] = frozenset()
    issued_s: int = 0


@dataclass(frozen=True, slots=True)
class Sight:
    """What those see who follow a venue: so many slots; details: with scores, stock and counts; stale: told to be so.

    tokens, segment: as Part has them; issued_s: as State has it.
    """

    limit: int
    details: bool
    stale: bool
    tokens: bool
    issued_s: int
    segment: str | None = None


def body_of(shown: Shown, rows: list[Row], part: Part, state: State, tokens: VenueTokens | None = None) -> bytes:
    """The body of an answer. rows: all of the frame, with the details that the state has. tokens: makes the venue's."""
    chosen = _filtered(rows, part)
    rest = chosen[part.after :] if chosen is rows else [row for row in chosen if row["slot"] > part.after]
    page = [_marked(row, part, state) for row in rest[: part.limit]]
    if part.tokens and tokens is not None:
        page = with_tokens(shown.frame, page, tokens, state.issued_s)
    head = head_of(shown, details=state.details, stale=state.stale)
    cursor = _next(shown, part, page[-1]["slot"]) if len(rest) > len(page) else None
    return _encode({**head, "evolved": state.evolved, "slots": page, "next": cursor})


def _filtered(rows: list[Row], part: Part) -> list[Row]:
    """The rows that fit, each with its place among them; the rows themselves where nothing is filtered."""
    if part.category is None and part.tier is None:
        return rows
    wanted = {"category": part.category, "tier": part.tier}
    fits = {name: value for name, value in wanted.items() if value is not None}
    found = [row for row in rows if all(row.get(name) == value for name, value in fits.items())]
    return [{**row, "filtered_slot": index + 1} for index, row in enumerate(found)]


def _marked(row: Row, part: Part, state: State) -> Row:
    """The row with the fields that are asked for, and whether its product has gone since."""
    if part.fields:
        row = {name: value for name, value in row.items() if name in ALWAYS or name in part.fields}
    return {**row, "gone": True} if row["product"] in state.gone else row


def with_tokens(frame: Frame, page: list[Row], tokens: VenueTokens, issued_s: int) -> list[Row]:
    """Rows of a frame, each with its token. Cost: some 2 us each."""
    runners = {slot.slot: slot.runner for slot in frame.slots}
    made = tokens.made(frame.epoch, frame.frame, issued_s, [(row["slot"], runners[row["slot"]]) for row in page])
    return [{**row, "token": token} for row, token in zip(page, made, strict=True)]


def _next(shown: Shown, part: Part, last_slot: int) -> str:
    frame = shown.frame
    chosen = (part.category, part.tier, part.fields, part.tokens, part.segment)
    return Cursor(frame.venue, frame.epoch, frame.frame, last_slot, *chosen).text()
