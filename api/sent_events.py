"""An event and a batch as they are sent: fields, their bounds, and the published schema of both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from racing.model import ID_PATTERN

AMOUNT_MAX = 10**12
"""Largest amount of one event, minor units: sums of 2^23 such events are still exact in a sorted set."""

KIND_MAX = 32
USER_MAX = 128
TIME_MAX_MS = 2**53
TOKEN_MAX = 64
_ID = re.compile(ID_PATTERN + r"(?!\n)")
Id = Annotated[
    str,
    Meta(pattern=ID_PATTERN + r"(?!\n)"),  # Python's $ lets a line feed follow, as other languages' does not
]
_Millis = Annotated[int, Meta(ge=0, le=TIME_MAX_MS)]


class EventIn(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One event as sent. Only type and product are required; ts_ms defaults to arrival.

    The product's form is not checked while decoding: it must be an enrolled one, which is cheaper to look up.
    """

    type: Annotated[str, Meta(min_length=1, max_length=KIND_MAX, description="event kind", examples=["click"])]
    product: Annotated[str, Meta(examples=["p-1001"])]
    ts_ms: Annotated[_Millis | None, Meta(description="event time; arrival where absent")] = None
    amount: Annotated[
        Annotated[int, Meta(ge=0, le=AMOUNT_MAX)] | None,
        Meta(description="minor units, e.g. cents or fen", examples=[19900]),
    ] = None
    user: Annotated[
        Annotated[str, Meta(min_length=1, max_length=USER_MAX)] | None,
        Meta(description="kept only as a hash", examples=["u-1"]),
    ] = None
    quantity: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    id: Annotated[
        Id | None,
        Meta(description="counts once per kind; a refund names its payment by it", examples=["order-5"]),
    ] = None
    source: Annotated[Id | None, Meta(description="entrance (入口)", examples=["search"])] = None
    segment: Id | None = None
    frame: Annotated[Annotated[int, Meta(ge=0, le=2**53)] | None, Meta(description="frame that was shown")] = None
    slot: Annotated[Annotated[int, Meta(ge=1, le=10_000)] | None, Meta(description="slot that was shown")] = None
    token: Annotated[
        Annotated[str, Meta(min_length=1, max_length=TOKEN_MAX)] | None,
        Meta(description="of the slot where it happened, as the answer had it: fills frame and slot"),
    ] = None


class BatchIn(msgspec.Struct, forbid_unknown_fields=True):
    """A batch as sent: ``{"events": [...]}``."""

    events: list[EventIn]


def batch_schemas(
    ref_template: str, *, events_max: int, kinds: Sequence[type[msgspec.Struct]] = (BatchIn,)
) -> dict[str, Any]:
    """JSON Schemas of kinds of batches and their parts by name, made from what the decoder checks."""
    _, schemas = msgspec.json.schema_components(kinds, ref_template=ref_template)
    schemas["EventIn"]["properties"]["product"]["pattern"] = ID_PATTERN
    for kind in kinds:
        schemas[kind.__name__]["properties"]["events"] |= {"minItems": 1, "maxItems": events_max}
    for schema in (each for kind in schemas.values() for each in kind["properties"].values()):
        for part in (schema, *schema.get("anyOf", ())):
            if "pattern" in part:
                part["pattern"] = ID_PATTERN
    return schemas


def is_id(text: str) -> bool:
    """Whether a text has the form of an id."""
    return _ID.match(text) is not None


def is_user(text: str) -> bool:
    """Whether a text can be a user id."""
    return 1 <= len(text) <= USER_MAX
