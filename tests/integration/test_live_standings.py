"""A merchant follows its own products: all standings first, then what changes, with the alerts that come."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from api.client import AsyncMerchant, Merchant
from racing.store import keyring
from tests.integration.contract import problem
from tests.integration.following import Event, Follower
from tests.integration.keyed import CLOSED, FOREIGN, OPEN, OTHER, OWN, Keyed, keyed, now_ms
from tests.integration.running import Running, another_api, running
from tests.integration.test_merchants import TOTALS, made, runner, standings
from tests.waiting import until

FIELDS = ("venue", "product", "runner", "title", "slot", "standing", "score", "movement")
"""What a row of the stream has of those of the list."""


def followed(service: Running, merchant: str, query: str = "", **headers: str) -> Follower:
    return Follower(service.url, f"/v1/merchants/{merchant}/live{query}", headers)


def listed(service: Running, merchant: str, **query: Any) -> list[dict[str, Any]]:
    """Rows of the list, with what the stream tells of them."""
    rows = standings(service, merchant, limit=1000, **query)["runners"]
    return [{name: row[name] for name in FIELDS} for row in rows]


def first(product: str) -> Any:
    """Whether standings begin with this product."""
    return lambda told: told["runners"] and told["runners"][0]["product"] == product


def kinds(event: dict[str, Any]) -> set[tuple[str, str | None]]:
    return {(alert["kind"], alert["product"]) for alert in event["alerts"]}


def orders(service: Running, venue: str, **times: int) -> None:
    """So many orders of each product, counted and in the sets."""
    events = [{"type": "order", "product": product} for product, count in times.items() for _ in range(count)]
    service.folded(venue, service.send(venue, *events).json()["position"])


def hall(service: Running, merchant: str) -> str:
    """Of the merchant: a and c; of m-2: b. One slot; a has it, c comes third."""
    rule = {**TOTALS, "board": {"slots": 1}}
    name = made(
        service, runner("a", merchant, stock=300), runner("b", "m-2"), runner("c", merchant, stock=5), rule=rule
    )
    orders(service, name, a=3, b=2, c=1)
    until(lambda: len(service.slots(name).json()["slots"]) == 1, within_s=5, what="a is shown")
    return name


# -- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["since=a%20b", "since=", "venue=a%20b", f"since={'x' * 8193}"])
def test_what_is_asked_wrong_is_told(service: Running, query: str) -> None:
    with followed(service, "m-1", f"?{query}") as refused:
        assert refused.status == 422
        assert refused.problem()["errors"][0]["field"] == f"query.{query.partition('=')[0]}"


def test_venue_that_is_not_there_is_absent(service: Running) -> None:
    problem(service.http.get("/v1/merchants/m-1/live?venue=hall-none"), 404, "not_found")


# -- what is told ------------------------------------------------------------------------------------------------


def test_it_begins_with_all_and_goes_on_with_what_changes(service: Running) -> None:
    """A follower has what one who reads the list has, and hears of the board in the same message."""
    venue = hall(service, "m-first")
    with followed(service, "m-first", f"?venue={venue}") as follower:
        begin = follower.next()
        assert (begin.kind, begin.id) == ("standings", begin.data["next"])
        assert begin.data["full"] == [venue]
        assert kinds(begin.data) == {("entered_board", "a"), ("entered_page", "a")}
        assert [(row["product"], row["slot"], row["standing"]) for row in begin.data["runners"]] == [
            ("a", 1, 1),
            ("c", None, 3),
        ]
        orders(service, venue, c=9)
        told: set[tuple[str, str | None]] = set()
        while not first("c")(follower.board) or ("entered_board", "c") not in told:
            event = follower.next()
            assert (event.kind, event.id) == ("changes", event.data["next"])
            told |= kinds(event.data)
        assert {("left_board", "a"), ("entered_board", "c"), ("low_stock", "c")} <= told
        until(lambda: listed(service, "m-first") == follower.until(bool)["runners"], within_s=5, what="both are alike")


def test_all_venues_are_followed_at_once_and_new_ones_come_in(service: Running) -> None:
    one = hall(service, "m-many")
    with followed(service, "m-many") as follower:
        follower.until(first("a"))
        two = hall(service, "m-many")
        follower.until(lambda told: {row["venue"] for row in told["runners"]} == {one, two})
        service.enrol(one, "d")
        service.post(f"/v1/venues/{one}/runners", runner("e", "m-many"))
        orders(service, two, c=4)
        follower.until(lambda told: len(told["runners"]) == 5 and told["runners"] == listed(service, "m-many"))


def test_what_nothing_on_the_board_tells_of_is_told(service: Running) -> None:
    """An exclusion of a product off it, and a standing behind it."""
    venue = hall(service, "m-off")
    with followed(service, "m-off") as follower:
        follower.until(first("a"))
        order = {"kind": "exclude", "product": "c", "reason": "recall"}
        assert service.http.put(f"/v1/venues/{venue}/orders/x-c", json=order).is_success
        event = follower.next()
        while ("excluded", "c") not in kinds(event.data):
            event = follower.next()
        orders(service, venue, b=2)
        follower.until(lambda told: [row["standing"] for row in told["runners"]] == [2, 3])


def test_clients_are_told_twice_a_second_at_most_and_of_the_last(service: Running) -> None:
    venue = hall(service, "m-often")
    with followed(service, "m-often") as follower:
        follower.until(first("a"))
        begun_s, before = time.monotonic(), follower.events
        for _ in range(50):
            service.send(venue, {"type": "order", "product": "a"})
        follower.until(lambda told: told["runners"][0]["score"] == 53.0)
        assert follower.events - before <= 2 * (time.monotonic() - begun_s) + 2


# -- taken up again ----------------------------------------------------------------------------------------------


def test_who_comes_again_is_told_what_has_changed_meanwhile(service: Running) -> None:
    """While another client of the merchant keeps what was told."""
    venue = hall(service, "m-again")
    with followed(service, "m-again") as stays, followed(service, "m-again") as goes:
        stays.until(first("a"))
        has = goes.until(first("a"))
        goes.close()
        orders(service, venue, c=9)
        stays.until(first("c"))
        for again in (
            followed(service, "m-again", **{"Last-Event-ID": has["next"]}),
            followed(service, "m-again", f"?since={has['next']}"),
        ):
            with again:
                event = again.next()
                assert (event.kind, event.data["since"]) == ("changes", has["next"])
                assert ("entered_board", "c") in kinds(event.data)


def test_another_process_tells_all_rows_and_the_alerts_since(service: Running) -> None:
    """One that lags behind: nothing is told twice, nor as it was before."""
    venue = hall(service, "m-two")
    with followed(service, "m-two") as here, another_api(service, follows=False) as other:
        before = here.until(first("a"))
        orders(service, venue, c=9)
        has = here.until(lambda told: first("c")(told) and told["runners"][0]["slot"] == 1)

        def there(name: str) -> Event:
            with Follower(str(other.base_url), "/v1/merchants/m-two/live", {"Last-Event-ID": name}) as follower:
                return follower.next()

        event = there(has["next"])
        assert (event.kind, event.data["full"], event.data["alerts"]) == ("standings", [], [])
        assert event.data["runners"] == has["runners"]
        event = there(before["next"])
        assert (event.kind, event.data["full"]) == ("standings", [])
        assert {("left_board", "a"), ("entered_board", "c")} <= kinds(event.data)


@pytest.mark.parametrize("has", ["nonsense", "~", "x:1-1.1~0.0", "é", "hall:9999999999999999-1.1~ab.1", ":~,"])
def test_name_that_is_not_known_is_answered_by_all(service: Running, has: str) -> None:
    """Whatever Last-Event-ID says: a browser sends it by itself."""
    venue = hall(service, "m-none")
    headers = {"Last-Event-ID": has.encode().decode("latin-1")}
    with followed(service, "m-none", f"?venue={venue}", **headers) as follower:
        event = follower.next()
        assert (event.kind, event.data["full"]) == ("standings", [venue])


# -- bounds, ends, keys ------------------------------------------------------------------------------------------


def test_bounds_and_the_end_of_the_service_are_those_of_every_stream(tmp_path: Path) -> None:
    with running(tmp_path, live_streams_max=2, live_streams_per_caller=1) as service:
        hall(service, "m-1")
        with followed(service, "m-1") as follower, followed(service, "m-1") as refused:
            assert (refused.status, refused.problem()["code"]) == (429, "too_many_requests")
            follower.until(first("a"))
            assert 'saima_live_streams{venue=""} 1.0' in service.http.get("/metrics").text
            service.ending()
            event: Event = follower.next()
            while event.kind != "bye":
                event = follower.next()
            assert event.data == {"reason": "shutdown"}


def test_key_is_told_of_its_own_venues_and_no_more_once_it_is_revoked(tmp_path: Path) -> None:
    with keyed(tmp_path) as service:
        path, headers = "/v1/merchants/m-own/live", service.headers("merchant")
        with Follower(service.service.url, path, headers) as follower:
            told = follower.until(lambda told: len(told["frames"]) == 2)
            assert {row["venue"] for row in told["runners"]} == {OPEN, CLOSED}
            assert {row["product"] for row in told["runners"]} == {OWN}
            keyring.revoke(service.service.redis, "merchant", who="test", now_ms=now_ms())
            event = follower.next()
            while event.kind != "bye":
                event = follower.next()
            assert event.data == {"reason": "closed"}
        with Follower(service.service.url, path, service.headers("other operator")) as follower:
            told = follower.until(lambda told: told["frames"])
            assert {row["venue"] for row in told["runners"]} == {OTHER}
            assert FOREIGN not in {row["product"] for row in told["runners"]}


def test_another_merchant_looks_as_one_that_is_not(keyed_service: Keyed) -> None:
    one, other = (
        keyed_service.ask("merchant", "GET", f"/v1/merchants/{name}/live") for name in ("m-foreign", "m-nothing")
    )
    assert one.status_code == other.status_code == 404
    assert one.text.replace("m-foreign", "m-nothing") == other.text


# -- from Python -------------------------------------------------------------------------------------------------


def test_plain_client_follows_and_reads(service: Running) -> None:
    venue = hall(service, "m-plain")
    with Merchant(service.url, "m-plain") as merchant:
        told = merchant.follow(venue=venue)
        assert [row["product"] for row in next(told)["runners"]] == ["a", "c"]
        orders(service, venue, c=9)
        while next(told)["runners"][0]["product"] != "c":
            pass
        assert [row["product"] for row in merchant.runners(limit=1)] == ["c", "a"]


async def test_awaited_client_follows_and_reads(service: Running) -> None:
    hall(service, "m-wait")
    async with AsyncMerchant(service.url, "m-wait") as merchant:
        async for told in merchant.follow():
            assert [row["product"] for row in told["runners"]] == ["a", "c"]
            break
        assert [row["product"] for row in await merchant.runners(limit=1)] == ["a", "c"]
