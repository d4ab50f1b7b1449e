"""The race page in a real browser, against a running `saima demo`."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests import asking
from tests.integration.browsing import (
    chromium,
    is_as_wide_as_the_window,
    needs_browser,
    resize,
    resources,
    severe,
    wait_until,
)

START_SECONDS = 60.0

pytestmark = needs_browser


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer_of(url: str) -> Any:
    """The JSON of an answer 200; None for any other answer, or none at all."""
    try:
        answer = asking.get(url, timeout=2)
        return answer.json() if answer.status_code == 200 else None
    except (httpx2.HTTPError, ValueError):
        return None


def races(base: str) -> bool:
    """Whether the service is ready and its first venue has runners in its slots."""
    if answer_of(f"{base}/readyz") is None:
        return False
    listed = answer_of(f"{base}/v1/venues")
    if not listed or not listed["venues"]:
        return False
    board = answer_of(f"{base}/v1/venues/{listed['venues'][0]['venue']}/slots?limit=50")
    return bool(board and board["slots"])


@pytest.fixture(scope="module")
def demo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a running `saima demo`."""
    folder = tmp_path_factory.mktemp("demo")
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "racing.cli", "demo", "--port", str(port), "--data-dir", str(folder)]
    said = folder / "demo.log"
    with said.open("wb") as log:
        demo = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        give_up = time.monotonic() + START_SECONDS
        while not races(base):
            if demo.poll() is not None or time.monotonic() > give_up:
                pytest.fail(f"the demo did not start racing within {START_SECONDS:.0f} s:\n{said.read_text()[-4000:]}")
            time.sleep(0.2)
        yield base
    finally:
        demo.send_signal(signal.SIGTERM)
        try:
            demo.wait(20)
        except subprocess.TimeoutExpired:
            demo.kill()
            demo.wait()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    with chromium(tmp_path / "profile") as driver:
        yield driver


def order(browser: Chrome) -> list[str]:
    """The products on the page, from the first lane to the last."""
    found: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('#lanes > .lane')].map((lane) => lane.dataset.product)"
    )
    return found


def open_race(browser: Chrome, url: str) -> None:
    browser.get(url)
    wait_until(browser, order, "the first lanes came")


def details(browser: Chrome) -> WebElement:
    return browser.find_element(By.ID, "details")


def click_a_lane(browser: Chrome) -> None:
    """Clicks where the first lane is; lanes move, so another one may be there by then."""
    ActionChains(browser).move_to_element(browser.find_element(By.CLASS_NAME, "lane")).click().perform()
    wait_until(browser, lambda b: details(b).is_displayed(), "the details opened", 5)


def press(browser: Chrome, key: str) -> WebElement:
    """The element that has the focus after the key."""
    ActionChains(browser).send_keys(key).perform()
    return browser.switch_to.active_element


def state(browser: Chrome) -> str | None:
    return browser.find_element(By.ID, "state").get_attribute("data-state")


def test_the_lanes_change_places_while_the_race_runs(browser: Chrome, demo_url: str) -> None:
    """The demo's products surge every few seconds: within 20 s some lane has another place."""
    open_race(browser, demo_url)
    first = order(browser)
    wait_until(browser, lambda b: order(b) != first, "the order changed")
    later = order(browser)
    assert len(later) == len(set(later)), "a product has one lane"


def test_a_lane_keeps_its_node_when_it_changes_places(browser: Chrome, demo_url: str) -> None:
    """Lanes are keyed by product: a node that was marked carries the same product after the order changed."""
    open_race(browser, demo_url)
    browser.execute_script("document.querySelectorAll('.lane').forEach((l) => { l.was = l.dataset.product; })")
    first = order(browser)
    wait_until(browser, lambda b: order(b)[:20] != first[:20], "the order changed")
    strangers: list[str] = browser.execute_script(
        "const lanes = [...document.querySelectorAll('.lane')].slice(0, 20);"
        "return lanes.filter((l) => l.was !== l.dataset.product).map((l) => l.dataset.product)"
    )
    assert set(strangers).isdisjoint(first[:20])


def test_the_slots_are_numbered_from_one_in_order(browser: Chrome, demo_url: str) -> None:
    """The first lane is slot 1 and no number is left out (the demo's rule fills every slot)."""
    open_race(browser, demo_url)
    slots: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('.lane .slot')].map((s) => s.textContent)"
    )
    assert slots == [str(number) for number in range(1, len(slots) + 1)]


def test_the_header_says_live_and_how_old_the_data_is(browser: Chrome, demo_url: str) -> None:
    """While the scorer commits and answers arrive, the state is live and the age ticks."""
    open_race(browser, demo_url)
    wait_until(browser, lambda b: state(b) == "live", "the state was live")
    age = browser.find_element(By.ID, "age").text
    assert re.fullmatch(r"\d+\.\d s old", age), age
    wait_until(browser, lambda b: b.find_element(By.ID, "age").text != age, "the age ticked", 5)
    assert browser.find_element(By.ID, "frame").text != "–"
    assert browser.find_element(By.ID, "rule").text.startswith("v")


def test_a_click_on_a_lane_tells_why_it_is_here(browser: Chrome, demo_url: str) -> None:
    """The panel names the lane's product and shows every term with value, weight and contribution."""
    open_race(browser, demo_url)
    click_a_lane(browser)
    assert details(browser).get_attribute("data-product") in order(browser)
    terms = details(browser).find_elements(By.CSS_SELECTOR, "tr[data-term]")
    assert terms
    for term in terms:
        assert len(term.find_elements(By.TAG_NAME, "td")) == 3
    details(browser).find_element(By.CLASS_NAME, "details-close").click()
    assert not details(browser).is_displayed()


def test_the_race_can_be_read_by_keyboard_alone(browser: Chrome, demo_url: str) -> None:
    """Arrows walk the lanes, Enter opens the panel with the focus in it, Escape leads back to the lane."""
    open_race(browser, demo_url)
    browser.execute_script("document.querySelector('.lane-open[tabindex=\"0\"]').focus()")
    assert press(browser, Keys.ARROW_DOWN).get_attribute("class") == "lane-open"
    assert press(browser, Keys.ENTER) == details(browser)
    assert press(browser, Keys.ESCAPE).get_attribute("class") == "lane-open"
    assert not details(browser).is_displayed()


def test_a_phone_320_pixels_wide_needs_no_sideways_scrolling(browser: Chrome, demo_url: str) -> None:
    """Neither the lanes nor the open panel are wider than the smallest phone, in either language."""
    resize(browser, 320, 640)
    for language in ("en", "zh"):
        open_race(browser, f"{demo_url}/?lang={language}")
        assert is_as_wide_as_the_window(browser)
        click_a_lane(browser)
        assert is_as_wide_as_the_window(browser)


def test_the_page_loads_from_its_own_host_without_errors(browser: Chrome, demo_url: str) -> None:
    """Every request goes to the service itself, and the console shows no error."""
    open_race(browser, demo_url)
    click_a_lane(browser)
    polls = f"{demo_url}/v1/venues/"
    wait_until(browser, lambda b: sum(url.startswith(polls) for url in resources(b)) > 3, "some polls went out")
    assert {urlsplit(url).netloc for url in resources(browser)} == {urlsplit(demo_url).netloc}
    assert severe(browser) == []


def test_lanes_stand_still_for_those_who_ask_for_less_motion(browser: Chrome, demo_url: str) -> None:
    """With prefers-reduced-motion the order changes and nothing is animated on the way."""
    reduced = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", reduced)
    open_race(browser, demo_url)
    first = order(browser)
    wait_until(browser, lambda b: order(b) != first, "the order changed")
    assert browser.execute_script("return document.getAnimations().length") == 0


def test_every_word_of_the_page_is_there_in_both_languages(browser: Chrome, demo_url: str) -> None:
    """The dictionaries have the same keys, the same placeholders, and no empty text; ?lang chooses one."""
    open_race(browser, f"{demo_url}/?lang=zh")
    assert browser.find_element(By.TAG_NAME, "html").get_attribute("lang") == "zh-CN"
    assert browser.find_element(By.ID, "state").text in {"连接中", "实时"}
    words: dict[str, dict[str, str]] = browser.execute_async_script(
        "const done = arguments[0];"
        "import(new URL('pages/words.js', document.baseURI)).then((words) => done(words.dictionaries));"
    )
    english, chinese = words["en"], words["zh"]
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert text
        assert chinese[key]
        assert set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", chinese[key])), key


def test_what_merchants_write_is_shown_as_text(browser: Chrome, demo_url: str) -> None:
    """A title that looks like HTML makes no element: lanes and details only ever set text."""
    open_race(browser, demo_url)
    title = "<img src=x onerror=alert(1)>"
    entry = {"slot": 1, "product": "p", "merchant": title, "title": title, "category": title, "price": 1}
    entry |= {"url": "javascript:alert(1)", "score": 1.0}
    entry |= {"terms": [{"name": title, "weight": 1.0, "value": 1.0, "contribution": 1.0}]}
    browser.execute_async_script(
        "const [slots, done] = arguments;"
        "const from = (name) => import(new URL(`pages/${name}`, document.baseURI));"
        "Promise.all([from('lanes.js'), from('details.js')]).then(([{ Lanes }, { Details }]) => {"
        "  const [list, panel] = ['ol', 'aside'].map((tag) => document.createElement(tag));"
        "  list.id = 'trial-lanes';"
        "  panel.id = 'trial-details';"
        "  document.body.append(list, panel);"
        "  new Lanes(list, () => {}).show(slots);"
        "  new Details(panel, () => {}).open('p', slots, false);"
        "  done();"
        "});",
        [entry],
    )
    assert browser.find_elements(By.CSS_SELECTOR, "img, #trial-details a") == []
    for place in ("#trial-lanes .title", "#trial-lanes .merchant", "#trial-details h2"):
        assert browser.find_element(By.CSS_SELECTOR, place).get_property("textContent") == title


def test_a_venue_that_keeps_its_scores_is_shown_as_an_order(browser: Chrome, demo_url: str) -> None:
    """Lanes and details without score and terms: places and data, and not one number that stands for nothing."""
    open_race(browser, demo_url)
    slots = [{"slot": n, "product": f"p-{n}", "merchant": "m", "title": f"No {n}", "price": 100} for n in (1, 2)]
    told: dict[str, str] = browser.execute_async_script(
        "const [slots, done] = arguments;"
        "const from = (name) => import(new URL(`pages/${name}`, document.baseURI));"
        "Promise.all([from('lanes.js'), from('details.js')]).then(([{ Lanes }, { Details }]) => {"
        "  const [list, panel] = ['ol', 'aside'].map((tag) => document.createElement(tag));"
        "  document.body.append(list, panel);"
        "  new Lanes(list, () => {}).show(slots);"
        "  new Details(panel, () => {}).open('p-1', slots, false);"
        "  const labels = [...list.querySelectorAll('button')].map((button) => button.ariaLabel).join();"
        "  const short = (run) => run.style.getPropertyValue('--short');"
        "  const lengths = [...list.querySelectorAll('.run')].map(short).join();"
        "  for (const node of document.querySelectorAll('[hidden]')) node.remove();"
        "  const seen = (node) => node.textContent;"
        "  done({ lanes: seen(list), labels, lengths, panel: seen(panel) });"
        "});",
        slots,
    )
    assert "No 1" in told["lanes"]
    assert told["lengths"] == "0.000,-0.500"
    assert told["labels"].startswith("Slot 1: No 1, ")
    assert "keeps its scores" in told["panel"]
    for text in told.values():
        assert not re.search(r"NaN|undefined|null|score [\d–]", text), text
