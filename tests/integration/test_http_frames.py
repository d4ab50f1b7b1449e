"""Pages, past frames and choices over HTTP: whatever the race does, and on every API process."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.changes import applied
from tests.integration.following import Follower
from tests.integration.running import PLAIN_RULE, Running, another_api, running
from tests.unit.api.test_purge import Hook, hook
from tests.waiting import until

__all__ = ["hook"]
"""The fixture of the address that is called."""

PRODUCTS = [f"p-{n:02}" for n in range(30)]


@pytest.fixture(scope="module")
def venue(service: Running) -> str:
    """A venue of thirty products, half of them audio, with data."""
    made = service.made_venue()
    runners = [
        {
            "product": product,
            "merchant": f"m-{index % 3}",
            "title": f"The {product}",
            "category": "audio" if index % 2 else "video",
            "tier": "A" if index < 10 else "B",
            "price": 100 * (index + 1),
            "coupon": {"off": 500, "above": 1000},
        }
        for index, product in enumerate(PRODUCTS)
    ]
    assert service.http.post(f"/v1/venues/{made}/runners/bulk", json={"runners": runners}).status_code == 201
    until(lambda: len(read(service, made)["slots"]) == 30, within_s=5, what="all are on the board")
    return made


def read(service: Running, venue: str, **query: Any) -> dict[str, Any]:
    answer = service.http.get(f"/v1/venues/{venue}/slots", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def name_of(board: dict[str, Any]) -> str:
    return f"{board['epoch']}-{board['frame']}"


def order(service: Running, venue: str, product: str, count: int = 1) -> None:
    """So many orders of a product; returns when another frame shows them."""
    before = service.scores(venue)[product]
    events = [{"type": "order", "product": product}] * count
    until(lambda: service.send(venue, *events).status_code == 202, within_s=5, what="they were taken")
    until(lambda: service.scores(venue)[product] >= before + count, within_s=5, what=f"{product} scored")


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "field", "value"),
    [
        ({"cursor": "garbled"}, "query.cursor", '"garbled"'),
        ({"frame": "7"}, "query.frame", '"7"'),
        ({"frame": "1-1", "at_ms": 5}, "query.at_ms", "5"),
        ({"at_ms": -1}, "query.at_ms", '"-1"'),
        ({"fields": "title,colour"}, "query.fields", '"colour"'),
        ({"fields": ""}, "query.fields", '""'),
        ({"seen": "x-y"}, "query.seen", '"x-y"'),
        ({"limit": 0}, "query.limit", '"0"'),
        ({"category": ""}, "query.category", '""'),
        ({"segment": "new"}, "query.segment", '"new"'),
    ],
)
def test_what_cannot_be_meant_is_refused_by_field_and_value(
    service: Running, venue: str, query: dict[str, Any], field: str, value: str
) -> None:
    answer = service.http.get(f"/v1/venues/{venue}/slots", params=query)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["field"], error["value"]) == (field, value)


def test_an_unknown_field_is_answered_with_those_that_there_are(service: Running, venue: str) -> None:
    answer = service.http.get(f"/v1/venues/{venue}/slots", params={"fields": "colour"})
    assert "title, category" in answer.json()["detail"]


def test_a_cursor_goes_on_as_it_began(service: Running, venue: str) -> None:
    """In its own venue, with the same choice."""
    cursor = read(service, venue, limit=2, category="audio")["next"]
    other = service.made_venue("p-1")
    for path, query in ((other, {}), (venue, {"category": "video"}), (venue, {"fields": "title"})):
        answer = service.http.get(f"/v1/venues/{path}/slots", params={"cursor": cursor, **query})
        assert answer.status_code == 422, query
    assert read(service, venue, cursor=cursor, limit=1)["slots"][0]["filtered_slot"] == 3


def test_a_frame_that_is_not_kept_is_gone_and_the_current_one_is_named(service: Running, venue: str) -> None:
    current = name_of(read(service, venue))
    for query in ({"frame": "1-1"}, {"at_ms": 5}, {"frame": "99999999999999-1"}):
        answer = service.http.get(f"/v1/venues/{venue}/slots", params=query)
        assert (answer.status_code, answer.json()["code"]) == (410, "gone")
        assert answer.headers["saima-frame"] == current
        assert current in answer.json()["detail"]


@pytest.mark.parametrize("venues", ["", "a b", "hall-1,", ",".join(f"v-{n}" for n in range(21)), "é", "a{b"])
def test_several_venues_are_refused_by_name(service: Running, venues: str) -> None:
    answer = service.http.get("/v1/slots", params={"venues": venues})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "query.venues")


# -- pages ---------------------------------------------------------------------------------------------------


def test_pages_go_on_in_their_frame_whatever_the_race_does(service: Running, venue: str) -> None:
    """Every product once, though the board is turned around between the pages; then a newer frame is told of."""
    first = read(service, venue, limit=7)
    assert (first["evolved"], len(first["slots"])) == (False, 7)
    whole, cursor = first["slots"], first["next"]
    for product in ("p-29", "p-28", "p-27"):
        order(service, venue, product, 5)
        page = read(service, venue, limit=7, cursor=cursor)
        assert (name_of(page), page["evolved"]) == (name_of(first), True)
        whole, cursor = whole + page["slots"], page["next"]
    rest = read(service, venue, cursor=cursor)
    assert rest["next"] is None
    whole += rest["slots"]
    assert [slot["slot"] for slot in whole] == list(range(1, 31))
    assert sorted(slot["product"] for slot in whole) == PRODUCTS
    assert read(service, venue, frame=name_of(first), limit=30)["slots"] == whole
    assert [slot["product"] for slot in read(service, venue, limit=3)["slots"]] != [s["product"] for s in whole[:3]]


def test_a_frame_is_read_by_its_name_and_by_its_moment(service: Running, venue: str) -> None:
    before = read(service, venue)
    order(service, venue, "p-20", 40)
    after = read(service, venue)
    for query in ({"frame": name_of(before)}, {"at_ms": before["at_ms"]}, {"at_ms": after["at_ms"] - 1}):
        found = read(service, venue, **query)
        assert found == {**before, "evolved": True}
    assert read(service, venue, frame=name_of(after)) == after


def test_an_excluded_product_keeps_its_slot_in_older_frames_and_is_marked(service: Running) -> None:
    venue = service.made_venue("p-1", "p-2", "p-3")
    until(lambda: len(read(service, venue)["slots"]) == 3, within_s=5, what="all are on the board")
    first = read(service, venue, limit=1)
    order(service, venue, "p-1")  # so that the first page is of an older frame
    ordered = {"put": [{"id": "off", "kind": "exclude", "product": "p-2", "reason": "recalled"}]}
    assert service.http.post(f"/v1/venues/{venue}/orders", json=ordered).status_code in {200, 202}
    page = until(
        lambda: next(
            (found for found in [read(service, venue, cursor=first["next"])] if "gone" in found["slots"][0]), None
        ),
        within_s=2,
        what="it is marked",
    )
    assert [(slot["slot"], slot["product"], slot.get("gone")) for slot in page["slots"]] == [
        (2, "p-2", True),
        (3, "p-3", None),
    ]


# -- choices -------------------------------------------------------------------------------------------------


def test_fields_are_chosen_and_coupons_reckoned(service: Running, venue: str) -> None:
    whole = {slot["product"]: slot for slot in read(service, venue)["slots"]}
    assert (whole["p-08"]["coupon"], "price_after_coupon" in whole["p-08"]) == ({"off": 500, "above": 1000}, False)
    assert whole["p-09"]["price_after_coupon"] == 500
    chosen = read(service, venue, fields="price,title")
    assert all(slot.keys() == {"slot", "product", "title", "price"} for slot in chosen["slots"])
    assert {name: value for name, value in chosen.items() if name != "slots"} == {
        name: value for name, value in read(service, venue).items() if name != "slots"
    }


def test_a_filter_keeps_the_slots_and_numbers_what_is_left(service: Running, venue: str) -> None:
    whole = read(service, venue)["slots"]
    found = read(service, venue, category="audio", tier="A")["slots"]
    wanted = [slot for slot in whole if slot["category"] == "audio" and slot["tier"] == "A"]
    assert found == [{**slot, "filtered_slot": index + 1} for index, slot in enumerate(wanted)]
    assert len(found) == 5


def test_several_venues_are_answered_in_one_read(service: Running, venue: str) -> None:
    other = service.made_venue("p-1")
    until(lambda: read(service, other)["slots"], within_s=5, what="it is on the board")
    answer = service.http.get("/v1/slots", params={"venues": f"{other},{venue},none,{other}", "limit": 2})
    found = answer.json()
    assert found == {"boards": [read(service, name, limit=2) for name in (other, venue)], "missing": ["none"]}
    same = service.http.get(
        "/v1/slots",
        params={"venues": f"{other},{venue},none", "limit": 2},
        headers={"If-None-Match": answer.headers["etag"]},
    )
    assert (same.status_code, same.content) == (304, b"")


# -- caches --------------------------------------------------------------------------------------------------


def test_an_etag_covers_product_data(service: Running) -> None:
    venue = service.made_venue("p-1")
    until(lambda: read(service, venue)["slots"], within_s=5, what="it is on the board")
    before = service.slots(venue).headers["etag"]
    assert service.http.patch(f"/v1/venues/{venue}/runners/p-1", json={"price": 900}).status_code == 200
    until(lambda: read(service, venue)["slots"][0].get("price") == 900, within_s=5, what="its price is shown")
    assert service.slots(venue, **{"If-None-Match": before}).status_code == 200


def test_head_tells_the_frame_without_its_body(service: Running, venue: str) -> None:
    path = f"/v1/venues/{venue}/slots"
    plain = {"Accept-Encoding": "identity"}
    got, told = service.http.get(path, headers=plain), service.http.head(path, headers=plain)
    assert told.content == b""
    for name in ("etag", "cache-control", "content-type", "vary", "content-length"):
        assert told.headers[name] == got.headers[name]
    same = service.http.head(path, headers={**plain, "If-None-Match": got.headers["etag"]})
    assert same.status_code == 304


@pytest.mark.parametrize("query", ["", "?limit=3", "?category=audio", "?fields=title"])
def test_a_body_is_packed_for_who_takes_it(service: Running, venue: str, query: str) -> None:
    path = f"/v1/venues/{venue}/slots{query}"
    plain = service.http.get(path, headers={"Accept-Encoding": "identity"})
    with service.http.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as packed:
        raw = b"".join(packed.iter_raw())
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw) == plain.content
    assert packed.headers["etag"] != plain.headers["etag"]


def test_caches_are_told_at_once_of_what_was_excluded(tmp_path: Path, hook: Hook) -> None:
    with running(tmp_path, purge_url=hook.url) as service:
        venue = service.made_venue("p-1", "p-2")
        until(lambda: len(read(service, venue)["slots"]) == 2, within_s=5, what="all are on the board")
        put = {"put": [{"id": "off", "kind": "exclude", "product": "p-2", "reason": "recalled"}]}
        assert service.http.post(f"/v1/venues/{venue}/orders", json=put).status_code == 200
        (told,) = until(lambda: hook.told, within_s=5, what="the hook was called")
        assert (told["venue"], told["products"]) == (venue, ["p-2"])
        assert told["frame"] <= name_of(read(service, venue))


# -- several processes ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, httpx2.Client]]:
    """A deployment, and a second API process on its own that follows nothing: all that it knows, it was asked for."""
    with running(tmp_path_factory.mktemp("pair")) as service, another_api(service, follows=False) as other:
        yield service, other


def test_a_venue_made_through_one_process_is_there_for_another_that_has_just_looked(
    pair: tuple[Running, httpx2.Client],
) -> None:
    service, other = pair
    assert other.get("/v1/venues/none").status_code == 404
    assert other.get(f"/v1/venues/{service.made_venue()}").status_code == 200


def test_a_process_that_lags_fetches_what_a_client_has_seen(pair: tuple[Running, httpx2.Client]) -> None:
    """By its ETag, by `seen`, and by a cursor; and answers the same under the same ETag."""
    service, other = pair
    venue = service.made_venue("p-1", "p-2", "p-3")
    until(lambda: len(read(service, venue)["slots"]) == 3, within_s=5, what="all are on the board")
    path = f"/v1/venues/{venue}/slots"
    assert other.get(path).status_code == 200
    for way in ("etag", "seen", "cursor"):
        order(service, venue, "p-2")
        ahead = service.http.get(path, params={"limit": 1})
        assert name_of(other.get(path).json()) < name_of(ahead.json()), "it lags, or this shows nothing"
        headers = {"If-None-Match": ahead.headers["etag"]} if way == "etag" else {}
        query = {"seen": {"seen": name_of(ahead.json())}, "cursor": {"cursor": ahead.json()["next"]}}.get(way, {})
        answer = other.get(path, params={"limit": 1, **query}, headers=headers)
        if way == "etag":
            assert answer.status_code == 304
            assert answer.headers["etag"] == ahead.headers["etag"]
        else:
            assert name_of(answer.json()) == name_of(ahead.json())
        if way == "cursor":
            assert answer.content == service.http.get(path, params={"limit": 1, **query}).content


def test_every_process_answers_a_past_frame_alike(pair: tuple[Running, httpx2.Client]) -> None:
    service, other = pair
    venue = service.made_venue("p-1", "p-2", "p-3")
    until(lambda: len(read(service, venue)["slots"]) == 3, within_s=5, what="all are on the board")
    frame = name_of(read(service, venue))
    order(service, venue, "p-3")
    seen = name_of(read(service, venue))
    path, query = f"/v1/venues/{venue}/slots", {"frame": frame, "seen": seen}
    one, same = service.http.get(path, params=query), other.get(path, params=query)
    assert (one.content, one.headers["etag"]) == (same.content, same.headers["etag"])
    assert one.json()["evolved"] is True


def test_a_process_that_starts_while_redis_is_away_shows_what_was_shown_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its age, and all that a page needs; and goes on when Redis is back."""
    monkeypatch.setattr("api.last_frames.EVERY_S", 0.0)
    with running(tmp_path) as service:
        venue = service.made_venue("p-1", "p-2")
        until(lambda: len(read(service, venue)["slots"]) == 2, within_s=5, what="all are on the board")
        board = read(service, venue)
        kept = tmp_path / "last-frames" / f"venue-{venue}.json"
        until(lambda: kept.exists() and b'"p-2"' in kept.read_bytes(), within_s=5, what="it is kept")
        service.server.stop()
        with another_api(service, follows=True) as other:
            path = f"/v1/venues/{venue}/slots"
            answer = until(lambda: other.get(path), within_s=5, what="it answers")
            found = answer.json()
            assert found["slots"] == board["slots"]
            assert int(answer.headers["saima-age-ms"]) >= 0
            until(
                lambda: other.get(path).json()["served"] == "last_frame", within_s=5, what="it is told that it is old"
            )
            assert other.get("/v1/venues/none/slots").status_code == 503, "nobody can tell"
            service.server.start()
            until(lambda: other.get(path).json()["served"] == "race", within_s=10, what="it goes on")
            order(service, venue, "p-2")
            scored = {"score": 1.0, "product": "p-2"}
            until(lambda: scored.items() <= other.get(path).json()["slots"][0].items(), within_s=5, what="it moves")
            tokens = {"tokens": "true"}
            until(
                lambda: "token" in other.get(path, params=tokens).json()["slots"][0], within_s=5, what="it has tokens"
            )


def test_what_a_client_has_is_newer_than_what_can_be_had(tmp_path: Path) -> None:
    """While Redis is away it keeps that; who names a frame without having it is told to come again."""
    with running(tmp_path) as service, another_api(service, follows=False) as other:
        venue = service.made_venue("p-1", rule=PLAIN_RULE)
        until(lambda: read(service, venue)["slots"], within_s=5, what="it is on the board")
        path = f"/v1/venues/{venue}/slots"
        assert other.get(path).status_code == 200
        order(service, venue, "p-1")
        ahead = service.slots(venue)
        service.server.stop()
        kept = other.get(path, headers={"If-None-Match": ahead.headers["etag"]})
        assert (kept.status_code, kept.headers["etag"]) == (304, ahead.headers["etag"])
        assert kept.headers["saima-stale"] == "true"
        told = other.get(path, params={"seen": name_of(ahead.json())})
        assert (told.status_code, told.headers["retry-after"]) == (503, "1")
        assert other.get(path).status_code == 200, "who has seen nothing gets what there is"


# -- segments ------------------------------------------------------------------------------------------------


def test_a_segment_is_served_its_own_board_on_every_page(service: Running) -> None:
    """New shoppers order p-02 where all others order p-01."""
    rule = {
        "metrics": {"order": {"event": "order"}},
        "terms": [{"metric": "order", "signal": "level", "weight": 1}],
        "window_s": 60,
        "bucket_s": 1,
        "segments": {"names": ["new", "returning"], "prior": 1},
    }
    made = service.made_venue(rule=rule)
    runners = [{"product": product, "merchant": "m", "title": product} for product in PRODUCTS[:4]]
    assert service.http.post(f"/v1/venues/{made}/runners/bulk", json={"runners": runners}).status_code == 201
    service.send(made, *[{"type": "order", "product": "p-01", "segment": "returning"}] * 9)
    service.send(made, *[{"type": "order", "product": "p-02", "segment": "new"}] * 4)

    def products(**query: Any) -> list[str]:
        return [slot["product"] for slot in read(service, made, **query)["slots"]]

    until(lambda: products(segment="new")[:1] == ["p-02"], within_s=8, what="what new shoppers order counts for them")
    board = read(service, made, segment="new", limit=1)
    assert (board["segment"], board["slots"][0]["product"]) == ("new", "p-02")
    rest = read(service, made, cursor=board["next"])
    assert rest["segment"] == "new"
    assert [slot["product"] for slot in rest["slots"]] == ["p-01", "p-00", "p-03"]
    assert "segment" not in read(service, made)
    assert products() == ["p-01", "p-02", "p-00", "p-03"]

    for path in ("slots", "changes", "live"):
        refused = service.http.get(f"/v1/venues/{made}/{path}", params={"segment": "old"})
        assert (refused.status_code, refused.json()["errors"][0]["expected"]) == (422, "must be one of new, returning")


def test_a_segments_board_is_followed_as_the_whole_venues_is(service: Running) -> None:
    """By a stream and by changes: old and delta make what GET slots answers."""
    made = service.made_venue("p-1", "p-2", rule={**PLAIN_RULE, "segments": {"names": ["new"], "prior": 1}})
    until(lambda: len(read(service, made, segment="new")["slots"]) == 2, within_s=5, what="all were shown")
    old = service.http.get(f"/v1/venues/{made}/changes", params={"segment": "new"}).json()["full"]
    whole = service.http.get(f"/v1/venues/{made}/changes").json()["full"]
    assert (old["segment"], "segment" in whole) == ("new", False)
    with Follower(service.url, f"/v1/venues/{made}/live?segment=new") as follower:
        service.send(made, *[{"type": "order", "product": "p-2", "segment": "new"}] * 3)
        live = follower.until(lambda board: board["slots"][0]["product"] == "p-2")
    assert live["segment"] == "new"
    query = {"segment": "new", "since": name_of(old)}
    told = service.http.get(f"/v1/venues/{made}/changes", params=query).json()
    board = applied(old, told)
    wanted = read(service, made, segment="new", frame=told["next"])
    assert board["slots"] == [{name: slot[name] for name in slot.keys() - {"terms"}} for slot in wanted["slots"]]
