"""A batch of events for every venue that its products race in: appended by each once, or not answered."""

from __future__ import annotations

from typing import Any

import msgspec

from api.bodies import NDJSON
from api.errors import ProblemError
from api.grants import Grant
from api.ingest import batch_of_lines, decode
from api.sending import Sent, send
from api.service import Service
from api.taken import MalformedBatchError
from api.view import VenueView
from racing.errors import StoreUnavailableError
from racing.store.abreast import abreast

_encode = msgspec.json.Encoder().encode


async def send_everywhere(service: Service, caller: Grant, body: bytes, media_type: str, key: str) -> bytes:
    """The answer (JSON) once every venue that any of the products races in has appended its events.

    The whole body goes to each under the same key, so that each knows it again, whatever is enrolled meanwhile; an
    event is refused where every venue refuses it. Raises ProblemError for a body that is none, and
    StoreUnavailableError where a venue did not append: sent again, the others answer as they did.
    """
    sent = Sent(body, media_type, key)  # a wrong key is refused also where no venue is meant
    lines = batch_of_lines(body) if media_type == NDJSON else body
    try:
        came = decode(lines, events_max=service.settings.batch_max_events)
    except MalformedBatchError as exc:
        raise ProblemError(exc.code, str(exc)) from exc
    products = set(came.rows.product)
    size = len(came.rows.product) + len(came.refused)

    async def one(view: VenueView) -> dict[str, Any] | StoreUnavailableError | None:
        """The answer of one venue; None where no product of the batch races, the error where it did not append."""
        try:
            numbers = await service.frames.numbers.of(view, products)
            if not products & numbers.keys():
                return None
            answer: dict[str, Any] = msgspec.json.decode(await send(service, view, sent))
        except StoreUnavailableError as exc:
            return exc
        return answer

    venues = _venues(service, caller)
    found = dict(zip(venues, await abreast(one, venues.values()), strict=True))
    failed = {name: told for name, told in found.items() if isinstance(told, StoreUnavailableError)}
    if failed:
        raise StoreUnavailableError(
            f"venues {', '.join(failed)} have not appended ({next(iter(failed.values()))}):"
            " send the same body again with the same Idempotency-Key, the others count it once"
        )
    answers = {name: told for name, told in found.items() if isinstance(told, dict)}
    return _encode(_answer(answers, size))


def _venues(service: Service, caller: Grant) -> dict[str, VenueView]:
    """Where the events may go: venues that take some now, within the caller's scope, by id."""
    views = service.frames.views
    return {name: view for name, view in sorted(views.items()) if view.shut is None and caller.reaches(name)}


def _answer(answers: dict[str, dict[str, Any]], size: int) -> dict[str, Any]:
    """What became of each event: accepted where any venue took it, else refused for the first venue's reason."""
    reasons: dict[int, list[dict[str, Any]]] = {}
    for told in answers.values():
        for refused in told["refused"]:
            reasons.setdefault(refused["index"], []).append(refused)
    if not answers:
        reasons = {place: [_nowhere(place)] for place in range(size)}
    refused = [_best(told) for _, told in sorted(reasons.items()) if len(told) >= len(answers)]
    venues = [
        {"venue": name, **{part: told[part] for part in ("accepted", "duplicate", "position")}}
        for name, told in sorted(answers.items())
    ]
    return {"venues": venues, "refused": refused}


def _best(told: list[dict[str, Any]]) -> dict[str, Any]:
    """The reason that says most: one that is not merely that the product races elsewhere."""
    return next((each for each in told if each["code"] != "unknown_product"), told[0])


def _nowhere(place: int) -> dict[str, Any]:
    return {
        "index": place,
        "code": "unknown_product",
        "reason": "product: is enrolled in no venue that takes events now",
    }
