"""What a read of slots asks, checked, and the frame that it is answered from: the current, a page's, or a past one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.cursors import CURSOR_MAX, Cursor, read_cursor
from api.encoded import parse_place
from api.errors import ProblemError
from api.history import Shown
from api.parts import Part, State
from api.rows import FIELDS
from api.service import Service
from api.tokens import issued_s
from api.view import VenueView
from racing.documents import in_words, shown, worded
from racing.model import ID_PATTERN, Place
from racing.rule import no_segment

FRAME_PATTERN = worded(
    r"^[0-9]{1,20}-[0-9]{1,20}$",
    "must be the name of a frame, epoch-frame as answers tell both, as 1763740800000-48210",
)
_FIELD = f"({'|'.join(FIELDS)})"
FIELDS_PATTERN = f"^{_FIELD}(,{_FIELD}){{0,{len(FIELDS)}}}$"
"""Told to clients; what is wrong is told in better words."""
_MOMENT_MAX_MS = 253_402_300_799_999
_TEXT_MAX = 200


class SlotsQuery(BaseModel):
    """What may be asked of GET slots."""

    model_config = ConfigDict(frozen=True)

    limit: int = Field(50, ge=1, le=1000, description="slots of a page, the first ones without a cursor")
    cursor: str | None = Field(
        None,
        max_length=CURSOR_MAX,
        json_schema_extra={"pattern": "^[A-Za-z0-9_-]+$"},
        description="`next` of the page before: goes on in the same frame, filtered and selected as that one",
    )
    frame: str | None = Field(
        None, pattern=FRAME_PATTERN, description="name of a frame, `epoch-frame`; the current one without"
    )
    at_ms: int | None = Field(
        None, ge=0, le=_MOMENT_MAX_MS, description="the frame that stood at this moment, ms of log time"
    )
    category: str | None = Field(
        None, min_length=1, max_length=_TEXT_MAX, description="only products of this category; slots stay as they are"
    )
    tier: str | None = Field(None, min_length=1, max_length=_TEXT_MAX, description="only products of this tier")
    segment: str | None = Field(
        None,
        pattern=ID_PATTERN,
        examples=["new"],
        description="the board as this segment of shoppers has it, one of those that the rule declares",
    )
    fields: str | None = Field(
        None,
        max_length=512,
        examples=["title,image,price"],
        json_schema_extra={"pattern": FIELDS_PATTERN},
        description=f"fields of a slot, comma-separated, out of {', '.join(FIELDS)}; slot and product always come",
    )
    tokens: bool | None = Field(
        None, description="each slot with a token, which ties what happens to it to its slot and frame"
    )
    rules: Literal["off"] | None = Field(
        None,
        description="off, for operators: products by score alone, without boosts and steps of the board, to compare "
        "with; goes with limit and fields only",
    )
    seen: str | None = Field(
        None,
        pattern=FRAME_PATTERN,
        description="name of the newest frame that you have seen: you are not answered with an older one",
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """A read that makes sense. place: of the frame that is meant; at_ms: its moment; neither for the current one."""

    part: Part
    place: Place | None = None
    at_ms: int | None = None
    seen: Place | None = None


def asked_of(venue: str, query: SlotsQuery) -> Asked:
    """What a query asks of a venue. Raises ProblemError (422), which names the field, its value and what is right."""
    seen = None if query.seen is None else parse_place(query.seen)
    if query.cursor is not None:
        cursor = _cursor(venue, query)
        part = Part(
            query.limit, cursor.after, cursor.category, cursor.tier, cursor.fields, cursor.tokens, cursor.segment
        )
        return Asked(part, cursor.place, seen=seen)
    if query.frame is not None and query.at_ms is not None:
        raise _wrong("at_ms", "names a frame as frame does: leave one of them out", query.at_ms)
    fields = fields_of(query.fields)
    part = Part(query.limit, 0, query.category, query.tier, fields, query.tokens or False, query.segment)
    return Asked(part, None if query.frame is None else parse_place(query.frame), query.at_ms, seen)


def plain_part(query: SlotsQuery) -> Part:
    """What a read with rules=off asks for. Raises ProblemError (422) for what is of frames alone."""
    for name in ("cursor", "frame", "at_ms", "category", "tier", "segment", "tokens", "seen"):
        if getattr(query, name) is not None:
            raise _wrong(name, "does not go with rules=off: leave it out", getattr(query, name))
    return Part(query.limit, fields=fields_of(query.fields))


def fields_of(given: str | None) -> tuple[str, ...]:
    """The fields that are named, in their own order; none for all. Raises ProblemError (422)."""
    if given is None:
        return ()
    named = {name.strip() for name in given.split(",")}
    unknown = sorted(named.difference(FIELDS))
    if unknown:
        raise _wrong("fields", f"must be out of {', '.join(FIELDS)}, separated by commas", unknown[0])
    return tuple(name for name in FIELDS if name in named)


def _cursor(venue: str, query: SlotsQuery) -> Cursor:
    cursor = read_cursor(query.cursor or "")
    if cursor is None:
        raise _wrong("cursor", "must be `next` of an answer, unchanged", query.cursor)
    if cursor.venue != venue:
        raise _wrong("cursor", f"is of venue {cursor.venue!r}, not of {venue!r}", query.cursor)
    for name in ("frame", "at_ms", "category", "tier", "segment", "fields", "tokens"):
        if getattr(query, name) is not None:
            raise _wrong(name, "is said by the cursor already: leave it out", getattr(query, name))
    return cursor


def _wrong(field: str, expected: str, value: object) -> ProblemError:
    errors = [(f"query.{field}", expected, shown(value))]
    return ProblemError("invalid", in_words(errors), errors=errors)


def known_segment(view: VenueView, segment: str | None) -> None:
    """Raise ProblemError (422) for a segment that the venue does not declare."""
    declared = view.rule.segment_names
    if segment is not None and segment not in declared and segment not in view.frame.segments:
        errors = [no_segment(segment, declared, field="query.segment")]
        raise ProblemError("invalid", in_words(errors), errors=errors)


async def found(service: Service, view: VenueView, asked: Asked) -> Shown:
    """The frame that is asked for, after those that the client has seen are known here.

    Raises ProblemError (410) for one that is not kept, which names the current one; StoreError where nobody can tell.
    """
    seen = max(filter(None, (asked.seen, asked.place)), default=None)
    if seen is not None:
        await service.frames.catch_up(view, seen)
    if asked.place is not None:
        if asked.place == view.frame.place:
            return view.now
        kept = await service.frames.past.find(view, asked.place)
        return kept or _gone(view, f"frame {asked.place[0]}-{asked.place[1]} is not kept")
    if asked.at_ms is not None:
        kept = await service.frames.past.find_before(view, asked.at_ms + 1)
        return kept or _gone(view, f"no frame is kept that stood at {asked.at_ms}")
    return view.now


def _gone(view: VenueView, what: str) -> Shown:
    name = view.frame.name
    raise ProblemError("gone", f"{what}: the current frame is {name}", headers={"Saima-Frame": name})


async def state_of(service: Service, view: VenueView, shown: Shown, part: Part, *, details: bool) -> State:
    """What an answer from a frame tells besides."""
    state = State(
        stale=view.stale(),
        details=details,
        issued_s=issued_s(shown.frame.at_ms, service.now_ms()) if part.tokens else 0,
    )
    if shown is view.now:
        return state
    evolved = shown.frame.place < view.frame.place
    return replace(state, evolved=evolved, gone=await service.gone.since(shown, service.now_ms()))
