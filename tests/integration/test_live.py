"""Following a venue: a stream or GET changes, and how each begins, goes on and ends."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from api.changes import applied
from racing.store import keyring
from tests.integration.following import Event, Follower
from tests.integration.keyed import CLOSED, OPEN, OTHER, OWN, Keyed, keyed, now_ms
from tests.integration.running import Running, running
from tests.waiting import until

ORDER = {"type": "order"}


def name_of(board: dict[str, Any]) -> str:
    return f"{board['epoch']}-{board['frame']}"


def leads(product: str) -> Any:
    """Whether a board shows this product first, with data that moves."""
    return lambda board: board["slots"] and board["slots"][0]["product"] == product and not board["stale"]


def end_of(follower: Follower) -> Event:
    """The good-bye, after whatever comes before."""
    event = follower.next()
    while event.kind != "bye":
        event = follower.next()
    return event


def brief(board: dict[str, Any]) -> dict[str, Any]:
    """A board without what only one of two answers carries."""
    slots = [{name: slot[name] for name in slot.keys() - {"terms"}} for slot in board["slots"]]
    return {**{name: board[name] for name in ("venue", "frame", "epoch", "position", "stale")}, "slots": slots}


def slots(service: Running, venue: str) -> dict[str, Any]:
    """What a reader has."""
    found: dict[str, Any] = service.http.get(f"/v1/venues/{venue}/slots").json()
    return found


@pytest.fixture
def venue(service: Running) -> str:
    """A venue in which p-1 leads p-2 and p-3."""
    made = service.made_venue("p-1", "p-2", "p-3")
    service.send(made, {**ORDER, "product": "p-1"})
    until(
        lambda: leads("p-1")(service.http.get(f"/v1/venues/{made}/slots").json()),
        within_s=5,
        what="p-1 was shown first",
    )
    return made


class TestRefusals:
    """Before a stream begins, in the one shape of errors."""

    @pytest.mark.parametrize("query", ["limit=7", "limit=0", "limit=1001", "limit=x", "since=1", "since=a-b"])
    def test_what_is_asked_wrong_is_told(self, service: Running, venue: str, query: str) -> None:
        with Follower(service.url, f"/v1/venues/{venue}/live?{query}") as refused:
            assert refused.status == 422
            assert refused.problem()["errors"][0]["field"] == f"query.{query.partition('=')[0]}"

    def test_a_venue_that_is_not_is_not_found(self, service: Running) -> None:
        for path in ("live", "changes"):
            with Follower(service.url, f"/v1/venues/hall-none/{path}") as refused:
                assert (refused.status, refused.problem()["code"]) == (404, "not_found")

    @pytest.mark.parametrize("since", ["1", "a-b", "1-2-3", "-", "9" * 21 + "-1", "%31-1;"])
    def test_a_since_that_names_no_frame_is_told(self, service: Running, venue: str, since: str) -> None:
        answer = service.http.get(f"/v1/venues/{venue}/changes", params={"since": since})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "query.since"


class TestStream:
    def test_it_begins_with_the_whole_board_and_goes_on_with_what_changes(self, service: Running, venue: str) -> None:
        """A follower has what a reader has, without asking again."""
        with Follower(service.url, f"/v1/venues/{venue}/live") as follower:
            first = follower.next()
            assert (first.kind, first.id) == ("frame", name_of(first.data))
            for product in ("p-3", "p-2", "p-2", "p-1", "p-1"):
                service.send(venue, {**ORDER, "product": product})
            follower.until(leads("p-1"))
            service.send(venue, *[{**ORDER, "product": "p-2"}] * 3)
            board = follower.until(lambda board: leads("p-2")(board) and board["slots"][0]["score"] == 5.0)
            assert brief(slots(service, venue)) == brief(board)

    def test_its_head_keeps_proxies_from_holding_it_back(self, service: Running, venue: str) -> None:
        with Follower(service.url, f"/v1/venues/{venue}/live") as follower:
            head = {name.lower(): value for name, value in follower.answer.getheaders()}
            assert head["content-type"] == "text/event-stream"
            assert head["cache-control"] == "no-cache, no-transform"
            assert head["x-accel-buffering"] == "no"
            assert head["x-content-type-options"] == "nosniff"
            follower.next()
            assert follower.retry_ms is not None
            assert 1_000 <= follower.retry_ms <= 5_000

    def test_a_change_tells_what_left_moved_entered_and_is_different(self, service: Running, venue: str) -> None:
        with Follower(service.url, f"/v1/venues/{venue}/live?limit=10&tokens=true") as follower:
            board = follower.until(leads("p-1"))
            service.send(venue, *[{**ORDER, "product": "p-3"}] * 2)
            told = follower.next()
            while not told.data["moves"]:
                told = follower.next()
            assert told.kind == "changes"
            assert told.id == told.data["next"] == name_of(told.data["head"])
            moves = {move["product"]: (move["was"], move["slot"]) for move in told.data["moves"]}
            assert moves == {"p-3": (3, 1), "p-1": (1, 2), "p-2": (2, 3)}
            assert {fields["product"] for fields in told.data["changed"]} == {
                "p-1",
                "p-2",
                "p-3",
            }  # tokens of new slots
            assert "score" in next(fields for fields in told.data["changed"] if fields["product"] == "p-3")
            assert board["slots"][2]["token"] != follower.board["slots"][0]["token"]

    def test_a_client_that_comes_again_is_told_what_has_changed_meanwhile(self, service: Running, venue: str) -> None:
        with Follower(service.url, f"/v1/venues/{venue}/live") as follower:
            board = follower.until(leads("p-1"))
        service.send(venue, *[{**ORDER, "product": "p-3"}] * 2)
        until(lambda: leads("p-3")(slots(service, venue)), within_s=5, what="p-3 led")
        path = f"/v1/venues/{venue}/live"
        for again in (
            Follower(service.url, path, {"Last-Event-ID": name_of(board)}),
            Follower(service.url, f"{path}?since={name_of(board)}"),
        ):
            with again:
                told = again.next()
                assert told.kind == "changes"
                assert told.data["since"] == name_of(board)
                assert leads("p-3")(applied(board, told.data))

    @pytest.mark.parametrize("has", ["1-1", "0-0", "9999999999999999-1", "nonsense", ""])
    def test_a_frame_that_is_not_kept_is_answered_by_the_whole_board(
        self, service: Running, venue: str, has: str
    ) -> None:
        """Whatever Last-Event-ID says: a browser sends it by itself."""
        with Follower(service.url, f"/v1/venues/{venue}/live", {"Last-Event-ID": has}) as follower:
            assert follower.next().kind == "frame"

    def test_a_client_is_told_ten_times_a_second_at_most_and_of_the_last(self, service: Running, venue: str) -> None:
        """Frames come as often as something changes in this service."""
        with Follower(service.url, f"/v1/venues/{venue}/live") as follower:
            follower.until(leads("p-1"))
            begun_s, events = time.monotonic(), 0
            for _ in range(100):
                service.send(venue, {**ORDER, "product": "p-2"})
            while follower.board["slots"][0].get("score") != 100.0:
                follower.next()
                events += 1
            assert events <= 10 * (time.monotonic() - begun_s) + 2

    def test_what_a_client_sends_after_its_request_is_passed_over(self, service: Running, venue: str) -> None:
        place = urlsplit(service.url)
        request = f"GET /v1/venues/{venue}/live HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        with socket.create_connection((place.hostname, place.port), timeout=5) as client:
            client.sendall(request * 2)
            heard = client.recv(65_536)
            client.sendall(b"\0" * 70_000)
            service.send(venue, {**ORDER, "product": "p-2"})
            while b"event: changes" not in heard:
                came = client.recv(65_536)
                assert came, "the stream was ended"
                heard += came
            assert heard.count(b"HTTP/1.1 200") == 1

    def test_gone_clients_are_forgotten(self, service: Running, venue: str) -> None:
        gauge = f'saima_live_streams{{venue="{venue}"}}'

        def told() -> float:
            lines = service.http.get("/metrics").text.splitlines()
            return float(next(line for line in lines if line.startswith(gauge)).split()[-1])

        followers = [Follower(service.url, f"/v1/venues/{venue}/live") for _ in range(3)]
        assert told() == 3
        for follower in followers:
            follower.close()
        until(lambda: told() == 0, within_s=5, what="nobody followed any more")


class TestSilentClients:
    def test_one_that_never_reads_holds_nobody_back_and_is_given_the_latest_when_it_does(
        self, service: Running
    ) -> None:
        """The board is large, so that its connection is soon full."""
        products = [f"p-{number:03d}-{'x' * 50}" for number in range(400)]
        made = service.made_venue(*products)
        path = f"/v1/venues/{made}/live?limit=500"
        with Follower(service.url, path, receive_bytes=4_096) as silent, Follower(service.url, path) as follower:
            for turn in range(1, 41):
                service.send(made, *({**ORDER, "product": product} for product in products[turn::2]))
                follower.until(lambda board, turn=turn: board["slots"] and board["slots"][0]["score"] >= turn // 2)
            service.send(made, *[{**ORDER, "product": products[7]}] * 50)
            board = follower.until(leads(products[7]))
            late = silent.until(lambda late: late["frame"] == board["frame"])
            assert brief(late) == brief(board)
            assert follower.events >= 20
            assert silent.events < follower.events / 2


# -- changes for those who cannot hold a stream ------------------------------------------------------------------


class TestChanges:
    def test_whoever_asks_what_changed_has_what_a_reader_has(self, service: Running, venue: str) -> None:
        answer = service.http.get(f"/v1/venues/{venue}/changes")
        assert answer.json()["since"] is None
        board = answer.json()["full"]
        for product in ("p-3", "p-2", "p-3"):
            service.send(venue, {**ORDER, "product": product})
            time.sleep(0.05)  # some frames may be passed over, some not
            told = service.http.get(f"/v1/venues/{venue}/changes", params={"since": name_of(board)}).json()
            assert told["since"] == name_of(board)
            board = applied(board, told)
        until(lambda: leads("p-3")(slots(service, venue)), within_s=5, what="p-3 led")
        told = service.http.get(f"/v1/venues/{venue}/changes", params={"since": name_of(board)}).json()
        board = applied(board, told)
        assert brief(slots(service, venue)) == brief(board)

    @pytest.mark.parametrize("since", ["1-1", "9999999999999999-1"])
    def test_a_frame_that_is_not_kept_is_answered_by_the_whole_board(
        self, service: Running, venue: str, since: str
    ) -> None:
        told = service.http.get(f"/v1/venues/{venue}/changes", params={"since": since, "limit": 2}).json()
        assert (told["since"], len(told["full"]["slots"])) == (None, 2)
        assert told["next"] == name_of(told["full"])

    def test_nothing_new_is_304_and_may_be_kept_by_caches(self, service: Running, venue: str) -> None:
        path = f"/v1/venues/{venue}/changes"
        name = service.http.get(path).json()["next"]
        answer = service.http.get(path, params={"since": name})
        assert answer.headers["cache-control"].startswith("public, max-age=0, s-maxage=1")
        again = service.http.get(path, params={"since": name}, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == answer.headers["etag"]
        whole = service.http.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert whole.status_code == 200  # another answer than that of since


# -- bounds and ends ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="class")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that keeps four streams, two of each address."""
    with running(tmp_path_factory.mktemp("narrow"), live_streams_max=4, live_streams_per_caller=2) as made:
        yield made


class TestBounds:
    def test_one_more_of_an_address_is_refused_until_one_of_its_own_ends(self, narrow: Running) -> None:
        path = f"/v1/venues/{narrow.made_venue('p-1')}/live"
        with Follower(narrow.url, path) as first, Follower(narrow.url, path):
            assert first.next().kind == "frame"
            with Follower(narrow.url, path) as refused:
                assert (refused.status, refused.problem()["code"]) == (429, "too_many_requests")
                assert int(refused.answer.headers["retry-after"]) >= 1

        def taken() -> bool:
            with Follower(narrow.url, path) as again:
                return again.status == 200

        until(taken, within_s=5, what="there was room again")
        told = narrow.http.get("/metrics").text
        assert 'saima_live_refused_total{reason="caller",' in told

    def test_one_more_of_a_process_is_refused(self, tmp_path: Path) -> None:
        with running(tmp_path, live_streams_max=1, live_streams_per_caller=0) as service:
            path = f"/v1/venues/{service.made_venue('p-1')}/live"
            with Follower(service.url, path) as first, Follower(service.url, path) as refused:
                assert first.next().kind == "frame"
                assert (refused.status, refused.problem()["code"]) == (503, "overloaded")
                assert int(refused.answer.headers["retry-after"]) >= 1
            assert service.http.get(f"{path[:-5]}/changes").status_code == 200


class TestEnds:
    def test_a_service_that_ends_says_so_and_when_to_come_again(self, tmp_path: Path) -> None:
        """Also to one that does not read; and is gone within the time that it is given."""
        with running(tmp_path) as service:
            path = f"/v1/venues/{service.made_venue('p-1')}/live"
            with Follower(service.url, path) as follower, Follower(service.url, path):
                follower.next()
                begun_s = time.monotonic()
                service.ending()
                event = end_of(follower)
                assert event.data == {"reason": "shutdown"}
                assert event.retry_ms is not None
                assert 1_000 <= event.retry_ms <= 5_000
                with pytest.raises(EOFError):
                    follower.next()
                until(service.ended, within_s=5, what="the service had ended")
                assert time.monotonic() - begun_s < 5

    def test_a_service_about_to_end_begins_no_stream(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("api.drain.DRAIN_S", 5.0)
        with running(tmp_path) as service:
            path = f"/v1/venues/{service.made_venue('p-1')}/live"
            service.ending()
            with Follower(service.url, path) as refused:
                assert (refused.status, refused.problem()["code"]) == (503, "overloaded")


# -- keys and tickets ----------------------------------------------------------------------------------------------


def ticket_of(service: Keyed, caller: str, venue: str) -> str:
    """A new ticket."""
    answer = service.ask(caller, "POST", f"/v1/venues/{venue}/tickets")
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["ticket"]
    return found


def live(service: Keyed, venue: str, query: str = "", caller: str = "anonymous") -> Follower:
    return Follower(service.service.url, f"/v1/venues/{venue}/live{query}", service.headers(caller))


class TestPrivateStreams:
    def test_a_closed_venue_looks_absent_without_a_ticket(self, keyed_service: Keyed) -> None:
        with live(keyed_service, CLOSED) as refused:
            assert (refused.status, refused.problem()["code"]) == (404, "not_found")

    @pytest.mark.parametrize("ticket", ["", "x", "x" * 43, "x" * 65, "%C3%A9", "a%00b"])
    def test_what_is_no_ticket_is_refused(self, keyed_service: Keyed, ticket: str) -> None:
        with live(keyed_service, CLOSED, f"?ticket={ticket}") as refused:
            assert (refused.status, refused.problem()["code"]) == (401, "unauthorized")

    def test_a_ticket_opens_one_stream_of_its_venue(self, keyed_service: Keyed) -> None:
        ticket = ticket_of(keyed_service, "slots", CLOSED)
        with live(keyed_service, CLOSED, f"?ticket={ticket}") as follower:
            assert follower.next().kind == "frame"
            with live(keyed_service, CLOSED, f"?ticket={ticket}") as again:
                assert again.status == 401
        elsewhere = ticket_of(keyed_service, "slots", CLOSED)

        def status_at(venue: str) -> int | None:
            """None for a 503: all parts share this process, and a look for a venue may not come about in time."""
            with live(keyed_service, venue, f"?ticket={elsewhere}") as refused:
                return None if refused.status == 503 else refused.status

        for venue in (OPEN, OTHER, "hall-none"):
            assert until(partial(status_at, venue), within_s=30, what="it was refused") == 401

    @pytest.mark.parametrize(
        ("caller", "sees"), [("slots", False), ("merchant", False), ("operator", True), ("admin", True)]
    )
    def test_a_ticket_shows_scores_to_those_whose_key_may_see_them(
        self, keyed_service: Keyed, caller: str, sees: bool
    ) -> None:
        ticket = ticket_of(keyed_service, caller, OPEN)
        with live(keyed_service, OPEN, f"?ticket={ticket}") as follower:
            board = follower.until(lambda board: len(board["slots"]) >= 2)
            assert ("score" in board["slots"][0]) is sees
            assert ("stock" in board["slots"][0]) is sees
            assert ("runners" in board) is sees
        with live(keyed_service, OPEN) as follower:
            assert "score" not in follower.until(lambda board: len(board["slots"]) >= 2)["slots"][0]
        changes = keyed_service.ask(caller, "GET", f"/v1/venues/{OPEN}/changes")
        assert ("score" in changes.json()["full"]["slots"][0]) is sees
        assert changes.headers["cache-control"].startswith("private" if sees else "public")

    def test_a_key_and_a_ticket_at_once_are_refused(self, keyed_service: Keyed) -> None:
        ticket = ticket_of(keyed_service, "slots", CLOSED)
        with live(keyed_service, CLOSED, f"?ticket={ticket}", "slots") as refused:
            assert refused.status == 401
        with live(keyed_service, CLOSED, f"?ticket={ticket}") as follower:
            assert follower.status == 200  # it was not used up

    def test_a_revoked_key_ends_what_its_tickets_opened(self, tmp_path: Path) -> None:
        """Within 5 s; streams of others go on."""
        with keyed(tmp_path) as service:
            ticket = ticket_of(service, "operator", CLOSED)
            with live(service, CLOSED, caller="slots") as other, live(service, CLOSED, f"?ticket={ticket}") as follower:
                follower.next()
                other.next()
                keyring.revoke(service.service.redis, "operator", who="test", now_ms=now_ms())
                begun_s = time.monotonic()
                assert end_of(follower).data == {"reason": "closed"}
                assert time.monotonic() - begun_s < 5
                body = {"events": [{"type": "order", "product": OWN}]}
                service.ask("admin", "POST", f"/v1/venues/{CLOSED}/events", body)
                assert other.next().kind == "changes"

    def test_a_venue_that_is_closed_ends_the_streams_of_strangers(self, tmp_path: Path) -> None:
        with keyed(tmp_path) as service, live(service, OPEN) as follower:
            follower.next()
            assert service.ask("admin", "PUT", f"/v1/venues/{OPEN}/access", {"slots_public": False}).is_success
            assert end_of(follower).data == {"reason": "closed"}

    def test_a_venue_that_shows_more_sends_the_whole_board_anew(self, tmp_path: Path) -> None:
        """Who has a board of before would lack fields."""
        with keyed(tmp_path) as service, live(service, OPEN) as follower:
            follower.until(lambda board: len(board["slots"]) >= 2)
            assert service.ask("admin", "PUT", f"/v1/venues/{OPEN}/access", {"details_public": True}).is_success
            follower.until(lambda board: "score" in board["slots"][0])
            assert json.loads(json.dumps(follower.board))["slots"][0]["score"] == 0.0
