"""The purge hook: told once of what was excluded, of nothing else, and nobody waits for it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from api import purge as module
from api.history import Shown
from api.purge import WAITING_MAX, Purger
from racing.errors import StoreUnavailableError
from racing.model import Frame, Slot


def shown(number: int, *products: str) -> Shown:
    slots = tuple(Slot(index + 1, index, product, 0.0) for index, product in enumerate(products))
    return Shown(Frame("hall-1", number, 7, "0-0", number, 1, 9, 1, slots), {})


class Hook(HTTPServer):
    """An address that takes what it is told; fails: so often it answers 500 first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fails = 0
        self.told: list[Any] = []
        self.url = f"http://127.0.0.1:{self.server_port}/purge?secret=x"


class _Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.told.append(body)
        self.server.fails -= 1
        self.send_response(500 if self.server.fails >= 0 else 204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Store:
    """What has gone, and a server that remembers who came first."""

    def __init__(self) -> None:
        self.gone: frozenset[str] = frozenset()
        self.marks: set[str] = set()
        self.asked = 0
        self.away = False

    async def since(self, before: Shown, now_ms: int, *, fresh: bool) -> frozenset[str]:
        self.asked += 1
        if self.away:
            raise StoreUnavailableError("away")
        return self.gone

    async def execute_command(self, *args: Any) -> Any:
        first = args[1] not in self.marks
        self.marks.add(args[1])
        return b"OK" if first else None


@pytest.fixture
def store() -> Store:
    return Store()


def purger_of(hook: Hook, store: Store) -> Purger:
    fake: Any = store
    return Purger(hook.url, fake, fake)


async def eventually(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not look():  # noqa: ASYNC110  # what is looked at sets no event
            await asyncio.sleep(0.005)


async def test_nobody_waits_for_a_hook_that_does_not_keep_up(hook: Hook, store: Store) -> None:
    """Of the boards that wait the oldest are let go."""
    purger = purger_of(hook, store)
    for number in range(3 * WAITING_MAX):
        purger.see(shown(number, "a", "b"), shown(number + 1, "b"), 0)
    assert purger._waiting.qsize() == WAITING_MAX
    await purger.stop()


async def test_what_only_fell_back_is_not_told(hook: Hook, store: Store) -> None:
    purger = purger_of(hook, store)
    purger.start()
    purger.see(shown(1, "a", "b"), shown(2, "b", "a"), 0)
    assert purger._waiting.empty(), "nobody has left"
    purger.see(shown(2, "a", "b"), shown(3, "a"), 0)
    await eventually(lambda: store.asked == 1)
    await purger.stop()
    assert (hook.told, store.marks) == ([], set())


async def test_what_was_excluded_is_told_once_whichever_process_sees_it(hook: Hook, store: Store) -> None:
    store.gone = frozenset({"a", "z"})
    purgers = [purger_of(hook, store), purger_of(hook, store)]
    for purger in purgers:
        purger.start()
        purger.see(shown(1, "a", "b", "c"), shown(2, "b"), 0)
    await eventually(lambda: store.asked == 2 and bool(hook.told))
    for purger in purgers:
        await eventually(purger._waiting.empty)
        await purger.stop()
    paths = ["/v1/venues/hall-1/slots", "/v1/slots"]
    assert hook.told == [{"venue": "hall-1", "frame": "7-2", "products": ["a"], "paths": paths}]


async def test_a_hook_that_fails_is_called_again_and_then_given_up(
    hook: Hook, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSES_S", (0.0, 0.0))
    store.gone, hook.fails = frozenset({"a"}), 1
    purger = purger_of(hook, store)
    purger.start()
    purger.see(shown(1, "a"), shown(2), 0)
    await eventually(lambda: len(hook.told) == 2)
    hook.fails = 99
    purger.see(shown(3, "a"), shown(4), 0)
    await eventually(lambda: len(hook.told) == 5)
    store.away = True
    purger.see(shown(5, "a"), shown(6), 0)
    await eventually(lambda: store.asked == 3)
    store.away, hook.fails = False, 0
    purger.see(shown(7, "a"), shown(8), 0)
    await eventually(lambda: len(hook.told) == 6)
    await purger.stop()
