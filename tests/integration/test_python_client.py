"""The Python client against a running service: what it reads, follows and sends, with keys in force."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from api.client import AsyncVenue, Board, SaimaError, Venue, name_of
from tests.integration.keyed import OPEN, ORIGIN, OWN, Keyed
from tests.integration.running import Running
from tests.waiting import until

PRODUCTS = [f"p-{number}" for number in range(1, 31)]


def order(product: str) -> dict[str, Any]:
    return {"type": "order", "product": product}


def products(board: Board) -> list[str]:
    return [slot["product"] for slot in board["slots"]]


@pytest.fixture
def name(service: Running) -> str:
    """A venue with thirty products on its slots."""
    made = service.made_venue(*PRODUCTS)
    sent = service.send(made, *map(order, PRODUCTS))
    service.folded(made, sent.json()["position"])
    until(lambda: len(service.slots(made).json()["slots"]) == len(PRODUCTS), within_s=5, what="all have slots")
    return made


@pytest.fixture
def venue(service: Running, name: str) -> Iterator[Venue]:
    with Venue(service.url, name) as made:
        yield made


@contextmanager
def shaken(url: str, name: str) -> Iterator[None]:
    """Orders for one product after the other, so that the order changes all the time."""
    halt = threading.Event()

    def shake() -> None:
        with Venue(url, name) as venue:
            for product in itertools.cycle(PRODUCTS):
                if halt.wait(0.01):
                    return
                venue.send([order(product)] * 100)

    shaking = threading.Thread(target=shake, name="shaking")
    shaking.start()
    try:
        yield
    finally:
        halt.set()
        shaking.join()


def test_pages_hold_each_product_of_a_frame_once_while_ranks_change(service: Running, name: str, venue: Venue) -> None:
    with shaken(service.url, name):
        for _ in range(10):
            pages = list(venue.pages(limit=7))
            assert [slot["slot"] for page in pages for slot in page["slots"]] == list(range(1, 31))
            assert sorted(itertools.chain.from_iterable(map(products, pages))) == sorted(PRODUCTS)
            assert len({name_of(page) for page in pages}) == 1


def test_a_board_that_is_followed_is_what_a_read_shows(service: Running, name: str, venue: Venue) -> None:
    """After any number of changes."""
    following = venue.follow(limit=50)
    with shaken(service.url, name):
        boards = list(itertools.islice(following, 20))
    assert len({name_of(board) for board in boards}) == 20
    last = boards[-1]
    read = venue.slots(limit=50, frame=name_of(last))
    assert products(read) == products(last)
    following.close()


async def test_with_asyncio_a_board_is_followed_too(service: Running, name: str) -> None:
    async with AsyncVenue(service.url, name) as venue:
        following = venue.follow(limit=10)
        first = await anext(following)
        last = products(first)[-1]
        assert (await venue.send([order(last)] * 50)).accepted == 50
        async for board in following:
            if products(board)[0] == last:
                break
        pages = [page async for page in venue.pages(limit=10)]
        assert products(pages[0])[0] == last
        await following.aclose()


def test_what_is_sent_under_one_key_counts_once(service: Running, name: str, venue: Venue) -> None:
    first, again = (venue.send([order("p-1")] * 3, key="mine") for _ in range(2))
    assert first == again
    assert service.scores(name)["p-1"] <= 4


def test_a_venue_that_is_not_there_is_an_error(service: Running) -> None:
    with Venue(service.url, "nowhere") as venue:
        with pytest.raises(SaimaError, match="no venue") as raised:
            venue.slots()
        assert (raised.value.status, raised.value.code) == (404, "not_found")
        with pytest.raises(SaimaError, match="no venue"):
            next(venue.follow())


def test_a_page_is_told_of_with_tokens(keyed_service: Keyed) -> None:
    """As the server of a mini program does: it reads slots with tokens, and sends what was seen."""
    url, key = keyed_service.service.url, keyed_service.keys["beacon"]
    with Venue(url, OPEN) as reader:
        slot = next(slot for slot in reader.slots(tokens=True)["slots"] if slot["product"] == OWN)
    click = {"type": "click", "product": OWN, "token": slot["token"]}
    with Venue(url, OPEN, key=key, origin=ORIGIN) as page:
        receipt = page.beacons([click, {**click, "token": "x"}])
    assert (receipt.accepted, [each["code"] for each in receipt.refused]) == (1, ["token_forged"])
    with Venue(url, OPEN, key=key) as elsewhere, pytest.raises(SaimaError, match="origins"):
        elsewhere.beacons([click])
