"""A batch of events from its body to its answer, by whichever way it came in."""

from __future__ import annotations

import time
from hashlib import blake2b

import msgspec

from api.appender import Appender
from api.bodies import NDJSON
from api.errors import ProblemError
from api.frames import VenueView
from api.ingest import Decoded, Door, MalformedBatchError, RecentIds, RefusedEvent, Taken, batch_of_lines, decode
from api.packed import MEDIA_TYPE, PackedTaken, decode_packed, sort_out_packed
from api.service import Service
from racing.metrics import METRICS
from racing.store.desk import Appended, KeyedBatch

KEY_MAX = 255
_encode = msgspec.json.Encoder().encode


class _Answer(msgspec.Struct):
    accepted: int
    duplicate: int
    refused: list[RefusedEvent]


async def send(service: Service, view: VenueView, body: bytes, *, media_type: str, key: str | None) -> bytes:
    """The answer (JSON) once the accepted events of a batch are in the log.

    Raises ProblemError for a body or key that is none, StoreError, IdempotencyMismatchError.
    """
    check_key(key)
    events_max = service.settings.batch_max_events
    try:
        if media_type == MEDIA_TYPE:
            came = decode_packed(body, events_max=events_max)
            numbers = await _known(service, view, set(came.products), set(came.kinds))
            packed, refused = sort_out_packed(came, _door(service, view, numbers))
            return await _append(service, view, packed, refused, body, key)
        decoded = decode(batch_of_lines(body) if media_type == NDJSON else body, events_max=events_max)
    except MalformedBatchError as exc:
        raise ProblemError(exc.code, str(exc)) from exc
    taken, refused = await _sort_out(service, view, decoded)
    return await _append(service, view, taken, refused, body, key)


def check_key(key: str | None) -> None:
    """Raise ProblemError for an Idempotency-Key that is empty, too long or not printable ASCII."""
    if key is not None and not (1 <= len(key) <= KEY_MAX and key.isascii() and key.isprintable()):
        expected = f"must be 1 to {KEY_MAX} printable ASCII characters"
        raise ProblemError("malformed", f"Idempotency-Key: {expected}, not {key[:80]!r}")


async def _sort_out(service: Service, view: VenueView, decoded: Decoded) -> tuple[Taken, list[RefusedEvent]]:
    products = {event.product for event in decoded.events}
    kinds = {event.type for event in decoded.events}
    numbers = await _known(service, view, products, kinds)
    return _door(service, view, numbers).sort_out(decoded, products=products, kinds=kinds)


async def _known(service: Service, view: VenueView, products: set[str], kinds: set[str]) -> dict[str, int]:
    """Runner numbers by product, after one look at Redis for products or kinds not known here."""
    numbers = view.numbers
    if not products <= numbers.keys():
        numbers = await service.frames.numbers(view, products)
    if not kinds <= view.kinds:
        await service.frames.refresh_rule(view)
    return numbers


def _door(service: Service, view: VenueView, numbers: dict[str, int]) -> Door:
    return Door(view.venue.venue, view.rule, view.kinds, numbers, service.now_ms())


async def _append(
    service: Service,
    view: VenueView,
    taken: Taken | PackedTaken,
    refused: list[RefusedEvent],
    body: bytes,
    key: str | None,
) -> bytes:
    venue, now_ms = view.venue.venue, service.now_ms()
    since_ms = now_ms - view.rule.id_memory_ms
    recent = service.recent_ids.setdefault(venue, RecentIds())
    named = taken.named()
    duplicate = recent.repeats(named, since_ms=since_ms)
    answer = _encode(_Answer(len(taken) - duplicate, duplicate, refused))
    begun = time.perf_counter()
    appended = await _appended(service, view, taken, body, key, answer)
    if len(taken):
        METRICS.observe("saima_append_seconds", venue, time.perf_counter() - begun)
        recent.add(named, now_ms=now_ms, since_ms=since_ms)
    if appended is not None and appended.repeated:
        return _with_position(appended.answer, appended.entry)
    METRICS.count("saima_events_accepted_total", venue, len(taken) - duplicate)
    METRICS.count("saima_events_duplicate_total", venue, duplicate)
    for each in refused:
        METRICS.count("saima_events_refused_total", venue, reason=each.code)
    return _with_position(answer, None if appended is None else appended.entry)


def _with_position(answer: bytes, position: str | None) -> bytes:
    return b'{"position":' + _encode(position) + b"," + answer[1:]


async def _appended(
    service: Service, view: VenueView, taken: Taken | PackedTaken, body: bytes, key: str | None, answer: bytes
) -> Appended | None:
    """The entry of the taken events, made now or when the key came first; None where there is nothing to take."""
    venue = view.venue.venue
    if key is None:
        return await (await _appender(service, venue)).append(taken) if len(taken) else None
    name = blake2b(key.encode(), digest_size=16).hexdigest()
    digest = blake2b(body, digest_size=16).hexdigest()
    if not len(taken):
        # a batch sent again so late that none of it would be taken now was counted when it came first
        return await service.desk.answered(venue, key=name, digest=digest)
    packed = taken.batch(await service.secret()).pack()
    keyed = KeyedBatch(packed, name, digest, answer, service.settings.idempotency_ms)
    return await (await _appender(service, venue)).append(taken, keyed)


async def _appender(service: Service, venue: str) -> Appender:
    found = service.appenders.get(venue)
    if found is None:
        found = service.appenders.setdefault(venue, Appender(service.desk, venue, await service.secret()))
    return found
