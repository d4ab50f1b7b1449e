"""Who races, over HTTP: conditions, files of products, withdrawing, restoring, and swapping in place."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.contract import problem
from tests.integration.running import Running
from tests.waiting import until

CSV = {"Content-Type": "text/csv"}
NEW = {"product": "p-new", "merchant": "m-1", "title": "New"}


def sent(service: Running, venue: str, text: str, query: str = "") -> Any:
    return service.http.post(f"/v1/venues/{venue}/runners/bulk{query}", content=text.encode(), headers=CSV)


def runners(service: Running, venue: str) -> dict[str, dict[str, Any]]:
    found = service.http.get(f"/v1/venues/{venue}/runners?limit=1000").json()["runners"]
    return {each["product"]: each for each in found}


# -- conditions -----------------------------------------------------------------------------------------------


def test_conditions_that_no_venue_can_have_are_refused(service: Running) -> None:
    path = f"/v1/venues/{service.made_venue()}/conditions"
    for document, words in (({"stars": 4}, "stars: no such field"), ({"price_min": 9, "price_max": 1}, "price_max")):
        assert words in problem(service.http.put(path, json=document), 422, "invalid")["detail"]
    assert service.http.get(path).json() == {}


def test_a_product_that_does_not_meet_the_conditions_is_refused_with_every_reason(service: Running) -> None:
    """Unless it is waived, or is enrolled already."""
    venue = service.made_venue("p-old")
    base = f"/v1/venues/{venue}"
    conditions = {"rating_min": 4.5, "stock_min": 10}
    assert service.http.put(f"{base}/conditions", json=conditions).json() == conditions
    assert service.http.get(f"{base}/conditions").json() == conditions
    found = problem(service.http.post(f"{base}/runners", json=NEW), 422, "invalid")
    assert [each["field"] for each in found["errors"]] == ["attributes.rating", "stock"]
    assert "an entry condition of the venue" in found["detail"]
    good = {**NEW, "product": "p-good", "stock": 10, "attributes": {"rating": 4.5}}
    bulk = problem(service.http.post(f"{base}/runners/bulk", json={"runners": [good, NEW]}), 422, "invalid")
    assert bulk["errors"][0]["field"] == "runners[1].attributes.rating"
    assert list(runners(service, venue)) == ["p-old"]
    assert service.http.post(f"{base}/runners", json=good).status_code == 201
    assert service.http.post(f"{base}/runners", json={**NEW, "product": "p-old"}).status_code == 201
    assert service.http.post(f"{base}/runners?waive=true", json=NEW).status_code == 201
    told = service.http.get(f"{base}/audit?what=venue").json()["decisions"]
    assert [each["changes"] for each in told] == [[{"of": "conditions", "from": {}, "to": conditions}]]


# -- files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "one of them is product"),
        ("merchant,title\nm,t\n", "one of them is product"),
        ("product,colour\np,red\n", "column 'colour': there are product, merchant"),
        ("product,title,title\n", "column 'title' comes twice"),
        ('product,title\np,"open\n', "the file is not CSV"),
        ("product,title\n" + "p,t\n" * 20_001, "more than 20000 rows"),
    ],
)
def test_a_file_that_is_none_is_refused_whole(service: Running, text: str, words: str) -> None:
    assert words in problem(sent(service, service.made_venue(), text), 422, "invalid")["detail"]


def test_wrong_rows_of_a_file_are_told_and_the_others_enrolled(service: Running) -> None:
    venue = service.made_venue()
    text = (
        "product,merchant,title,price,stock,attributes.rating,attributes.new\n"
        "p-1,m-1,One,100,5,4.5,true\n"
        "p 2,m-1,Two,100,5,,\n"
        "p-3,,Three,-1,x,,\n"
        "p-1,m-1,Again,100,5,,\n"
        '"p-4",m-1,"Four, ""new""",,,,\n'
        "p-5,m-1,Five,1,2,3,true,9\n"
    )
    answer = sent(service, venue, text)
    assert answer.status_code == 201, answer.text
    found = answer.json()
    assert [(each["row"], each["product"], each["state"]) for each in found["runners"]] == [
        (2, "p-1", "enrolled"),
        (6, "p-4", "enrolled"),
    ]
    assert [(each["row"], [error["field"] for error in each["errors"]]) for each in found["refused"]] == [
        (3, ["product"]),
        (4, ["price", "stock", "merchant"]),
        (5, ["product"]),
        (7, ["row"]),
    ]
    assert found["refused"][2]["errors"][0]["expected"] == "comes in row 2 already"
    kept = runners(service, venue)
    assert kept["p-1"]["attributes"] == {"rating": 4.5, "new": True}
    assert kept["p-4"]["title"] == 'Four, "new"'


def test_a_file_changes_what_it_has_columns_for_and_leaves_the_rest(service: Running) -> None:
    """An empty cell takes a value away; the same file again changes nothing."""
    venue = service.made_venue()
    base = f"/v1/venues/{venue}/runners"
    service.http.post(base, json={**NEW, "price": 100, "stock": 5, "tier": "A", "attributes": {"rating": 4, "x": 1}})
    text = "product,stock,tier,attributes.rating\np-new,7,,4.5\np-none,1,,\n"
    found = sent(service, venue, text).json()
    assert [each["state"] for each in found["runners"]] == ["changed"]
    assert [error["field"] for error in found["refused"][0]["errors"]] == ["title", "merchant"]
    kept = runners(service, venue)["p-new"]
    assert (kept["price"], kept["stock"], kept.get("tier")) == (100, 7, None)
    assert kept["attributes"] == {"rating": 4.5, "x": 1}
    assert [each["state"] for each in sent(service, venue, text).json()["runners"]] == ["unchanged"]


def test_conditions_refuse_rows_of_a_file(service: Running) -> None:
    venue = service.made_venue("p-1")
    service.http.put(f"/v1/venues/{venue}/conditions", json={"stock_min": 10})
    text = "product,merchant,title,stock\np-1,m-1,Old,1\np-2,m-1,New,1\np-3,m-1,New,10\n"
    found = sent(service, venue, text).json()
    assert [each["product"] for each in found["runners"]] == ["p-1", "p-3"]
    assert found["refused"] == [
        {"row": 3, "product": "p-2", "errors": [{"field": "stock", "expected": "must be at least 10", "value": "1"}]}
    ]
    assert sent(service, venue, text, "?waive=true").json()["refused"] == []


def test_a_large_file_is_enrolled_in_its_order(service: Running) -> None:
    venue = service.made_venue()
    text = "product,merchant,title\n" + "".join(f"p-{n},m-1,The {n}\n" for n in range(2_345))
    found = sent(service, venue, text).json()
    assert [each["runner"] for each in found["runners"]] == list(range(2_345))
    assert [each["row"] for each in found["runners"]] == list(range(2, 2_347))


# -- withdraw and restore -------------------------------------------------------------------------------------


def test_a_product_is_withdrawn_and_restored(service: Running) -> None:
    """It leaves the board and comes back to where it stands."""
    venue = service.made_venue("p-1", "p-2")
    base = f"/v1/venues/{venue}/runners"
    service.send(venue, {"type": "order", "product": "p-1"})
    until(lambda: list(service.scores(venue)) == ["p-1", "p-2"], within_s=5, what="p-1 leads")
    problem(service.http.delete(f"{base}/p-9"), 404, "not_found")
    problem(service.post(f"{base}/p-1/restore", {}), 404, "not_found")
    gone = service.http.delete(f"{base}/p-1?reason=recall")
    assert gone.status_code == 200, gone.text
    assert gone.json()["put"][0]["withdrawn"] is True
    assert list(service.scores(venue)) == ["p-2"]
    back = service.post(f"{base}/p-1/restore", {})
    assert back.status_code == 200, back.text
    assert list(service.scores(venue)) == ["p-1", "p-2"]


# -- swap -----------------------------------------------------------------------------------------------------


def test_a_swap_onto_an_enrolled_product_is_refused(service: Running) -> None:
    venue = service.made_venue("p-1", "p-2")
    body = {"runner": {**NEW, "product": "p-2"}}
    answer = service.post(f"/v1/venues/{venue}/runners/p-1/swap", body)
    assert "product 'p-2' is enrolled" in problem(answer, 409, "conflict")["detail"]
    problem(service.post(f"/v1/venues/{venue}/runners/p-9/swap", {"runner": NEW}), 404, "not_found")
    service.http.put(f"/v1/venues/{venue}/conditions", json={"stock_min": 1})
    lacking = problem(service.post(f"/v1/venues/{venue}/runners/p-1/swap", {"runner": NEW}), 422, "invalid")
    assert "runner.stock: must be stated" in lacking["detail"]
    assert list(runners(service, venue)) == ["p-1", "p-2"]


def test_a_product_takes_anothers_place_with_all_that_it_has(service: Running) -> None:
    """Number, sums and place; events of the one that goes are refused, also by a process that knew its number."""
    venue = service.made_venue("p-1", "p-2", "p-3")
    base = f"/v1/venues/{venue}"
    for product, times in (("p-2", 3), ("p-1", 1)):
        service.send(venue, *[{"type": "order", "product": product}] * times)
    until(lambda: service.scores(venue) == {"p-2": 3, "p-1": 1, "p-3": 0}, within_s=5, what="all scored")
    service.http.put(f"{base}/pins/3", json={"product": "p-2", "hard": False})
    swapped = service.post(f"{base}/runners/p-2/swap", {"runner": NEW, "note": "sold out"})
    assert swapped.status_code == 200, swapped.text
    assert (swapped.json()["product"], swapped.json()["orders"]) == ("p-new", ["pin.3"])
    assert service.scores(venue) == {"p-new": 3, "p-1": 1, "p-3": 0}
    old = service.send(venue, {"type": "order", "product": "p-2"}, {"type": "order", "product": "p-3"})
    assert (old.json()["accepted"], old.json()["refused"][0]["code"]) == (1, "unknown_product")
    service.send(venue, {"type": "order", "product": "p-new"})
    until(lambda: service.scores(venue) == {"p-new": 4, "p-1": 1, "p-3": 1}, within_s=5, what="the new one scored")
    assert [each["runner"] for each in runners(service, venue).values()] == [0, 1, 2]
    again = service.http.post(f"{base}/runners", json={"product": "p-2", "merchant": "m-1", "title": "Back"})
    assert again.json()["runner"] == 3, "it is enrolled anew"


def test_a_swap_is_undone(service: Running) -> None:
    venue = service.made_venue("p-1", "p-2")
    base = f"/v1/venues/{venue}"
    entry = service.post(f"{base}/runners/p-1/swap", {"runner": NEW}).json()["entry"]
    told = service.http.get(f"{base}/audit?limit=1").json()["decisions"][0]
    assert (told["what"], told["changes"][0]["from"]["product"]) == ("swap", "p-1")
    undone = service.post(f"{base}/audit/{entry}/undo", {})
    assert undone.status_code == 200, undone.text
    assert list(runners(service, venue)) == ["p-1", "p-2"]
    again = service.post(f"{base}/audit/{entry}/undo", {})
    assert "p-new was changed since" in problem(again, 409, "conflict")["detail"]
