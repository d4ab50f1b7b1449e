"""Front ends over HTTP: the board with its name and age, conditional requests, and the pages."""

from __future__ import annotations

import time

import pytest

from tests.integration.running import Running
from tests.waiting import until


@pytest.fixture(scope="module")
def venue(service: Running) -> str:
    """A venue of twelve products whose board stands still: p-11 leads with 11 orders, p-0 has none."""
    products = [f"p-{n}" for n in range(12)]
    made = service.made_venue(*products)
    service.send(made, *({"type": "order", "product": f"p-{n}"} for n in range(12) for _ in range(n)))
    until(lambda: service.scores(made).get("p-11") == 11, within_s=10, what="the board stood")
    return made


def test_the_board_names_its_frame_and_shows_the_slots_in_order(service: Running, venue: str) -> None:
    """Scores fall from slot to slot, and each is the sum of its terms."""
    board = service.slots(venue).json()
    assert board["venue"] == venue
    assert board["frame"] >= 1
    assert board["epoch"] > 0
    assert (board["rule_version"], board["runners"], board["stale"]) == (1, 12, False)
    assert [(slot["slot"], slot["product"], slot["score"]) for slot in board["slots"]] == [
        (n + 1, f"p-{11 - n}", 11 - n) for n in range(12)
    ]
    for slot in board["slots"]:
        assert (slot["merchant"], slot["title"]) == ("m-1", f"The {slot['product']}")
        assert sum(term["contribution"] for term in slot["terms"]) == slot["score"]


@pytest.mark.parametrize("limit", [1, 5, 12, 1000])
def test_a_limit_cuts_the_board(service: Running, venue: str, limit: int) -> None:
    whole = service.slots(venue).json()
    part = service.http.get(f"/v1/venues/{venue}/slots?limit={limit}").json()
    assert part == {**whole, "slots": whole["slots"][:limit], "next": part["next"]}
    assert (part["next"] is None) == (limit >= 12)


def test_caches_are_told_how_long_and_which_frame(service: Running, venue: str) -> None:
    """A shared cache asks at most once a second; the ETag begins with the frame's name, the age is that of the data."""
    answer = service.slots(venue)
    board = answer.json()
    assert answer.headers["cache-control"] == (
        "public, max-age=0, s-maxage=1, stale-while-revalidate=1, stale-if-error=60"
    )
    assert answer.headers["etag"].startswith(f'"{board["epoch"]}-{board["frame"]}-')
    assert answer.headers["vary"] == "Accept-Encoding"
    assert abs(int(answer.headers["saima-now-ms"]) - time.time_ns() // 10**6) < 5_000
    assert 0 <= int(answer.headers["saima-age-ms"]) < 3_000
    assert "saima-stale" not in answer.headers


@pytest.mark.parametrize("form", ["{}", "W/{}", '"0-0", {}', '{},W/"0-0"', "*"])
def test_whoever_has_the_frame_is_not_sent_it_again(service: Running, venue: str, form: str) -> None:
    """If-None-Match compares weakly, takes a list, and takes a star."""
    etag = service.slots(venue).headers["etag"]
    answer = service.slots(venue, **{"If-None-Match": form.format(etag)})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == etag
    assert "cache-control" in answer.headers


@pytest.mark.parametrize("tag", ['"0-0"', "0-0", "", '""', "W/*", "x" * 1000])
def test_whoever_has_another_frame_is_sent_this_one(service: Running, venue: str, tag: str) -> None:
    answer = service.slots(venue, **{"If-None-Match": tag})
    assert answer.status_code == 200
    assert answer.json()["slots"]


def test_the_etag_moves_with_the_board(service: Running) -> None:
    """A frame never changes: the same ETag is the same body."""
    venue = service.made_venue("p-1")
    until(lambda: service.slots(venue).json()["slots"], within_s=5, what="a board")
    before = service.slots(venue)
    assert service.slots(venue).content == before.content
    service.send(venue, {"type": "order", "product": "p-1"})
    until(lambda: service.scores(venue)["p-1"] == 1, within_s=5, what="the order scored")
    after = service.slots(venue, **{"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert after.headers["etag"] != before.headers["etag"]


def test_a_venue_without_products_has_an_empty_board(service: Running) -> None:
    board = service.slots(service.made_venue()).json()
    assert (board["slots"], board["runners"], board["stale"]) == ([], 0, False)


def test_a_board_has_no_more_slots_than_its_rule(service: Running) -> None:
    rule = {
        "metrics": {"order": {"event": "order"}},
        "terms": [{"metric": "order", "signal": "total", "weight": 1}],
        "board": {"slots": 2},
    }
    venue = service.made_venue("p-1", "p-2", "p-3", rule=rule)
    until(lambda: len(service.slots(venue).json()["slots"]) == 2, within_s=5, what="two slots")
    assert [slot["product"] for slot in service.slots(venue).json()["slots"]] == ["p-1", "p-2"]


@pytest.mark.parametrize("path", ["/", "/pages/race.js", "/pages/race.css", "/pages/index.html", "/pages/horse.svg"])
def test_the_pages_are_served_and_their_types_are_not_guessed(service: Running, path: str) -> None:
    answer = service.http.get(path)
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/pages/index.html"])
def test_a_page_runs_only_what_this_service_serves(service: Running, path: str) -> None:
    """No script from elsewhere, no frame around it, no address of it passed on."""
    headers = service.http.get(path).headers
    assert headers["content-type"].startswith("text/html")
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["referrer-policy"] == "no-referrer"


def test_the_page_is_asked_for_anew_each_time(service: Running) -> None:
    assert service.http.get("/").headers["cache-control"] == "no-cache"
