"""Operators over HTTP: venues, runners and the rule."""

from __future__ import annotations

import copy
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.integration.contract import HOSTILE_IDS, ID_WORDS, JSON, RULE, RUNNER, problem
from tests.integration.running import PLAIN_RULE, Running
from tests.waiting import until


@pytest.fixture(scope="module")
def venue(service: Running) -> str:
    """A venue whose runners and rule no refusal changes."""
    return service.made_venue("p-1", rule=RULE)


@pytest.mark.parametrize("name", HOSTILE_IDS)
def test_an_id_that_could_change_a_key_makes_no_venue(service: Running, name: str) -> None:
    found = problem(service.post("/v1/venues", {"venue": name}), 422, "invalid")
    value = json.dumps(name, ensure_ascii=False)
    assert found["errors"] == [{"field": "venue", "expected": ID_WORDS, "value": value}]
    assert ID_WORDS in found["detail"]


@pytest.mark.parametrize("name", [".", ".."])
def test_an_id_that_browsers_take_out_of_addresses_makes_no_venue(service: Running, name: str) -> None:
    assert "browsers" in problem(service.post("/v1/venues", {"venue": name}), 422, "invalid")["detail"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "venue: is required"),
        ({"venue": None}, "venue: must be a text, not null"),
        ({"venue": 5}, "venue: must be a text, not 5"),
        ({"venue": ["a"]}, "venue: must be a text, not a list of 1"),
        ({"venue": "h", "title": ""}, 'title: must have 1 or more characters, not ""'),
        ({"venue": "h", "title": "x" * 201}, "title: must have at most 200 characters"),
        ({"venue": "h", "slots": 5}, "slots: no such field; there are venue, title, rule"),
        ({"venue": "h", "rule": []}, "rule: must be an object, not a list of 0"),
        ({"venue": "h", "rule": {}}, "rule.metrics: is required; rule.terms: is required"),
    ],
)
def test_a_venue_with_a_wrong_field_is_not_made(service: Running, body: object, words: str) -> None:
    assert words in problem(service.post("/v1/venues", body), 422, "invalid")["detail"]
    assert service.http.get("/v1/venues/h").status_code == 404


@pytest.mark.parametrize("confirm", ["", "hall", "Hall-1"])
def test_a_venue_is_not_deleted_without_its_id_once_more(service: Running, venue: str, confirm: str) -> None:
    found = problem(service.http.delete(f"/v1/venues/{venue}", params={"confirm": confirm}), 422, "invalid")
    assert found["detail"].startswith(f"confirm: must be the id of the venue, '{venue}', not '{confirm}'")
    problem(service.http.delete(f"/v1/venues/{venue}"), 422, "invalid")
    assert service.http.get(f"/v1/venues/{venue}").status_code == 200


def test_a_venue_that_is_not_there_is_not_deleted(service: Running) -> None:
    problem(service.http.delete("/v1/venues/nowhere", params={"confirm": "nowhere"}), 404, "not_found")


def test_a_venue_that_is_deleted_is_gone_and_its_id_can_be_used_anew(service: Running) -> None:
    venue = service.made_venue("p-1")
    events = {"events": [{"type": "click", "product": "p-1"}]}
    assert service.post(f"/v1/venues/{venue}/events", events).status_code == 202
    answer = service.http.delete(f"/v1/venues/{venue}", params={"confirm": venue}, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["venue"] == venue
    assert answer.json()["keys"] > 5
    for path in (f"/v1/venues/{venue}", f"/v1/venues/{venue}/slots"):
        problem(service.http.get(path), 404, "not_found")
    problem(service.post(f"/v1/venues/{venue}/events", events), 404, "not_found")
    assert service.post("/v1/venues", {"venue": venue}).status_code == 201
    assert service.http.get(f"/v1/venues/{venue}").json()["runners"] == 0


def test_a_venue_is_made_once(service: Running, venue: str) -> None:
    found = problem(service.post("/v1/venues", {"venue": venue}), 409, "conflict")
    assert found["detail"] == f"venue '{venue}' exists already"


WRONG_FIELDS: list[tuple[dict[str, Any], str]] = [
    *(({field: name}, f"{field}: {ID_WORDS}") for field in ("product", "merchant") for name in HOSTILE_IDS),
    ({"product": ".."}, "product: must not be . or .."),
    ({"title": ""}, 'title: must have 1 or more characters, not ""'),
    ({"title": None}, "title: must be a text, not null"),
    ({"category": "x" * 201}, "category: must have at most 200 characters"),
    ({"price": -5}, "price: must be at least 0, not -5"),
    ({"price": 19.9}, "price: must be a whole number, not 19.9"),
    ({"price": 199.0}, "price: must be a whole number, not 199.0"),
    ({"price": "5"}, 'price: must be a whole number, not "5"'),
    ({"price": True}, "price: must be a whole number, not true"),
    ({"price": 10**12 + 1}, "price: must be at most 1000000000000, not 1000000000001"),
    ({"price": 10**30}, "price: must be at most 1000000000000"),
    ({"list_price": -1}, "list_price: must be at least 0, not -1"),
    ({"stock": -1}, "stock: must be at least 0, not -1"),
    ({"stock": 10**9 + 1}, "stock: must be at most 1000000000"),
    ({"image": "x" * 2049}, "image: must have at most 2048 characters"),
    ({"entry_score": 2e9}, "entry_score: must be at most 1000000000"),
    ({"entry_score": "1"}, 'entry_score: must be a number, not "1"'),
    ({"colour": "red"}, "colour: no such field; there are product, title, "),
    ({"runner": 3}, "runner: no such field"),
    ({"attributes": []}, "attributes: must be an object, not a list of 0"),
    ({"attributes": {"a{": 1}}, f"attributes.a{{: {ID_WORDS}"),
    ({"attributes": {"a": {}}}, "attributes.a: must be true, false, a number"),
    ({"attributes": {"a": None}}, "attributes.a: must be true, false, a number"),
    ({"attributes": {"a": 10**400}}, "attributes.a: must be true, false, a number"),
    ({"attributes": {"a": "x" * 257}}, "attributes.a: must be true, false, a number"),
    ({"attributes": {f"a{n}": n for n in range(17)}}, "attributes: must have at most 16 entries"),
]


@pytest.mark.parametrize(("field", "words"), WRONG_FIELDS)
def test_a_runner_with_a_wrong_field_is_not_enrolled(
    service: Running, venue: str, field: dict[str, Any], words: str
) -> None:
    """Neither alone nor among others: a bulk is enrolled whole or not at all."""
    wrong = {"product": "p-new", "merchant": "m-1", "title": "New", **field}
    alone = problem(service.post(f"/v1/venues/{venue}/runners", wrong), 422, "invalid")
    assert words in alone["detail"]
    bulk = {"runners": [{**RUNNER, "product": "p-2"}, wrong]}
    among = problem(service.post(f"/v1/venues/{venue}/runners/bulk", bulk), 422, "invalid")
    assert f"runners[1].{words}" in among["detail"]
    assert service.http.get(f"/v1/venues/{venue}").json()["runners"] == 1


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 5000])
def test_a_number_that_no_computer_holds_is_refused(service: Running, venue: str, number: str) -> None:
    body = json.dumps({**RUNNER, "entry_score": 0}).replace(": 0", f": {number}").encode()
    answer = service.post(f"/v1/venues/{venue}/runners", body)
    assert "out of range" in problem(answer, 400, "malformed")["detail"]


@pytest.mark.parametrize(
    ("runners", "words"),
    [
        ([], "runners: must have 1 or more entries, not a list of 0"),
        ([{**RUNNER, "product": f"p-{n}"} for n in range(1001)], "runners: must have at most 1000 entries"),
        ([RUNNER, {**RUNNER, "title": "Two"}], "runners[1].product: 'p-1' comes twice"),
        ([RUNNER, 5], "runners[1]: must be an object, not 5"),
        ({}, "runners: must be a list, not an object"),
    ],
)
def test_a_bulk_that_cannot_be_enrolled_whole_is_not_enrolled(
    service: Running, venue: str, runners: object, words: str
) -> None:
    found = problem(service.post(f"/v1/venues/{venue}/runners/bulk", {"runners": runners}), 422, "invalid")
    assert words in found["detail"]


def test_a_bulk_full_of_faults_is_answered_with_the_first_ones_and_their_number(service: Running, venue: str) -> None:
    """A thousand runners without a field: the answer stays short, whatever was sent."""
    answer = service.post(f"/v1/venues/{venue}/runners/bulk", {"runners": [{}] * 1000})
    found = problem(answer, 422, "invalid")
    assert found["detail"].endswith(": is required; and 2997 more")
    assert len(found["errors"]) == 20
    assert len(answer.content) < 5_000


def changed(**fields: Any) -> dict[str, Any]:
    """The rule with other fields."""
    return {**RULE, **fields}


def with_term(**fields: Any) -> dict[str, Any]:
    """The rule with another first term."""
    made = copy.deepcopy(RULE)
    made["terms"][0] |= fields
    return made


@pytest.mark.parametrize(
    ("rule", "field", "words", "value"),
    [
        ({}, "metrics", "is required", None),
        ([], "document", "must be an object", "a list of 0"),
        (None, "document", "must be an object", "null"),
        (changed(window_s=0), "window_s", "must be at least 1", "0"),
        (changed(window_s=90000), "window_s", "must be at most 86400", "90000"),
        (changed(window_s=300.5), "window_s", "must be a whole number", "300.5"),
        (changed(bucket_s=7), "bucket_s", "must divide window_s = 300, for example 30, 60, 300", "7"),
        (changed(lateness_s=601), "lateness_s", "at most two windows = 600", "601"),
        (changed(windows=300), "windows", "no such field; there are window_s, bucket_s, lateness_s", None),
        (changed(metrics={}), "metrics", "must have 1 or more entries", "an object"),
        (changed(terms=[]), "terms", "must have 1 or more entries", "a list of 0"),
        (changed(board={"slots": 0}), "board.slots", "must be at least 1", "0"),
        (changed(board={"slots": 1001}), "board.slots", "must be at most 1000", "1001"),
        (changed(metrics={"Click": {"event": "click"}}), "metrics.Click", "must be 1 to 32 characters", '"Click"'),
        (
            changed(metrics={"a": {"event": "pv"}}),
            "metrics.a.event",
            "another vocabulary's name: write 'click'",
            '"pv"',
        ),
        (changed(metrics={"a": {"event": "a", "sum": "min"}}), "metrics.a.sum", "one of 'count' or 'amount'", '"min"'),
        (with_term(weight="1"), "terms[0].weight", "must be a number", '"1"'),
        (with_term(weight=1e7), "terms[0].weight", "must be at most 1000000", "10000000.0"),
        (with_term(signal="up"), "terms[0].signal", "must be one of 'level', 'root', 'total'", '"up"'),
        (with_term(prior=0), "terms[0].prior", "must be more than 0", "0"),
        (with_term(wieght=1), "terms[0].wieght", "no such field; there are metric, signal, weight, prior, tide", None),
        (with_term(metric="pay"), "terms[0].metric", "'pay' is none of metrics, which has click, order", None),
        (with_term(signal="level"), "terms[0].prior", "has no effect on level", None),
    ],
)
def test_a_wrong_rule_is_refused_by_field_value_and_what_would_be_right(
    service: Running, venue: str, rule: object, field: str, words: str, value: str | None
) -> None:
    """The rule that holds goes on holding."""
    answer = service.http.put(f"/v1/venues/{venue}/rule", content=json.dumps(rule).encode(), headers=JSON)
    found = problem(answer, 422, "invalid")
    wrong = next(each for each in found["errors"] if each["field"] == field)
    assert words in wrong["expected"]
    assert wrong["value"] == value
    assert f"{field}: {wrong['expected']}" in found["detail"]
    assert service.http.get(f"/v1/venues/{venue}/rule").headers["etag"] == '"rule-1"'


@pytest.mark.parametrize("if_match", ['"rule-2"', "rule-1", 'W/"rule-1"', '"rule-0", "rule-2"', '""', "x" * 300])
def test_a_rule_made_from_another_version_is_refused(service: Running, venue: str, if_match: str) -> None:
    """If-Match compares strongly: a weak tag names no version."""
    answer = service.http.put(f"/v1/venues/{venue}/rule", json=RULE, headers={"If-Match": if_match})
    found = problem(answer, 412, "precondition_failed")
    assert found["detail"] == f'If-Match {if_match[:80]}: the current rule is "rule-1"; read it again'


def test_a_note_that_is_too_long_is_refused(service: Running, venue: str) -> None:
    answer = service.http.put(f"/v1/venues/{venue}/rule?note={'n' * 201}", json=RULE)
    assert "query.note: must have at most 200 characters" in problem(answer, 422, "invalid")["detail"]


# ------------------------------------------------------------------------------------------------ what is right


def test_a_venue_is_made_listed_and_read(service: Running) -> None:
    """Its title is its id where none is given; the rule is the default one."""
    made = service.http.post("/v1/venues", json={"venue": "Hall.of_Fame-1"})
    assert made.status_code == 201
    assert made.headers["location"] == "/v1/venues/Hall.of_Fame-1"
    read = service.http.get(made.headers["location"])
    assert read.status_code == 200
    assert (read.json()["venue"], read.json()["title"]) == ("Hall.of_Fame-1", "Hall.of_Fame-1")
    assert (read.json()["rule_version"], read.json()["runners"], read.json()["slots"]) == (1, 0, 50)
    assert "Hall.of_Fame-1" in {each["venue"] for each in service.http.get("/v1/venues?limit=200").json()["venues"]}


def test_a_venue_keeps_the_title_and_the_rule_that_it_was_made_with(service: Running) -> None:
    rule = {**PLAIN_RULE, "window_s": 60, "board": {"slots": 7}}
    made = service.http.post("/v1/venues", json={"venue": "own-rule", "title": "双十一 main hall", "rule": rule}).json()
    assert (made["title"], made["slots"]) == ("双十一 main hall", 7)
    assert service.http.get("/v1/venues/own-rule/rule").json()["window_s"] == 60


def test_the_pages_of_venues_hold_each_once_in_order(service: Running) -> None:
    made = {service.made_venue() for _ in range(5)}
    seen: list[str] = []
    cursor: str | None = "Z"  # before every lower-case name
    while cursor is not None:
        page = service.http.get("/v1/venues", params={"limit": 2, "cursor": cursor}).json()
        assert 1 <= len(page["venues"]) <= 2
        seen += [each["venue"] for each in page["venues"]]
        cursor = page["next_cursor"]
    assert made <= set(seen)
    assert seen == sorted(set(seen))


def test_a_runner_is_enrolled_once_and_keeps_its_number(service: Running) -> None:
    """Sent again it is unchanged; with other data it is changed."""
    venue = service.made_venue()
    path = f"/v1/venues/{venue}/runners"

    def enrolled(**data: Any) -> tuple[int, int, str]:
        answer = service.http.post(path, json={**RUNNER, **data})
        return answer.status_code, answer.json()["runner"], answer.json()["state"]

    assert enrolled() == (201, 0, "enrolled")
    assert enrolled() == (201, 0, "unchanged")
    assert enrolled(product="p-2") == (201, 1, "enrolled")
    assert enrolled(price=5) == (201, 0, "changed")
    assert enrolled(price=5) == (201, 0, "unchanged")


def test_a_bulk_is_enrolled_in_its_order_and_may_be_repeated(service: Running) -> None:
    """The largest bulk; some of it new, some changed, some as it was."""
    venue = service.made_venue("p-3")
    path = f"/v1/venues/{venue}/runners/bulk"
    body = {"runners": [{**RUNNER, "product": f"p-{n}"} for n in range(1000)]}
    first = service.http.post(path, json=body)
    assert first.status_code == 201
    numbers = [each["runner"] for each in first.json()["runners"]]
    assert numbers == [1, 2, 3, 0, *range(4, 1000)]
    assert [each["state"] for each in first.json()["runners"]] == ["enrolled"] * 3 + ["changed"] + ["enrolled"] * 996
    second = service.http.post(path, json=body).json()["runners"]
    assert [each["runner"] for each in second] == numbers
    assert {each["state"] for each in second} == {"unchanged"}


def test_all_data_of_a_runner_comes_back_as_it_was_given(service: Running) -> None:
    venue = service.made_venue()
    runner = {
        "product": "p-1",
        "merchant": "m-7",
        "title": "降噪耳机 \u0001 <b>",
        "category": "audio",
        "series": "air",
        "tier": "A",
        "price": 19900,
        "list_price": 10**12,
        "stock": 0,
        "image": "https://img.example/1.webp",
        "url": "https://shop.example/1",
        "entry_score": -0.5,
        "attributes": {"new": True, "grade": 7.25, "brand": "海", "old": False},
    }
    assert service.http.post(f"/v1/venues/{venue}/runners", json=runner).status_code == 201
    assert service.http.get(f"/v1/venues/{venue}/runners").json()["runners"] == [{**runner, "runner": 0}]


def test_the_pages_of_runners_hold_each_once_in_enrolment_order(service: Running) -> None:
    products = [f"p-{n}" for n in (5, 3, 9, 1, 7)]
    venue = service.made_venue(*products)
    seen: list[str] = []
    cursor: str | None = "0"
    while cursor is not None:
        page = service.http.get(f"/v1/venues/{venue}/runners", params={"limit": 2, "cursor": cursor}).json()
        seen += [each["product"] for each in page["runners"]]
        cursor = page["next_cursor"]
    assert seen == products
    assert service.http.get(f"/v1/venues/{venue}/runners?cursor=1000").json() == {"runners": [], "next_cursor": None}


def test_changed_data_of_a_runner_shows_on_the_board(service: Running) -> None:
    venue = service.made_venue("p-1")
    until(lambda: service.slots(venue).json()["slots"], within_s=5, what="a board")
    service.http.post(f"/v1/venues/{venue}/runners", json={**RUNNER, "title": "Another", "price": 5})

    def first() -> tuple[str, int | None]:
        slot = service.slots(venue).json()["slots"][0]
        return slot["title"], slot.get("price")

    until(lambda: first() == ("Another", 5), within_s=5, what="the new title was shown")


def test_a_rule_that_was_read_can_be_put_back(service: Running) -> None:
    """Under its ETag; a new version is made, and the ETag of the old one is void."""
    venue = service.made_venue("p-1")
    path = f"/v1/venues/{venue}/rule"
    read = service.http.get(path)
    assert read.headers["etag"] == '"rule-1"'
    put = service.http.put(path, json=read.json(), headers={"If-Match": read.headers["etag"]})
    assert (put.status_code, put.json()["version"], put.headers["etag"]) == (200, 2, '"rule-2"')
    again = service.http.get(path)
    assert (again.json(), again.headers["etag"]) == (read.json(), '"rule-2"')
    problem(service.http.put(path, json=read.json(), headers={"If-Match": '"rule-1"'}), 412, "precondition_failed")


@pytest.mark.parametrize("if_match", [None, "*", '"rule-1"', '"rule-0", "rule-1"', '"rule-0","rule-1"'])
def test_if_match_may_be_left_out_or_name_several(service: Running, if_match: str | None) -> None:
    venue = service.made_venue()
    headers = {} if if_match is None else {"If-Match": if_match}
    assert service.http.put(f"/v1/venues/{venue}/rule", json=PLAIN_RULE, headers=headers).status_code == 200


def test_the_answer_to_a_rule_names_the_frame_that_shows_it(service: Running) -> None:
    """Whoever reads after the answer reads that frame or a later one, scored by the new rule."""
    venue = service.made_venue("p-1", "p-2")
    service.send(venue, {"type": "order", "product": "p-1"}, {"type": "pay", "product": "p-2", "amount": 5_000})
    until(lambda: service.scores(venue) == {"p-2": 5, "p-1": 1}, within_s=5, what="both scored")
    for version, weight in enumerate((10, -1, 2), start=2):
        rule = {"metrics": PLAIN_RULE["metrics"], "terms": [{"metric": "order", "signal": "total", "weight": weight}]}
        put = service.http.put(f"/v1/venues/{venue}/rule?note=try+{weight}", json=rule)
        assert (put.status_code, put.json()["version"]) == (200, version)
        board = service.slots(venue).json()
        assert board["rule_version"] == version
        assert (board["epoch"], board["frame"]) >= (put.json()["epoch"], put.json()["frame"])
        assert {slot["product"]: slot["score"] for slot in board["slots"]} == {"p-1": weight, "p-2": 0}
    assert service.http.get(f"/v1/venues/{venue}").json()["rule_version"] == 4


def test_of_many_changes_made_from_one_version_one_holds(service: Running) -> None:
    """The others are told that it has moved on, whether it did so before or while they were looked at."""
    venue = service.made_venue()

    def put(slots: int) -> httpx2.Response:
        rule = {**PLAIN_RULE, "board": {"slots": slots}}
        return service.http.put(f"/v1/venues/{venue}/rule", json=rule, headers={"If-Match": '"rule-1"'})

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(put, range(1, 17)))
    held = [answer.is_success for answer in answers].index(True)
    for index, answer in enumerate(answers):
        if index != held:
            assert 'the current rule is "rule-2"' in problem(answer, 412, "precondition_failed")["detail"]
    assert service.http.get(f"/v1/venues/{venue}/rule").json()["board"]["slots"] == held + 1
