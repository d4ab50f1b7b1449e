"""A shop's own page, on another origin than Saima, with keys in force: it reads, follows and tells."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome

from racing.events import EventBatch
from racing.store.keys import VenueKeys
from tests.integration.browsing import chromium, needs_browser, wait_until
from tests.integration.keyed import OPEN, Keyed

pytestmark = needs_browser

PAGE = """<!doctype html><title>loading</title><meta name="referrer" content="%(policy)s">
<script type="module">
import { Saima } from "%(url)s/pages/saima-client.js";
const saima = new Saima("%(venue)s", { key: "%(key)s", onError: (error) => { document.title = error.code; } });
const { slots } = await saima.slots();
saima.tell("impression", slots[0]);
document.title = "told";
</script>"""


@contextmanager
def site() -> Iterator[ThreadingHTTPServer]:
    """A web server of one page, which is set as its attribute."""

    class Shop(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body: bytes = getattr(self.server, "page", b"")
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing: the test's own output is enough."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    serving = threading.Thread(target=server.serve_forever, name="site")
    serving.start()
    try:
        yield server
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    with chromium(tmp_path / "profile") as driver:
        yield driver


def impressions(keyed_service: Keyed) -> list[int]:
    """The slots of all impressions in the log."""
    redis: Any = keyed_service.service.redis
    found: list[int] = []
    for _, fields in redis.xrange(VenueKeys(OPEN).log):
        if b"events" in fields:
            batch = EventBatch.unpack(fields[b"events"])
            kinds = [batch.kinds[code] for code in batch.kind]
            slots = [0] * len(batch) if batch.slot is None else batch.slot.tolist()
            found += [slot for kind, slot in zip(kinds, slots, strict=True) if kind == "impression"]
    return found


@pytest.mark.parametrize("leaves", [True, False])
def test_a_page_of_a_shop_tells_what_it_showed(browser: Chrome, keyed_service: Keyed, leaves: bool) -> None:
    """By sendBeacon as it is left, or by its next batch: with the page's key, and bound to the page's origin."""
    with site() as shop:
        origin = f"http://127.0.0.1:{shop.server_address[1]}"
        key = keyed_service.make(f"page {origin}", "beacon", venues=(OPEN,), origins=(origin,))
        told = {"url": keyed_service.service.url, "venue": OPEN, "key": key, "policy": "strict-origin"}
        shop.page = (PAGE % told).encode()  # type: ignore[attr-defined]  # read by its handler
        before = impressions(keyed_service)
        wait_until(
            browser,
            lambda b: (
                keyed_service.service.http.options(
                    f"/v1/venues/{OPEN}/slots", headers={"Origin": origin, "Access-Control-Request-Method": "GET"}
                ).status_code
                == 200
            ),
            "the origin was known",
        )
        browser.get(origin)
        wait_until(browser, lambda b: b.title != "loading", "the page had run")
        assert browser.title == "told"
        if leaves:
            browser.get("about:blank")
        wait_until(browser, lambda b: len(impressions(keyed_service)) > len(before), "an impression was told")
        assert impressions(keyed_service)[len(before) :] == [1]
