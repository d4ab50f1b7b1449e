"""A headless Chromium, and what tests of pages ask it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

T = TypeVar("T")

CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")

needs_browser = pytest.mark.skipif(
    CHROMIUM is None or CHROMEDRIVER is None,
    reason="needs chromium and chromedriver on the PATH (apt-get install chromium chromium-driver)",
)


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """A headless Chromium with an empty profile, 1280 x 800, that speaks English."""
    assert CHROMIUM is not None
    assert CHROMEDRIVER is not None
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--lang=en-US",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with Chrome(options, Service(CHROMEDRIVER)) as driver:
        resize(driver, 1280, 800)
        yield driver


def resize(browser: Chrome, width: int, height: int) -> None:
    """Sets the size of the page itself: a window of Chromium cannot be as narrow as a phone."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def wait_until(browser: Chrome, check: Callable[[Chrome], T], what: str, seconds: float = 20) -> T:
    """What the check comes to, as soon as that is true of anything."""
    return WebDriverWait(browser, seconds, poll_frequency=0.1).until(check, f"{what} within {seconds} s")


def resources(browser: Chrome) -> list[str]:
    """The addresses of everything that the page has loaded."""
    found: list[str] = browser.execute_script(
        "const loads = ['navigation', 'resource'].flatMap((type) => performance.getEntriesByType(type));"
        "return loads.map((entry) => entry.name)"
    )
    return found


def is_as_wide_as_the_window(browser: Chrome) -> bool:
    """Whether nothing is to be scrolled sideways for."""
    return bool(browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth"))


def severe(browser: Chrome) -> list[dict[str, Any]]:
    """Errors on the console since it was asked last."""
    console: list[dict[str, Any]] = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry for entry in console if entry["level"] == "SEVERE"]
