"""A batch of events from its body to its answer, by whichever way it came in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from hashlib import blake2b

import msgspec

from api.appender import Appender
from api.asked import KEY_MAX, is_key
from api.bodies import NDJSON
from api.door import Door
from api.errors import ProblemError
from api.ingest import batch_of_lines, decode
from api.packed import MEDIA_TYPE, PackedColumns, PackedTaken, decode_packed, sort_out_packed, take_packed
from api.recent_ids import RecentIds
from api.service import Service
from api.taken import Decoded, MalformedBatchError, RefusedEvent, Taken
from api.view import VenueView
from racing.errors import ConflictError, OverloadedError, RacingError, StaleNumbersError, StoreUnavailableError
from racing.metrics import METRICS
from racing.store.desk import Appended, KeyedBatch

_encode = msgspec.json.Encoder().encode

Heard = Callable[[bytes | Exception], None]
"""Hears the answer of a batch (JSON), or what to refuse it with."""


class _Answer(msgspec.Struct):
    accepted: int
    duplicate: int
    refused: list[RefusedEvent]


class Sent(msgspec.Struct, frozen=True, gc=False):
    """A request to append: its body and what its headers said. Raises ProblemError for a key that is none.

    only: event kinds that a page may send, each event with its token; any, from elsewhere, where it is None.
    tries: so often it is sent again with other numbers, where a failover lost the enrolments of those it had.
    """

    body: bytes
    media_type: str
    key: str | None
    only: frozenset[str] | None = None
    tries: int = 3

    def __post_init__(self) -> None:
        key = self.key
        if key is not None and not is_key(key):
            expected = f"must be 1 to {KEY_MAX} printable ASCII characters"
            raise ProblemError("malformed", f"Idempotency-Key: {expected}, not {key[:80]!r}")


async def send(service: Service, view: VenueView, sent: Sent) -> bytes:
    """The answer (JSON) once the accepted events of a batch are in the log.

    Raises ProblemError for a body that is none, StoreError, OverloadedError, IdempotencyMismatchError.
    """
    why = why_not(service, view)
    if why is not None:
        try:
            raise why
        finally:
            del why  # it holds this frame, and with it the body: together until the collector runs
    return await send_let_in(service, view, sent)


async def send_let_in(service: Service, view: VenueView, sent: Sent) -> bytes:
    """As send, for a batch that was let in."""
    came = _came(sent, view, service.settings.batch_max_events)
    appender = await service.appender(view.venue.venue)
    await _learn(service, view, came)
    sorted_out = _sorted_out(
        service, view, came, sent.only
    )  # no wait from here on: the numbers are those that are submitted
    if sent.key is not None and not len(sorted_out[0]):
        return await _answered_before(service, view, sent, sorted_out[1])
    future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    _submit(service, view, sent, sorted_out, appender, partial(_settle, future))
    return await future


def send_at_once(service: Service, view: VenueView, sent: Sent, heard: Heard) -> bool:
    """As send_let_in, for a caller that does not wait; False, with nothing done, where it is not a batch to take whole.

    Then a product or kind may be new, and Redis is asked. Raises what send raises for the body.
    """
    appender = service.appenders.get(view.venue.venue)
    if appender is None:
        return False
    taken = _whole(service, view, _came(sent, view, service.settings.batch_max_events))
    if taken is None:
        return False
    _submit(service, view, sent, (taken, []), appender, heard)
    return True


def why_not(service: Service, view: VenueView) -> RacingError | None:
    """Why a batch is refused as it comes, before any work is done for it; None for one that is let in.

    That one is not refused for what comes after it, however long it waits for its turn.
    """
    if view.shut is not None:
        return ConflictError(view.shut)
    appender = service.appenders.get(view.venue.venue)
    shut = service.full if appender is None else appender.shut
    return None if shut is None else OverloadedError(shut)


Came = Decoded | PackedColumns
SortedOut = tuple[Taken | PackedTaken, list[RefusedEvent]]


def _came(sent: Sent, view: VenueView, events_max: int) -> Came:
    """The events of a body, well-formed ones and others. Raises ProblemError for a body that is no batch."""
    try:
        if sent.media_type == MEDIA_TYPE:
            return decode_packed(sent.body, events_max=events_max)
        body = batch_of_lines(sent.body) if sent.media_type == NDJSON else sent.body
        return decode(body, events_max=events_max, kinds=tuple(view.kinds), segments=tuple(view.rule.segment_names))
    except MalformedBatchError as exc:
        raise ProblemError(exc.code, str(exc)) from exc


async def _learn(service: Service, view: VenueView, came: Came) -> None:
    """Look once at Redis for products or kinds that are not known here."""
    names = (came.products, came.kinds) if isinstance(came, PackedColumns) else (came.rows.product, came.rows.type)
    products, kinds = map(set, names)
    if not products <= view.numbers.keys():
        await service.frames.numbers.of(view, products)
    if not kinds <= view.kinds.keys():
        await service.frames.learn_kinds(view)


def _sorted_out(service: Service, view: VenueView, came: Came, only: frozenset[str] | None) -> SortedOut:
    """What the venue takes of a batch, and what it refuses, with the tokens of its events read and used."""
    exposures = service.exposures(view, only)
    door = Door(view.venue.venue, view.rule, view.kinds, view.numbers, service.now_ms(), exposures)
    return sort_out_packed(came, door) if isinstance(came, PackedColumns) else door.sort_out(came)


def _whole(service: Service, view: VenueView, came: Came) -> Taken | PackedTaken | None:
    """All events of a batch; None if one is refused, or has a token."""
    door = Door(view.venue.venue, view.rule, view.kinds, view.numbers, service.now_ms())
    if isinstance(came, PackedColumns):
        return take_packed(came, door)
    return None if came.refused else door.take(came.rows)


def _submit(
    service: Service, view: VenueView, sent: Sent, sorted_out: SortedOut, appender: Appender, heard: Heard
) -> None:
    """Hand a batch to its venue's appender, and have its sender hear what became of it, once it is in the log.

    Its answer is made before that: under a key it is kept with the entry, for whoever sends the batch again.
    """
    taken, refused = sorted_out
    numbers = view.numbers
    venue, now_ms = view.venue.venue, service.now_ms()
    named = taken.named()
    since_ms = now_ms - view.rule.id_memory_ms if named else 0
    recent = service.recent_ids.setdefault(venue, RecentIds()) if named else None
    duplicate = 0 if recent is None else recent.repeats(named, since_ms=since_ms)
    answer = _answer(len(taken) - duplicate, duplicate, refused)

    def done(result: Appended | Exception | None) -> None:
        """Take note of what is in the log now, and tell the sender; batches whose numbers are void go again."""
        if isinstance(result, Exception):
            if isinstance(result, StaleNumbersError):
                service.frames.numbers.forget(view, numbers)
                _send_again(service, view, sent, heard)
            else:
                heard(result)
            return
        if recent is not None:
            recent.add(named, now_ms=now_ms, since_ms=since_ms)
            METRICS.set("saima_recent_ids", venue, len(recent))
        if result is not None and result.repeated:
            heard(_with_position(result.answer, result.entry))
            return
        _count(venue, len(taken) - duplicate, duplicate, refused)
        heard(_with_position(answer, None if result is None else result.entry))

    if not len(taken):
        done(None)
        return
    keyed = None
    if sent.key is not None:
        packed = taken.batch(appender.secret).pack()
        name, digest = _key_names(sent)
        keyed = KeyedBatch(packed, name, digest, answer)
    appender.submit(taken, keyed, done, numbers)


def _send_again(service: Service, view: VenueView, sent: Sent, heard: Heard) -> None:
    """Send a batch anew with the numbers that hold now: nothing of it is in the log."""

    async def again() -> None:
        try:
            heard(await send_let_in(service, view, msgspec.structs.replace(sent, tries=sent.tries - 1)))
        except Exception as exc:  # noqa: BLE001  # whoever sent it must hear of it
            heard(exc)

    if not sent.tries:
        heard(StoreUnavailableError(f"venue {view.venue.venue}: its enrolments keep changing: send again later"))
        return
    task = asyncio.create_task(again(), name=f"again-{view.venue.venue}")
    service.again.add(task)
    task.add_done_callback(service.again.discard)


def _answer(accepted: int, duplicate: int, refused: list[RefusedEvent]) -> bytes:
    return _encode(_Answer(accepted, duplicate, refused))


def _count(venue: str, accepted: int, duplicate: int, refused: list[RefusedEvent]) -> None:
    METRICS.count("saima_events_accepted_total", venue, accepted)
    if duplicate:
        METRICS.count("saima_events_duplicate_total", venue, duplicate)
    for each in refused:
        METRICS.count("saima_events_refused_total", venue, reason=each.code)


def _key_names(sent: Sent) -> tuple[str, str]:
    """(name of the key in Redis, digest of the body)."""
    key = blake2b((sent.key or "").encode(), digest_size=16).hexdigest()
    return key, blake2b(sent.body, digest_size=16).hexdigest()


async def _answered_before(service: Service, view: VenueView, sent: Sent, refused: list[RefusedEvent]) -> bytes:
    """The answer to a batch with a key of which nothing is taken now.

    Sent again so late that none of it would be taken, it was counted when it came first.
    """
    name, digest = _key_names(sent)
    before = await service.desk.answered(view.venue.venue, key=name, digest=digest)
    if before is not None:
        return _with_position(before.answer, before.entry)
    _count(view.venue.venue, 0, 0, refused)
    return _with_position(_answer(0, 0, refused), None)


def _with_position(answer: bytes, position: str | None) -> bytes:
    return b'{"position":' + _encode(position) + b"," + answer[1:]


def _settle(future: asyncio.Future[bytes], answer: bytes | Exception) -> None:
    """Give a waiting sender its answer, or raise it there."""
    if future.done():
        return  # its sender has gone
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
