"""What the clients do, step by step, without doing it: each flow yields the requests to make and how long to wait.

So it is written once, and run by plain code and by asyncio alike.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypedDict
from urllib.parse import quote

import httpx2

from api.client.boards import Board

BATCH_MAX: Final = 1_000
"""Events of one request, as many as a service takes by default."""
BEACONS_MAX: Final = 250
"""Beacons of one request: 64 KiB hold so many, with users and ids."""
TRIES: Final = 8
TIMEOUT: Final = httpx2.Timeout(10.0)
STREAM_TIMEOUT: Final = httpx2.Timeout(10.0, read=40.0)  # a ping comes every 15 s
POLL_S: Final = 1.0
_FIRST_S, MOST_S = 0.25, 15.0
_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
_FINAL: Final = frozenset({400, 401, 403, 404, 422})
_GONE: Final = 410

Query = str | int | bool
Event = Mapping[str, Any]
"""As docs/events.md has it: type and product, and what else there is."""


class Refused(TypedDict):
    """An event that was not taken: its place among those that were sent, and why."""

    index: int
    code: str
    reason: str


class Receipt(NamedTuple):
    """What became of events: accepted + duplicate + refused is what was sent."""

    accepted: int
    duplicate: int
    refused: list[Refused]


class SaimaError(Exception):
    """An answer that is an error; code as in problem+json, empty where the service did not answer at all."""

    def __init__(self, detail: str, *, status: int = 0, code: str = "") -> None:
        super().__init__(detail)
        self.status, self.code = status, code


class Ask(NamedTuple):
    """A request to make; a flow is sent its response, or thrown what went wrong with the line."""

    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes | None = None


class Wait(NamedTuple):
    """Time to let pass before the next step."""

    seconds: float


Flow = Generator[Ask | Wait, httpx2.Response | None, Any]
"""Steps up to a result."""


def delay_s(tries: int, response: httpx2.Response | None = None) -> float:
    """Seconds before another try: as the service says, else longer each time, spread so that not all come at once."""
    told = "" if response is None else response.headers.get("retry-after", "")
    least_s = float(told) if told.isdecimal() else _FIRST_S * 2 ** min(tries, 10)
    return min(least_s, MOST_S) * random.uniform(1.0, 1.5)  # noqa: S311  # spreads load, hides nothing


def answered(ask: Ask, tries: int) -> Flow:
    """The response to a request that is safe to repeat: made again where none came, or one that says so.

    Raises SaimaError for one that is an error, or after so many tries.
    """
    why = ""
    for number in range(tries):
        response = None
        try:
            response = yield ask
        except httpx2.TransportError as exc:
            why = f"{type(exc).__name__}: {exc}"
        if response is not None:
            if response.status_code not in _AGAIN:
                raise_for(response)
                return response
            why = f"{response.status_code} {response.text[:200]}"
        if number + 1 < tries:
            yield Wait(delay_s(number, response))
    raise SaimaError(f"{ask.method} {ask.url}: no answer that holds in {tries} tries; the last: {why}")


def raise_for(response: httpx2.Response) -> None:
    """Raise SaimaError for an answer that is an error, with what its problem document says."""
    if response.is_success:
        return
    problem: Any = {}
    with suppress(ValueError):
        problem = response.json()
    problem = problem if isinstance(problem, dict) else {}
    detail = str(problem.get("detail", response.text[:200]))
    raise SaimaError(detail, status=response.status_code, code=str(problem.get("code", "")))


def raise_if_final(exc: Exception) -> None:
    """Raise a refusal that stays one: no such venue, no key that may."""
    if isinstance(exc, SaimaError) and exc.status in _FINAL:
        raise exc


TROUBLE = (httpx2.TransportError, SaimaError)
"""What may be over after a while, unless raise_if_final raises it."""


class Asking:
    """Addresses and headers of what is asked of a venue, or of a merchant."""

    def __init__(
        self, base_url: str, kind: str, name: str, *, key: str | None, origin: str | None = None, tries: int
    ) -> None:
        self._path = f"{base_url.rstrip('/')}/v1/{kind}/{quote(name, safe='')}"
        self._headers = {
            **({} if key is None else {"Authorization": f"Bearer {key}"}),
            **({} if origin is None else {"Origin": origin}),
        }
        self._tries = tries

    def request(self, what: str, **query: Query | None) -> Ask:
        """A read; what is None is not asked."""
        given = {name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items()}
        params = httpx2.QueryParams({name: value for name, value in given.items() if value is not None})
        return Ask("GET", f"{self._path}/{what}?{params}", self._headers)

    def read_flow(self, what: str, query: Mapping[str, Query | None]) -> Flow:
        """The document that a read is answered by."""
        response = yield from answered(self.request(what, **query), self._tries)
        return response.json()


class Flows(Asking):
    """Addresses, headers and flows of a venue."""

    def slots_flow(self, query: Mapping[str, Query | None]) -> Flow:
        """A page of slots."""
        return (yield from self.read_flow("slots", query))

    def next_page_flow(self, before: Board | None, shown: set[str], query: Mapping[str, Query]) -> Flow:
        """The page after one, less the products that were shown before, to which its own are added; None at the end."""
        cursor = None if before is None else before.get("next")
        while before is None or cursor is not None:
            try:
                says = query if cursor is None else {"limit": query["limit"], "cursor": cursor}  # which says the rest
                page: Board = yield from self.slots_flow(says)
            except SaimaError as exc:
                if exc.status != _GONE or cursor is None:
                    raise
                before = cursor = None  # the frame is no longer kept: on with the rest of the current one
                continue
            page["slots"] = [slot for slot in page["slots"] if slot["product"] not in shown]
            shown.update(slot["product"] for slot in page["slots"])
            before, cursor = page, page.get("next")
            if page["slots"] or cursor is None:
                return page
        return None

    def send_flow(self, events: Sequence[Event], key: str | None) -> Flow:
        """A receipt for events, sent under keys that are the given one with the number of each batch."""
        asks = []
        for name, batch in _batches(events, key, BATCH_MAX):
            headers = {**self._headers, **_JSON, "Idempotency-Key": name}
            asks.append(Ask("POST", f"{self._path}/events", headers, _encode({"events": batch})))
        return (yield from self._receipt(asks))

    def beacons_flow(self, events: Sequence[Event], name: str | None) -> Flow:
        """A receipt for what a page tells, sent in batches of these names."""
        asks = []
        for batch_name, batch in _batches(events, name, BEACONS_MAX):
            content = _encode({"batch": batch_name, "events": batch})
            asks.append(Ask("POST", f"{self._path}/beacons", {**self._headers, **_JSON}, content))
        return (yield from self._receipt(asks))

    def _receipt(self, asks: Sequence[Ask]) -> Flow:
        """What became of all batches together. Each is sent only once those before it are answered."""
        accepted = duplicate = sent = 0
        refused: list[Refused] = []
        for ask in asks:
            told = (yield from answered(ask, self._tries)).json()
            accepted, duplicate = accepted + told["accepted"], duplicate + told["duplicate"]
            refused += [
                Refused(index=at["index"] + sent, code=at["code"], reason=at["reason"]) for at in told["refused"]
            ]
            sent += told["accepted"] + told["duplicate"] + len(told["refused"])
        return Receipt(accepted, duplicate, refused)


_JSON = {"Content-Type": "application/json"}


def _batches(events: Sequence[Event], name: str | None, most: int) -> Iterator[tuple[str, list[Event]]]:
    """Events in batches of at most so many, with a name for each: the same for the same."""
    name = name or uuid.uuid4().hex
    for start in range(0, len(events), most):
        yield name if len(events) <= most else f"{name}.{start // most}", list(events[start : start + most])


def _encode(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
