"""The client for plain code."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, Self

import httpx2

from api.client.boards import Board
from api.client.flows import (
    POLL_S,
    STREAM_TIMEOUT,
    TIMEOUT,
    TRIES,
    TROUBLE,
    Asking,
    Event,
    Flow,
    Flows,
    Query,
    Receipt,
    Wait,
    answered,
    raise_for,
    raise_if_final,
)
from api.client.following import BoardFollower, Follower, StandingsFollower, T
from api.client.standings import Standings


class _Plain:
    """Makes requests, for plain code."""

    def __init__(self, http: httpx2.Client | None, sleep: Callable[[float], None]) -> None:
        self._own = http is None
        self._http = http or httpx2.Client(timeout=TIMEOUT)
        self._sleep = sleep

    def _run(self, flow: Flow) -> Any:
        response: httpx2.Response | None = None
        error: Exception | None = None
        while True:
            try:
                step = flow.send(response) if error is None else flow.throw(error)
            except StopIteration as done:
                return done.value
            response = error = None
            if isinstance(step, Wait):
                self._sleep(step.seconds)
                continue
            try:
                response = self._http.request(step.method, step.url, headers=step.headers, content=step.content)
            except httpx2.TransportError as exc:
                error = exc

    def _stream(self, follower: Follower[T]) -> Generator[T, None, None]:
        ask = follower.ask("live")
        with self._http.stream("GET", ask.url, headers=ask.headers, timeout=STREAM_TIMEOUT) as response:
            if not response.is_success:
                response.read()
                raise_for(response)
            for line in response.iter_lines():
                heard = follower.hear(line)
                if heard is not None:
                    yield heard

    def close(self) -> None:
        """Close the http client, unless it was given."""
        if self._own:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Venue(_Plain, Flows):
    """A venue, for plain code. One per thread, or an http client that may be shared.

    key: of a role that may do what is asked. origin: of the page for whose sake a beacon key is used. tries: so often a
    request is made before SaimaError is raised. http: a client with settings of its own. sleep: waits seconds.
    """

    def __init__(
        self,
        base_url: str,
        venue: str,
        *,
        key: str | None = None,
        origin: str | None = None,
        tries: int = TRIES,
        http: httpx2.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        _Plain.__init__(self, http, sleep)
        Flows.__init__(self, base_url, "venues", venue, key=key, origin=origin, tries=tries)

    def slots(self, *, limit: int = 50, cursor: str | None = None, **query: Query) -> Board:
        """The first slots of the current frame, or the page that a cursor names. Raises SaimaError."""
        found: Board = self._run(self.slots_flow({"limit": limit, "cursor": cursor, **query}))
        return found

    def pages(self, *, limit: int = 50, **query: Query) -> Generator[Board, None, None]:
        """The pages of one frame: each product once, whatever the race does meanwhile. Raises SaimaError."""
        shown: set[str] = set()
        page: Board | None = None
        while (page := self._run(self.next_page_flow(page, shown, {"limit": limit, **query}))) is not None:
            yield page

    def send(self, events: Sequence[Event], *, key: str | None = None) -> Receipt:
        """Send events (role events:write). Whatever is tried again counts once; give a key to say the same later.

        When it returns, all accepted ones are in the log. Raises SaimaError: then sending the same under the same key
        is safe.
        """
        receipt: Receipt = self._run(self.send_flow(events, key))
        return receipt

    def beacons(self, events: Sequence[Event], *, batch: str | None = None) -> Receipt:
        """Send what a page tells (role beacon), each event with the token of its slot. As send, by the batch's name."""
        receipt: Receipt = self._run(self.beacons_flow(events, batch))
        return receipt

    def follow(self, *, limit: int = 50, **query: Query) -> Generator[Board, None, None]:
        """The board now, and after each change, without end: by the stream, else by asking what has changed.

        Raises SaimaError where the service says that it is no use to try again.
        """
        follower = BoardFollower(self, {"limit": limit, **query})
        while True:
            try:
                if follower.streams():
                    yield from self._stream(follower)
                    self._sleep(follower.retry_s)
                else:
                    board = follower.take(self._run(answered(follower.ask("changes"), 1)).json())
                    follower.failed = 0
                    if board is not None:
                        yield board
                    self._sleep(POLL_S)
            except TROUBLE as exc:
                raise_if_final(exc)
                self._sleep(follower.delay_s())


class Merchant(_Plain, Asking):
    """A merchant's products in all venues that its key reaches, for plain code; the rest as Venue has it."""

    def __init__(
        self,
        base_url: str,
        merchant: str,
        *,
        key: str | None = None,
        tries: int = TRIES,
        http: httpx2.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        _Plain.__init__(self, http, sleep)
        Asking.__init__(self, base_url, "merchants", merchant, key=key, tries=tries)

    def runners(self, *, limit: int = 1000, **query: Query) -> list[dict[str, Any]]:
        """The rows of all products, page by page, each with terms and metrics. Raises SaimaError."""
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self._run(self.read_flow("runners", {"limit": limit, **query, "cursor": cursor or None}))
            found += page["runners"]
            cursor = page["next_cursor"]
        return found

    def follow(self, *, venue: str | None = None) -> Generator[Standings, None, None]:
        """All standings now, and after each change, with the alerts that came, without end.

        Raises SaimaError where the service says that it is no use to try again.
        """
        follower = StandingsFollower(self, {"venue": venue})
        while True:
            try:
                yield from self._stream(follower)
                self._sleep(follower.retry_s)
            except TROUBLE as exc:
                raise_if_final(exc)
                self._sleep(follower.delay_s())
