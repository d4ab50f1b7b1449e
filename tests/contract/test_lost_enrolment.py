"""An API process whose numbers a failover made wrong: its events count for their own products, or are refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from api.frames import Frames
from api.sending import Sent, send, send_at_once
from api.service import Service
from racing.entries import Runner
from racing.rule import parse_rule
from racing.settings import Settings
from racing.store.desk import Desk
from tests.contract.servers import Store
from tests.contract.test_numbers import VENUE, Failover, runners
from tests.contract.track import CLICKS, Track

JSON = "application/json"


@pytest.fixture
async def service(real_store: Store) -> AsyncIterator[Service]:
    """What an API process has, over a venue with product a."""
    client, reader = real_store.async_client(), real_store.async_client()
    desk = Desk(client)
    await desk.venues.create(VENUE, "Hall 1", parse_rule(CLICKS), author="test")
    await desk.runners.enrol(VENUE, runners("a"))
    yield Service(Settings(), desk, Frames(desk, client, reader))
    await client.aclose()
    await reader.aclose()


def clicks_on(*products: str, key: str | None = None) -> Sent:
    events = [{"type": "click", "product": product} for product in products]
    return Sent(msgspec.json.encode({"events": events}), JSON, key)


async def sent(service: Service, *products: str, key: str | None = None, fast: bool = False) -> dict[str, object]:
    """The answer to clicks on some products."""
    view = await service.frames.view(VENUE)
    assert view is not None
    if not fast:
        return msgspec.json.decode(await send(service, view, clicks_on(*products, key=key)), type=dict[str, object])
    heard: asyncio.Future[bytes | Exception] = asyncio.get_running_loop().create_future()
    assert send_at_once(service, view, clicks_on(*products, key=key), heard.set_result)
    answer = await heard
    assert isinstance(answer, bytes), answer
    return msgspec.json.decode(answer, type=dict[str, object])


def counted(store: Store) -> dict[str, int]:
    """Clicks by product, as the log says."""
    track = Track(store.client(), VENUE)
    owner = track.owner()
    track.now_ms = owner.race.moment_ms + 1000
    track.settle(owner)
    race = owner.race
    assert race.counts.accepted == race.counts.settled()
    kind = 2 * race.kinds["click"]
    found = {product: int(race.windows.total[number, kind]) for number, product in enumerate(race.products)}
    track.client.close()
    return found


async def failed_over(service: Service, store: Store) -> None:
    """b is enrolled, clicked on and lost, and c is enrolled by another process."""
    failover = Failover(store)
    await service.desk.runners.enrol(VENUE, runners("b"))
    assert (await sent(service, "a", "b"))["accepted"] == 2
    failover.back()
    await service.desk.runners.enrol(VENUE, runners("c"))


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("key", [None, "k-1"])
async def test_product_whose_enrolment_was_lost_is_unknown_and_nothing_counts_for_the_one_with_its_number(
    real_store: Store, service: Service, key: str | None, *, fast: bool
) -> None:
    await failed_over(service, real_store)
    answer = await sent(service, "b", "a", "b", key=key, fast=fast)

    refused = answer["refused"]
    assert isinstance(refused, list)
    assert (answer["accepted"], [each["code"] for each in refused]) == (1, ["unknown_product"] * 2)
    assert counted(real_store) == {"a": 1, "c": 0}


async def test_product_that_is_enrolled_anew_counts_under_its_new_number(real_store: Store, service: Service) -> None:
    await failed_over(service, real_store)
    await service.desk.runners.enrol(VENUE, [Runner("b", "merchant", "title")])
    answers = await asyncio.gather(*(sent(service, "b", "c", fast=fast) for fast in (False, False)))

    assert [(answer["accepted"], answer["refused"]) for answer in answers] == [(2, [])] * 2
    assert counted(real_store) == {"a": 0, "b": 2, "c": 2}


async def test_batches_that_wait_together_are_all_sent_again_once(real_store: Store, service: Service) -> None:
    await failed_over(service, real_store)
    answers = await asyncio.gather(
        *(sent(service, "a", "b", fast=True) for _ in range(20)),
        *(sent(service, "c", "a", key=f"k-{index}") for index in range(20)),
    )

    assert [answer["accepted"] for answer in answers] == [1] * 20 + [2] * 20
    assert counted(real_store) == {"a": 40, "c": 20}
