"""Merchants: where their products stand and why, in all venues, page by page and as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.contract import ID_WORDS, problem
from tests.integration.keyed import CLOSED, FOREIGN, OPEN, OTHER, OWN, Keyed, keyed
from tests.integration.running import Running
from tests.waiting import until

RULE: dict[str, Any] = {
    "metrics": {"click": {"event": "click"}, "order": {"event": "order"}, "paid": {"event": "pay", "sum": "amount"}},
    "terms": [
        {"metric": "click", "signal": "surge", "weight": 1, "tide": True},
        {"metric": "order", "signal": "root", "weight": 2},
        {"metric": "paid", "signal": "surge", "weight": 1},
        {"ratio": ["order", "click"], "signal": "rate", "weight": 5},
        {"attribute": "entry_score", "weight": 0.5},
    ],
    "board": {"slots": 2},
}
TOTALS: dict[str, Any] = {
    "metrics": {"order": {"event": "order"}},
    "terms": [{"metric": "order", "signal": "total", "weight": 1}],
}
"""A rule by which nothing moves with time: between two pages it may pass a bucket's end."""


def runner(product: str, merchant: str, **data: Any) -> dict[str, Any]:
    return {"product": product, "merchant": merchant, "title": f"The {product}", **data}


def made(service: Running, *runners: dict[str, Any], rule: dict[str, Any] | None = None) -> str:
    """A venue with these runners."""
    venue = service.made_venue(rule=rule or RULE)
    answer = service.post(f"/v1/venues/{venue}/runners/bulk", {"runners": list(runners)})
    assert answer.status_code == 201, answer.text
    return venue


def happen(service: Running, venue: str, **times: int) -> None:
    """So many orders of each product, with as many clicks and payments, counted and shown."""
    events = [
        {"type": kind, "product": product.replace("_", "-"), **({"amount": 500} if kind == "pay" else {})}
        for product, count in times.items()
        for kind in ("click", "order", "pay")
        for _ in range(count)
    ]
    sent = service.send(venue, *events)
    assert sent.status_code == 202, sent.text
    service.folded(venue, sent.json()["position"])
    best = max(times, key=lambda name: times[name]).replace("_", "-")

    def shown() -> bool:
        slots = service.slots(venue).json()["slots"]
        return bool(slots) and slots[0]["product"] == best

    until(shown, within_s=10, what="the board shows what happened")


def standings(service: Running, merchant: str, **query: Any) -> dict[str, Any]:
    answer = service.http.get(f"/v1/merchants/{merchant}/runners", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def got(found: Callable[[], Any], what: str) -> Any:
    """The first answer that is one."""
    answers: list[Any] = []

    def tried() -> bool:
        answers.append(found())
        return answers[-1] is not None

    until(tried, within_s=10, what=what)
    return answers[-1]


@pytest.fixture
def venue(service: Running) -> str:
    """Four products: a and c of m-1, b and d of m-2; a leads, then b, c and d."""
    name = made(
        service,
        runner("a", "m-1", stock=3),
        runner("b", "m-2"),
        runner("c", "m-1", entry_score=0.1),
        runner("d", "m-2"),
    )
    happen(service, name, a=9, b=4, c=1)
    return name


# -- refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cursor", ["x", "!!", "W10", "WzEsMiwzXQ", "é", "bnVsbA"])
def test_cursor_of_nowhere_is_refused(service: Running, cursor: str) -> None:
    answer = service.http.get("/v1/merchants/m-1/runners", params={"cursor": cursor})
    assert "must be the next_cursor of another answer" in problem(answer, 422, "invalid")["detail"]


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 1001}, {"sort": "size"}, {"format": "xml"}])
def test_query_that_cannot_be_is_refused(service: Running, query: dict[str, Any]) -> None:
    problem(service.http.get("/v1/merchants/m-1/runners", params=query), 422, "invalid")


def test_venue_that_is_not_there_is_absent(service: Running) -> None:
    problem(service.http.get("/v1/merchants/m-1/runners", params={"venue": "hall-none"}), 404, "not_found")


@pytest.mark.parametrize(
    ("products", "right"),
    [
        ([], "must have 1 or more entries"),
        (["a"] * 1001, "must have at most 1000 entries"),
        (["a{b"], ID_WORDS),
        ([7], "must be a text"),
    ],
)
def test_list_of_products_that_cannot_be_is_refused(service: Running, venue: str, products: Any, right: str) -> None:
    answer = service.post(f"/v1/venues/{venue}/standings", {"products": products})
    assert right in problem(answer, 422, "invalid")["detail"]


# -- where products stand -------------------------------------------------------------------------------------


def test_products_stand_where_the_slots_show_them(service: Running, venue: str) -> None:

    def both() -> tuple[dict[str, Any], dict[str, Any]] | None:
        found, slots = standings(service, "m-1", venue=venue), service.slots(venue).json()
        (frame,) = found["frames"]
        names = (frame["venue"], frame["frame"], frame["epoch"])
        return (found, slots) if names == (venue, slots["frame"], slots["epoch"]) and frame["settled"] else None

    found, slots = got(both, "both are of one frame")
    first, second = found["runners"]
    assert (first["product"], first["slot"], first["standing"], first["rank"], first["of"]) == ("a", 1, 1, 1, 4)
    assert (second["product"], second["slot"], second["standing"], second["rank"]) == ("c", None, 3, 3)
    assert (first["percentile"], second["percentile"]) == (75.0, 25.0)
    assert first["badges"] == ["leader", "low_stock"]
    shown = slots["slots"][0]
    assert (first["score"], first["terms"]) == (shown["score"], shown["terms"])
    assert first["metrics"]["click"] == {"window": 9, "base": 0, "delta": 9, "total": 9}
    assert first["metrics"]["paid"]["window"] == 4500


def test_score_off_the_board_is_the_sum_of_its_terms_as_the_race_makes_it(service: Running, venue: str) -> None:
    """Taken apart from the sets, it is the score by which the race ranks."""
    wide = made(
        service,
        *(runner(product, "m-1", entry_score=n / 7) for n, product in enumerate("abcd")),
        rule={**RULE, "board": {"slots": 50}},
    )
    happen(service, wide, a=7, b=5, c=1)
    on_board = {slot["product"]: slot for slot in service.slots(wide).json()["slots"]}
    narrow = standings(service, "m-1", venue=wide)["runners"]
    service.http.put(f"/v1/venues/{wide}/rule", json={**RULE, "board": {"slots": 1}})

    def off() -> list[dict[str, Any]] | None:
        found = standings(service, "m-1", venue=wide)
        rows: list[dict[str, Any]] = found["runners"]
        return (
            rows if found["frames"][0]["settled"] and [row["slot"] for row in rows] == [1, None, None, None] else None
        )

    rows = got(off, "three are off the board")
    assert [row["product"] for row in rows] == [row["product"] for row in narrow]
    for row in rows:
        shown = on_board[row["product"]]
        assert [term["name"] for term in row["terms"]] == [term["name"] for term in shown["terms"]]
        total = 0.0
        for term in row["terms"]:
            total += term["contribution"]
        assert total == row["score"], "to the last bit"


def test_equal_scores_share_a_rank_and_not_a_standing(service: Running) -> None:
    name = made(service, *(runner(product, "m-tie") for product in "abcd"))
    happen(service, name, b=1)
    rows = standings(service, "m-tie", venue=name)["runners"]
    assert [(row["product"], row["standing"], row["rank"]) for row in rows] == [
        ("b", 1, 1),
        ("a", 2, 2),
        ("c", 3, 2),
        ("d", 4, 2),
    ]


def test_all_venues_come_in_one_list_and_page_by_page(service: Running) -> None:
    products = [f"p-{n}" for n in range(5)]
    runners = [runner(product, "m-pages") for product in products]
    halls = sorted(made(service, *runners, rule=TOTALS) for _ in range(2))
    for hall in halls:
        happen(service, hall, p_3=5, p_1=2)
    for sort, first in (("standing", "p-3"), ("enrolment", "p-0")):
        whole = standings(service, "m-pages", sort=sort)
        assert whole["next_cursor"] is None
        names = [(row["venue"], row["product"]) for row in whole["runners"]]
        assert len(set(names)) == 10
        assert names[0] == (halls[0], first)
        assert sorted(frame["venue"] for frame in whole["frames"]) == halls
        paged: list[Any] = []
        cursor = None
        while cursor is not None or not paged:
            page = standings(service, "m-pages", sort=sort, limit=3, **({"cursor": cursor} if cursor else {}))
            paged += [(row["venue"], row["product"]) for row in page["runners"]]
            cursor = page["next_cursor"]
        assert paged == names


def test_merchant_without_products_has_an_empty_list(service: Running) -> None:
    found = standings(service, "m-nobody")
    assert (found["runners"], found["frames"], found["next_cursor"]) == ([], [], None)


def test_list_as_a_table(service: Running, venue: str) -> None:
    path = "/v1/merchants/m-1/runners"
    asked = service.http.get(path, params={"venue": venue, "format": "csv"})
    accepted = service.http.get(path, params={"venue": venue}, headers={"Accept": "text/csv"})
    assert asked.headers["content-type"] == "text/csv; charset=utf-8"
    assert asked.headers["cache-control"] == "private, no-store"
    assert asked.text == accepted.text
    rows = list(csv.DictReader(io.StringIO(asked.text)))
    assert [(row["product"], row["standing"], row["click_window"]) for row in rows] == [
        ("a", "1", "9"),
        ("c", "3", "1"),
    ]


def test_many_products_are_looked_up_at_once(service: Running, venue: str) -> None:
    answer = service.post(f"/v1/venues/{venue}/standings", {"products": ["c", "a", "nothing", "c"]})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert [(row["product"], row["standing"]) for row in found["runners"]] == [("c", 3), ("a", 1)]
    assert found["absent"] == ["nothing"]
    table = service.http.post(f"/v1/venues/{venue}/standings?format=csv", json={"products": ["c"]})
    assert [row["product"] for row in csv.DictReader(io.StringIO(table.text))] == ["c"]


# -- one product ----------------------------------------------------------------------------------------------


def detail(service: Running, merchant: str, product: str, venue: str, **query: Any) -> dict[str, Any]:
    answer = service.http.get(f"/v1/merchants/{merchant}/runners/{product}", params={"venue": venue, **query})
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["venues"]
    return dict(found)


def test_product_of_another_or_of_nobody_is_not_there(service: Running, venue: str) -> None:
    for merchant, product in (("m-1", "b"), ("m-1", "nothing"), ("m-none", "a")):
        answer = service.http.get(f"/v1/merchants/{merchant}/runners/{product}?venue={venue}")
        assert (
            problem(answer, 404, "not_found")["detail"] == f"there is no product {product!r} of merchant {merchant!r}"
        )
    problem(service.http.get(f"/v1/merchants/m-1/runners/a?venue={venue}&neighbours=11"), 422, "invalid")
    problem(service.http.get(f"/v1/merchants/m-1/runners/a?venue={venue}&lead_time_s=-1"), 422, "invalid")


def test_product_is_told_with_its_neighbours_and_gaps(service: Running, venue: str) -> None:

    def alike() -> dict[str, Any] | None:
        found = detail(service, "m-1", "c", venue)
        row = next(row for row in standings(service, "m-1", venue=venue)["runners"] if row["product"] == "c")
        return found if {name: found[name] for name in row} == row else None

    found = got(alike, "list and product tell the same: no bucket ended between them")
    above, below = found["neighbours"]["above"], found["neighbours"]["below"]
    assert [(each["standing"], each["product"]) for each in above] == [(2, "b"), (1, "a")]
    assert [(each["standing"], each["product"]) for each in below] == [(4, "d")]
    assert 0 < above[0]["gap"] < above[1]["gap"]
    first = detail(service, "m-1", "a", venue, neighbours=1)
    assert (first["neighbours"]["above"], len(first["neighbours"]["below"])) == ([], 1)
    assert (first["state"], first["excluded"], first["steps"]) == ("racing", None, [])


def test_range_that_chance_allows_holds_the_standing(service: Running) -> None:
    products = [f"p-{n}" for n in range(20)]
    name = made(service, *(runner(product, "m-range") for product in products))
    happen(service, name, **{f"p_{n}": 2 * n + 1 for n in range(10)})
    found = detail(service, "m-range", "p-5", name)
    likely = found["likely"]
    assert likely["best"] <= found["standing"] == 5 <= likely["worst"]
    assert (likely["share"], likely["worst"] > likely["best"]) == (0.8, True)


def test_stock_is_told_with_when_it_ends(service: Running, venue: str) -> None:
    """Nine were paid in the window of 300 s: 108 an hour, so that three last for 100 s."""
    found = detail(service, "m-1", "a", venue, lead_time_s=3600)["stock_forecast"]
    assert (found["per_hour"], found["sold_out_in_s"], found["order_in_s"]) == (108.0, 100, 0)
    assert found["restock"] == 108 + 14 - 3
    assert found["sold_out_soonest_s"] < 100 < found["sold_out_latest_s"]
    assert detail(service, "m-1", "c", venue)["stock_forecast"]["sold_out_in_s"] is None


def test_what_keeps_a_product_off_the_board_is_told(service: Running, venue: str) -> None:
    order = {"kind": "exclude", "product": "a", "reason": "price not as agreed"}
    sent = service.http.put(f"/v1/venues/{venue}/orders/x-1", json=order)
    assert sent.is_success, sent.text
    found = detail(service, "m-1", "a", venue)
    assert (found["state"], found["excluded"]["order"], found["excluded"]["reason"]) == (
        "excluded",
        "x-1",
        "price not as agreed",
    )
    until(lambda: detail(service, "m-1", "a", venue)["slot"] is None, within_s=10, what="it is off the board")
    assert detail(service, "m-1", "a", venue)["standing"] == 1, "its standing stays"


# -- keys -----------------------------------------------------------------------------------------------------


def test_merchant_sees_its_own_alone(keyed_service: Keyed) -> None:
    found = keyed_service.ask("merchant", "GET", "/v1/merchants/m-own/runners").json()
    assert {(row["venue"], row["product"]) for row in found["runners"]} >= {(OPEN, OWN), (CLOSED, OWN)}
    assert {row["merchant"] for row in found["runners"]} == {"m-own"}  # also of what other tests have enrolled
    body = {"products": [FOREIGN, OWN, "p-nothing"]}
    looked = keyed_service.ask("merchant", "POST", f"/v1/venues/{OPEN}/standings", body).json()
    assert [row["product"] for row in looked["runners"]] == [OWN]
    assert looked["absent"] == [FOREIGN, "p-nothing"]


def test_operator_sees_all_of_its_venues(keyed_service: Keyed) -> None:
    found = keyed_service.ask("other operator", "GET", "/v1/merchants/m-own/runners").json()
    assert [row["venue"] for row in found["runners"]] == [OTHER]
    body = {"products": [FOREIGN, OWN]}
    looked = keyed_service.ask("operator", "POST", f"/v1/venues/{OPEN}/standings", body).json()
    assert [row["product"] for row in looked["runners"]] == [FOREIGN, OWN]


def test_another_merchant_looks_as_one_that_is_not(keyed_service: Keyed) -> None:
    one = keyed_service.ask("merchant", "GET", "/v1/merchants/m-foreign/runners")
    other = keyed_service.ask("merchant", "GET", "/v1/merchants/m-nothing/runners")
    assert one.text.replace("m-foreign", "m-nothing") == other.text
    assert set(one.headers) == set(other.headers)
    assert one.headers["content-length"] == other.headers["content-length"]


def test_merchant_that_asks_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    with keyed(tmp_path, merchant_requests_per_s=1) as service:
        answers = [service.ask("merchant", "GET", "/v1/merchants/m-own/runners") for _ in range(5)]
        unbound = [service.ask("operator", "GET", "/v1/merchants/m-own/runners") for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert {answer.status_code for answer in unbound} == {200}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["retry-after"] == "1"
    assert "ask for more products at once" in problem(refused, 429, "too_many_requests")["detail"]


def test_another_merchants_product_looks_as_one_that_is_not(keyed_service: Keyed) -> None:
    path = "/v1/merchants/m-own/runners"
    there, absent = FOREIGN, "p-nothing"
    one, other = (keyed_service.ask("merchant", "GET", f"{path}/{product}") for product in (there, absent))
    assert one.text.replace(there, absent) == other.text
    assert set(one.headers) == set(other.headers)
    assert one.headers["content-length"] == other.headers["content-length"]


def test_neighbours_are_named_where_the_venue_says_so(keyed_service: Keyed) -> None:
    path = f"/v1/merchants/m-own/runners/{OWN}?venue={CLOSED}"

    def neighbour(caller: str) -> dict[str, Any]:
        (found,) = keyed_service.ask(caller, "GET", path).json()["venues"]
        around = found["neighbours"]["above"] + found["neighbours"]["below"]
        return next(each for each in around if each["product"] in {None, FOREIGN})

    assert (neighbour("merchant")["product"], neighbour("merchant")["title"]) == (None, None)
    assert neighbour("operator")["product"] == FOREIGN
    access = keyed_service.ask("admin", "GET", f"/v1/venues/{CLOSED}/access").json()
    for named, told in ((True, FOREIGN), (False, None)):
        answer = keyed_service.ask("admin", "PUT", f"/v1/venues/{CLOSED}/access", {**access, "neighbours_named": named})
        assert answer.status_code == 200, answer.text
        assert neighbour("merchant")["product"] == told
