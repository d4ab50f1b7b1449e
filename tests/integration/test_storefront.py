"""The storefront in a real browser, over a deployment whose ranks change all the time."""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from racing.events import EventBatch
from racing.store.keys import VenueKeys
from tests.integration.browsing import (
    chromium,
    is_as_wide_as_the_window,
    needs_browser,
    resize,
    resources,
    severe,
    wait_until,
)
from tests.integration.running import PLAIN_RULE, Running, running

pytestmark = needs_browser

PRODUCTS = 130
SLOTS = 120
"""Three pages, the last of which is not full; ten products are on no slot."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A deployment that publishes frames as often as one does by default."""
    with running(tmp_path_factory.mktemp("shop"), frame_ms=100) as made:
        yield made


@pytest.fixture
def venue(shop: Running) -> str:
    """A new venue whose every slot has a product, and which takes impressions and clicks of pages."""
    name = shop.made_venue(rule={**PLAIN_RULE, "board": {"slots": SLOTS}})
    runners = [
        {
            "product": f"p-{n}",
            "merchant": f"m-{n % 7}",
            "title": f"Product {n}",
            "price": 100 * n,
            "list_price": 150 * n,
        }
        for n in range(1, PRODUCTS + 1)
    ]
    assert shop.post(f"/v1/venues/{name}/runners/bulk", {"runners": runners}).status_code == 201
    access = {"beacon_kinds": ["impression", "click"]}
    assert shop.http.put(f"/v1/venues/{name}/access", json=access).status_code == 200
    sent = shop.send(name, *({"type": "order", "product": f"p-{n}"} for n in range(1, PRODUCTS + 1)))
    shop.folded(name, sent.json()["position"])
    return name


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    with chromium(tmp_path / "profile") as driver:
        yield driver


@contextmanager
def storm(shop: Running, venue: str) -> Iterator[None]:
    """Sends orders for ever other products, so that every frame has another order."""
    halt, chance = threading.Event(), random.Random(1)

    def blow() -> None:
        with httpx2.Client(base_url=shop.url) as http:
            while not halt.wait(0.03):
                products = [f"p-{chance.randint(1, PRODUCTS)}" for _ in range(8)]
                events = [{"type": "order", "product": product} for product in products for _ in range(40)]
                assert http.post(f"/v1/venues/{venue}/events", json={"events": events}).status_code == 202

    blowing = threading.Thread(target=blow, name="storm")
    blowing.start()
    try:
        yield
    finally:
        halt.set()
        blowing.join()


def open_shop(browser: Chrome, shop: Running, venue: str, lang: str = "en") -> None:
    browser.get(f"{shop.url}/pages/storefront.html?venue={venue}&lang={lang}")
    wait_until(browser, products, "the first cards came")


def products(browser: Chrome) -> list[str]:
    """The products on the shelf, in their order."""
    found: list[str] = browser.execute_script(
        "const cards = [...document.querySelectorAll('#shelf > .card')];"
        "return cards.sort((a, b) => a.dataset.slot - b.dataset.slot).map((card) => card.dataset.product)"
    )
    return found


def state(browser: Chrome) -> str | None:
    return browser.find_element(By.ID, "state").get_attribute("data-state")


def is_at_the_end(browser: Chrome) -> bool:
    return browser.find_element(By.ID, "end").is_displayed()


def scroll_on(browser: Chrome) -> bool:
    """Scrolls by most of a window; whether the end of the shelf has come."""
    browser.execute_script("scrollBy(0, innerHeight * 0.8)")
    return is_at_the_end(browser)


def told(shop: Running, venue: str) -> Counter[tuple[str, str, int, int]]:
    """What pages have told: (kind, product, frame, slot) of every such event in the log."""
    redis: Any = shop.redis
    found: Counter[tuple[str, str, int, int]] = Counter()
    for _, fields in redis.xrange(VenueKeys(venue).log):
        if b"events" not in fields:
            continue
        batch = EventBatch.unpack(fields[b"events"])
        kinds = [batch.kinds[code] for code in batch.kind]
        for at, kind in enumerate(kinds):
            if kind in {"impression", "click"}:
                assert batch.frame is not None
                assert batch.slot is not None
                found[kind, f"p-{batch.runner[at] + 1}", int(batch.frame[at]), int(batch.slot[at])] += 1
    return found


# -- the order ------------------------------------------------------------------------------------------------


def test_scrolling_through_a_storm_shows_each_product_of_one_frame_once(
    browser: Chrome, shop: Running, venue: str
) -> None:
    """From the first slot to the last, in order, though the order is another one ten times a second."""
    with storm(shop, venue):
        open_shop(browser, shop, venue)
        first = products(browser)
        wait_until(browser, lambda b: products(b) != first, "the order changed")
        wait_until(browser, scroll_on, "the end of the shelf came")
        seen = products(browser)
        slots = browser.execute_script(
            "const cards = [...document.querySelectorAll('#shelf > .card')];"
            "return cards.map((card) => Number(card.dataset.slot)).sort((a, b) => a - b)"
        )
        frame = browser.find_element(By.ID, "shelf").get_attribute("data-frame")
    assert len(set(seen)) == len(seen) == SLOTS
    assert slots == list(range(1, SLOTS + 1))
    kept = shop.http.get(f"/v1/venues/{venue}/slots", params={"frame": frame, "limit": SLOTS}).json()
    assert [slot["product"] for slot in kept["slots"]] == seen


def test_what_is_scrolled_through_stays_and_the_top_is_live_again(browser: Chrome, shop: Running, venue: str) -> None:
    with storm(shop, venue):
        open_shop(browser, shop, venue)
        wait_until(browser, scroll_on, "the end of the shelf came")
        assert state(browser) == "pinned"
        stood = products(browser)
        wait_until(browser, lambda b: shop.slots(venue).json()["slots"][0]["product"] != stood[0], "the race went on")
        assert products(browser) == stood
        browser.find_element(By.ID, "newer").click()
        wait_until(browser, lambda b: state(b) in {"live", "polling"}, "the order was live")
        wait_until(browser, lambda b: products(b)[:50] != stood[:50], "the order moved")
        assert len(products(browser)) == 50


def test_a_card_keeps_its_node_and_glides_when_it_moves(browser: Chrome, shop: Running, venue: str) -> None:
    open_shop(browser, shop, venue)
    browser.execute_script("document.querySelectorAll('.card').forEach((card) => { card.was = card.dataset.product; })")
    last = products(browser)[20]
    shop.send(venue, *({"type": "order", "product": last} for _ in range(500)))
    wait_until(browser, lambda b: products(b)[0] == last, "it was first")
    assert browser.execute_script("return document.querySelector('[data-slot=\"1\"]').was") == last
    assert browser.execute_script(
        "return [...document.querySelectorAll('.card')].every((c) => c.was === c.dataset.product)"
    )


def test_a_page_without_a_line_says_so_and_goes_on_when_it_is_back(browser: Chrome, shop: Running, venue: str) -> None:
    """What was seen meanwhile is told afterwards, once."""
    away = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    with storm(shop, venue):
        open_shop(browser, shop, venue)
        wait_until(browser, lambda b: state(b) == "live", "the order was live")
        browser.execute_cdp_cmd("Network.enable", {})
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", away)
        wait_until(browser, lambda b: state(b) == "offline", "the page was offline", 30)
        stood = products(browser)
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", {**away, "offline": False})
        wait_until(browser, lambda b: state(b) in {"live", "polling"}, "the line was back", 30)
        wait_until(browser, lambda b: products(b) != stood, "the order moved")
        assert len(products(browser)) == 50
    wait_until(browser, lambda b: told(shop, venue), "impressions were told")
    assert set(told(shop, venue).values()) == {1}


# -- what is told ---------------------------------------------------------------------------------------------


def test_what_was_in_sight_for_a_second_is_told_with_its_slot_and_frame(
    browser: Chrome, shop: Running, venue: str
) -> None:
    """Each product once, and what is below the fold not at all."""
    open_shop(browser, shop, venue)
    board = shop.slots(venue).json()
    in_sight: list[str] = browser.execute_script(
        "const half = ({ top, height }) => top + height / 2 <= innerHeight;"
        "const cards = [...document.querySelectorAll('.card')];"
        "return cards.filter((card) => half(card.getBoundingClientRect())).map((card) => card.dataset.product)"
    )
    assert 5 < len(in_sight) < 50
    wait_until(browser, lambda b: len(told(shop, venue)) >= len(in_sight), "impressions were told")
    slots = {slot["product"]: slot["slot"] for slot in board["slots"]}
    expected = {("impression", product, board["frame"], slots[product]): 1 for product in in_sight}
    assert told(shop, venue) == expected


def test_a_click_is_told_though_the_page_is_left_for_it(browser: Chrome, shop: Running, venue: str) -> None:
    open_shop(browser, shop, venue)
    browser.execute_script(
        "const link = document.querySelectorAll('.card-link')[3];link.href = '/healthz';link.click();"
    )
    wait_until(browser, lambda b: b.current_url.endswith("/healthz"), "the page was left")
    wait_until(browser, lambda b: any(kind == "click" for kind, *_ in told(shop, venue)), "the click was told")
    (click,) = [(slot, times) for (kind, _, _, slot), times in told(shop, venue).items() if kind == "click"]
    assert click == (4, 1)


def test_what_waits_is_told_when_the_page_is_left(browser: Chrome, shop: Running, venue: str) -> None:
    """By navigator.sendBeacon, before its batch was due."""
    open_shop(browser, shop, venue)
    browser.set_script_timeout(10)
    browser.execute_async_script(
        "const done = arguments[0];"
        "const wait = () => saw() ? done() : setTimeout(wait, 20);"
        "let begun; const saw = () => (begun ??= performance.now()) + 1300 < performance.now();"
        "wait();"
    )
    browser.get("about:blank")
    wait_until(browser, lambda b: told(shop, venue), "impressions were told")
    assert set(told(shop, venue).values()) == {1}


# -- the page itself ------------------------------------------------------------------------------------------


def test_the_page_loads_from_its_own_host_without_errors(browser: Chrome, shop: Running, venue: str) -> None:
    """Every request goes to the service itself, within the policy for pages, and the console shows no error."""
    open_shop(browser, shop, venue)
    wait_until(browser, lambda b: state(b) == "live", "the order was live")
    assert {urlsplit(url).netloc for url in resources(browser)} == {urlsplit(shop.url).netloc}
    assert severe(browser) == []
    assert shop.http.get("/pages/storefront.html").headers["content-security-policy"].startswith("default-src 'self'")


def test_a_phone_320_pixels_wide_needs_no_sideways_scrolling(browser: Chrome, shop: Running, venue: str) -> None:
    resize(browser, 320, 640)
    for language in ("en", "zh"):
        open_shop(browser, shop, venue, language)
        assert is_as_wide_as_the_window(browser)


def test_cards_stand_still_for_those_who_ask_for_less_motion(browser: Chrome, shop: Running, venue: str) -> None:
    reduced = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", reduced)
    with storm(shop, venue):
        open_shop(browser, shop, venue)
        first = products(browser)
        wait_until(browser, lambda b: products(b) != first, "the order changed")
        assert browser.execute_script("return document.getAnimations().length") == 0


def test_every_word_of_the_page_is_there_in_both_languages(browser: Chrome, shop: Running, venue: str) -> None:
    open_shop(browser, shop, venue, "zh")
    assert browser.find_element(By.TAG_NAME, "html").get_attribute("lang") == "zh-CN"
    words: dict[str, dict[str, str]] = browser.execute_async_script(
        "const done = arguments[0];"
        "import(new URL('storefront-words.js', location.href)).then((words) => done(words.dictionaries));"
    )
    english, chinese = words["en"], words["zh"]
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert text
        assert chinese[key]
        assert set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", chinese[key])), key


def test_what_merchants_write_is_shown_as_text_and_leads_nowhere_else(
    browser: Chrome, shop: Running, venue: str
) -> None:
    title = "<img src=x onerror=alert(1)>"
    runner = {"product": "p-1", "merchant": "m", "title": title, "url": "javascript:alert(1)", "image": "data:,x"}
    assert shop.post(f"/v1/venues/{venue}/runners", runner).status_code == 201
    open_shop(browser, shop, venue)
    card = "[data-product='p-1']"
    wait_until(browser, lambda b: b.find_element(By.CSS_SELECTOR, f"{card} .title").text == title, "it was shown")
    assert browser.find_elements(By.CSS_SELECTOR, f"{card} img, {card} a[href]") == []


def test_a_venue_that_is_not_there_is_said_to_be_so(browser: Chrome, shop: Running) -> None:
    browser.get(f"{shop.url}/pages/storefront.html?venue=nowhere")
    wait_until(browser, lambda b: "nowhere" in b.find_element(By.ID, "notice").text, "it was said")
