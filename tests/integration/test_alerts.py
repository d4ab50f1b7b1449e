"""A merchant is told what has changed for its own products since it asked last, whichever process it asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.integration.contract import problem
from tests.integration.keyed import FOREIGN, OPEN, OWN, Keyed
from tests.integration.running import Running
from tests.integration.test_merchants import got, happen, made, runner
from tests.waiting import until

Told = dict[str, Any]


def asked(service: Running, venue: str, **query: Any) -> Told:
    answer = service.http.get("/v1/merchants/m-1/alerts", params={"venue": venue, "page": 1, **query})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "private, no-store"
    found: Told = answer.json()
    return found


def kinds(told: Sequence[Told]) -> set[tuple[str, str | None]]:
    return {(alert["kind"], alert["product"]) for alert in told}


class Poll:
    """One that asks again and again, each time by the next of the answer before."""

    def __init__(self, service: Running, venue: str) -> None:
        self._service, self._venue = service, venue
        self.first = asked(service, venue)
        self.next: str = self.first["next"]

    def told(self, *wanted: tuple[str, str | None]) -> list[Told]:
        """What is told until all that is wanted was; each change comes once."""
        found: list[Told] = []

        def came() -> bool:
            answer = asked(self._service, self._venue, since=self.next)
            assert answer["full"] is False
            self.next = answer["next"]
            found.extend(answer["alerts"])
            return kinds(found) >= set(wanted)

        until(came, within_s=10, what=f"{wanted} are told")
        again = asked(self._service, self._venue, since=self.next)
        self.next = again["next"]
        found.extend(again["alerts"])
        assert len(kinds(found)) == len(found), "each once"
        return found


@pytest.fixture
def venue(service: Running) -> str:
    """Of m-1: a on the first slot with much, c on none; b of m-2 on the second."""
    name = made(service, runner("a", "m-1", stock=300), runner("b", "m-2", stock=3), runner("c", "m-1", stock=5))
    happen(service, name, a=9, b=4, c=1)
    return name


@pytest.mark.parametrize(
    "query", [{"since": "now"}, {"since": "1-1.x"}, {"page": 0}, {"page": 1001}, {"venue": "a b"}, {"venue": None}]
)
def test_query_that_cannot_be_is_refused(service: Running, query: dict[str, Any]) -> None:
    given = {name: value for name, value in {"venue": "hall", **query}.items() if value is not None}
    problem(service.http.get("/v1/merchants/m-1/alerts", params=given), 422, "invalid")


@pytest.mark.parametrize("since", ["1-1", "9999999999999999999-1", "99999999999999999999-99999999999999999999.1"])
def test_since_that_is_not_known_is_told_with_all_that_holds(service: Running, venue: str, since: str) -> None:
    found = asked(service, venue, since=since)
    assert found["full"] is True
    assert kinds(found["alerts"]) == {("entered_board", "a"), ("entered_page", "a")}


def test_moment_that_was_made_up_is_not_known(service: Running, venue: str) -> None:
    frame = asked(service, venue)["next"].partition(".")[0]
    assert asked(service, venue, since=f"{frame}.99999999999999999999")["full"] is True
    assert asked(service, venue, since=f"{frame}.0")["full"] is False


def test_changes_are_told_once_and_of_own_products_alone(service: Running, venue: str) -> None:
    poll = Poll(service, venue)
    assert (poll.first["full"], kinds(poll.first["alerts"])) == (True, {("entered_board", "a"), ("entered_page", "a")})
    since = poll.next
    happen(service, venue, c=60, b=20)
    found = poll.told(("left_board", "a"), ("left_page", "a"), ("entered_board", "c"), ("entered_page", "c"))
    (low,) = [alert for alert in found if alert["kind"] == "low_stock"]
    assert (low["product"], low["title"], low["stock"], low["slot"]) == ("c", "The c", 5, 1)
    whole = asked(service, venue, since=since)
    assert kinds(whole["alerts"]) == kinds(found)
    assert asked(service, venue, since=since.partition(".")[0])["alerts"] == whole["alerts"], "a frame will do"


def test_stock_is_told_as_events_state_it(service: Running, venue: str) -> None:
    poll = Poll(service, venue)
    for stock, wanted in ((7, "low_stock"), (0, "sold_out"), (200, "back_in_stock")):
        sent = service.send(venue, {"type": "stock", "product": "a", "amount": stock})
        assert sent.status_code == 202, sent.text
        (found,) = poll.told((wanted, "a"))
        assert found["stock"] == stock


def test_data_that_is_changed_is_told_against_what_it_was(service: Running, venue: str) -> None:
    poll = Poll(service, venue)
    assert service.http.patch(f"/v1/venues/{venue}/runners/a", json={"stock": 2}).is_success
    (found,) = poll.told(("low_stock", "a"))
    assert found["stock"] == 2


def test_exclusion_is_told_also_where_the_board_stays_as_it_is(service: Running, venue: str) -> None:
    """Of c, which is not on the board; and of a, which leaves it."""
    poll = Poll(service, venue)
    for product, more in (("c", set()), ("a", {("left_board", "a"), ("left_page", "a")})):
        order = {"kind": "exclude", "product": product, "reason": "recall"}
        assert service.http.put(f"/v1/venues/{venue}/orders/x-{product}", json=order).is_success
        found = poll.told(("excluded", product), *more)
        told = next(alert for alert in found if alert["kind"] == "excluded")
        assert (told["order"], told["reason"], told["withdrawn"]) == (f"x-{product}", "recall", False)
    assert ("excluded", "c") in kinds(asked(service, venue)["alerts"])
    assert service.http.delete(f"/v1/venues/{venue}/orders/x-c").is_success
    assert {alert["reason"] for alert in poll.told(("restored", "c")) if alert["kind"] == "restored"} == {"recall"}


def test_exclusion_of_the_merchant_is_told_as_one_and_that_of_others_is_not(service: Running, venue: str) -> None:
    poll = Poll(service, venue)
    foreign = {"kind": "exclude", "product": "b", "reason": "recall"}
    whole = {"kind": "exclude", "merchant": "m-1", "reason": "fraud"}
    other = {"kind": "exclude", "merchant": "m-2", "reason": "fraud"}
    for name, order in (("x-b", foreign), ("x-2", other), ("x-1", whole)):
        assert service.http.put(f"/v1/venues/{venue}/orders/{name}", json=order).is_success
    found = [alert for alert in poll.told(("excluded", None)) if alert["kind"] == "excluded"]
    assert [(alert["product"], alert["reason"]) for alert in found] == [(None, "fraud")]


def test_another_merchant_looks_as_one_that_is_not(keyed_service: Keyed) -> None:
    one, other = (
        keyed_service.ask("merchant", "GET", f"/v1/merchants/{name}/alerts?venue={OPEN}")
        for name in ("m-foreign", "m-nothing")
    )
    assert one.status_code == other.status_code == 404
    assert one.text.replace("m-foreign", "m-nothing") == other.text
    own = got(
        lambda: (
            keyed_service.ask("merchant", "GET", f"/v1/merchants/m-own/alerts?venue={OPEN}").json()["alerts"] or None
        ),
        "there is a board",
    )
    assert OWN in {alert["product"] for alert in own}  # with what other tests have enrolled for it
    assert FOREIGN not in str(own)
