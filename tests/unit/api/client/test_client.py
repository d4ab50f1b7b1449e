"""The Python clients against a service of a few lines: what they send, how often, and what they make of the answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import httpx2
import pytest

from api.client import AsyncVenue, Board, Merchant, Receipt, SaimaError, Venue, applied, name_of
from api.client.flows import BATCH_MAX, BEACONS_MAX

BASE = "https://saima.example/"
TAKEN = {"accepted": 1, "duplicate": 0, "refused": [], "position": "1-0"}
CLICK = {"type": "click", "product": "p-1"}

Answer = Callable[[httpx2.Request], httpx2.Response]


class Service:
    """Answers each request with the next of its answers, the last one for ever; an exception is raised."""

    def __init__(self, *answers: httpx2.Response | Exception | Answer) -> None:
        self._answers = list(answers)
        self.asked: list[httpx2.Request] = []
        self.slept: list[float] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """As a transport asks it."""
        self.asked.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx2.Response) else answer(request)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def plain(self, **options: Any) -> Venue:
        """A plain client of it, which never sleeps."""
        http = httpx2.Client(transport=httpx2.MockTransport(self))
        return Venue(BASE, "hall 1", http=http, sleep=self.slept.append, **options)

    def merchant(self) -> Merchant:
        """A plain client of a merchant."""
        http = httpx2.Client(transport=httpx2.MockTransport(self))
        return Merchant(BASE, "m-1", http=http, sleep=self.slept.append)

    def awaited(self, **options: Any) -> AsyncVenue:
        """One for asyncio."""
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self))
        return AsyncVenue(BASE, "hall 1", http=http, sleep=self._sleep, **options)


def told(status: int = 200, body: Any = None, **headers: str) -> httpx2.Response:
    return httpx2.Response(
        status, json=body, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def board_of(*products: str, frame: int = 1, after: int = 0, **head: Any) -> Board:
    slots: Any = [{"slot": after + n, "product": product} for n, product in enumerate(products, 1)]
    made: Any = {"epoch": 7, "frame": frame, **head, "slots": slots}
    result: Board = made
    return result


def products(board: Board) -> list[str]:
    return [slot["product"] for slot in board["slots"]]


def stream(*events: tuple[str, Any]) -> httpx2.Response:
    """A live stream with these events, and a ping before each."""
    lines = "".join(f":\n\nevent: {kind}\nid: x\ndata: {json.dumps(data)}\n\n" for kind, data in events)
    return httpx2.Response(200, text=f"retry: 2500\n\n{lines}", headers={"Content-Type": "text/event-stream"})


def changes(since: int, following: int, **what: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"left": [], "moves": [], "entered": [], "changed": []}
    head = {"epoch": 7, "frame": following}
    return {"since": f"7-{since}", "next": f"7-{following}", "head": head, **empty, **what}


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_what_is_refused_is_raised_at_once_as_the_service_says_it(status: int) -> None:
    service = Service(told(status, {"code": "invalid", "detail": "events: send fewer"}))
    with pytest.raises(SaimaError, match="send fewer") as raised:
        service.plain().send([CLICK])
    assert (raised.value.status, raised.value.code) == (status, "invalid")
    assert (len(service.asked), service.slept) == (1, [])


def test_an_error_that_is_no_problem_document_is_raised_too() -> None:
    with pytest.raises(SaimaError, match="teapot") as raised:
        Service(httpx2.Response(418, text="teapot")).plain().slots()
    assert (raised.value.status, raised.value.code) == (418, "")


def test_tries_are_bounded_and_the_last_trouble_is_told() -> None:
    service = Service(httpx2.ConnectError("no route"))
    with pytest.raises(SaimaError, match=r"3 tries; the last: ConnectError: no route"):
        service.plain(tries=3).slots()
    assert (len(service.asked), len(service.slept)) == (3, 2)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_whoever_may_not_follow_is_told_and_does_not_try_for_ever(status: int) -> None:
    with pytest.raises(SaimaError):
        next(Service(told(status, {})).plain().follow())


# ------------------------------------------------------------------------------------------------ sending


def test_what_is_sent_again_is_the_same_under_the_same_key() -> None:
    """No line, no reply, an overload: the service counts it once."""
    trouble = (httpx2.ConnectError("x"), httpx2.ReadTimeout("x"), told(503), told(429, retry_after="3"))
    service = Service(*trouble, told(202, TAKEN))
    assert service.plain(key="k").send([CLICK]) == Receipt(1, 0, [])
    sent = {(each.headers["idempotency-key"], each.content, each.headers["authorization"]) for each in service.asked}
    assert (len(service.asked), len(sent)) == (5, 1)
    assert service.asked[0].url.raw_path == b"/v1/venues/hall%201/events"
    first, second, third, told_so = service.slept
    assert first < second < third
    assert 3 <= told_so <= 4.5


def test_each_sending_has_a_key_of_its_own_or_the_one_that_is_given() -> None:
    service = Service(told(202, TAKEN))
    venue = service.plain()
    for key in (None, None, "mine"):
        venue.send([CLICK], key=key)
    keys = [each.headers["idempotency-key"] for each in service.asked]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


def test_many_events_go_in_batches_and_are_answered_as_one() -> None:
    """Places in what was sent, whichever batch they were in; keys that are the same for the same."""

    def takes(request: httpx2.Request) -> httpx2.Response:
        events = json.loads(request.content)["events"]
        refused = [{"index": 2, "code": "late", "reason": "ts_ms: too old"}]
        return told(202, {"accepted": len(events) - 2, "duplicate": 1, "refused": refused, "position": "1-0"})

    service = Service(takes)
    for _ in range(2):
        receipt = service.plain().send([CLICK] * (2 * BATCH_MAX + 10), key="k")
        assert receipt[:2] == (2 * BATCH_MAX + 10 - 6, 3)
        assert [each["index"] for each in receipt.refused] == [2, BATCH_MAX + 2, 2 * BATCH_MAX + 2]
    keys = [each.headers["idempotency-key"] for each in service.asked]
    assert keys == ["k.0", "k.1", "k.2"] * 2


def test_nothing_to_send_is_not_sent() -> None:
    service = Service(told(500))
    assert service.plain().send([]) == Receipt(0, 0, [])
    assert service.asked == []


def test_beacons_carry_their_batch_in_the_body_and_their_page_as_origin() -> None:
    service = Service(told(503), told(202, TAKEN))
    service.plain(key="k", origin="https://shop.example").beacons([{**CLICK, "token": "t"}], batch="b-1")
    first, again = service.asked
    assert first.content == again.content
    assert json.loads(first.content) == {"batch": "b-1", "events": [{**CLICK, "token": "t"}]}
    assert first.headers["origin"] == "https://shop.example"
    service.plain().beacons([CLICK] * (BEACONS_MAX + 1), batch="b-2")
    assert [json.loads(each.content)["batch"] for each in service.asked[2:]] == ["b-2.0", "b-2.1"]


# ------------------------------------------------------------------------------------------------ reading


def test_a_read_asks_for_what_is_given() -> None:
    service = Service(told(200, board_of("p-1")))
    assert products(service.plain().slots(limit=20, tokens=True, fields="title,price")) == ["p-1"]
    assert dict(service.asked[0].url.params) == {"limit": "20", "tokens": "true", "fields": "title,price"}


def test_pages_go_on_to_the_end_of_one_frame() -> None:
    pages = [board_of("a", "b", next="c-1"), board_of("c", "d", after=2, next="c-2"), board_of("e", after=4, next=None)]
    service = Service(*(told(200, page) for page in pages))
    assert [products(page) for page in service.plain().pages(limit=2, tier="A")] == [["a", "b"], ["c", "d"], ["e"]]
    first, *others = [dict(each.url.params) for each in service.asked]
    assert first == {"limit": "2", "tier": "A"}
    assert others == [{"limit": "2", "cursor": "c-1"}, {"limit": "2", "cursor": "c-2"}]


def test_where_the_frame_is_gone_the_rest_of_the_current_one_follows() -> None:
    """No product comes twice."""
    gone = told(410, {"code": "gone", "detail": "frame 7-1 is no longer kept"})
    newer = [board_of("b", "x", frame=2, next="n-1"), board_of("a", "y", frame=2, after=2, next=None)]
    service = Service(told(200, board_of("a", "b", next="c-1")), gone, *(told(200, page) for page in newer))
    assert [products(page) for page in service.plain().pages()] == [["a", "b"], ["x"], ["y"]]
    assert [each.url.params.get("cursor") for each in service.asked] == [None, "c-1", None, "n-1"]


# ------------------------------------------------------------------------------------------------ following


def test_changes_make_the_next_board() -> None:
    old = board_of("a", "b", "c")
    old["slots"][2]["price"] = 5
    made = applied(
        old,
        changes(
            1,
            2,
            left=["a"],
            moves=[{"product": "c", "was": 3, "slot": 1, "token": "t"}],
            changed=[{"product": "c", "price": None, "title": "C"}],
            entered=[{"slot": 3, "product": "d"}],
        ),
    )
    assert made["slots"] == [
        {"slot": 1, "product": "c", "title": "C", "token": "t"},
        {"slot": 2, "product": "b"},
        {"slot": 3, "product": "d"},
    ]
    assert name_of(made) == "7-2"
    assert products(old) == ["a", "b", "c"]


def test_a_stream_is_followed_and_taken_up_where_it_was() -> None:
    moved = changes(1, 2, moves=[{"product": "a", "was": 1, "slot": 2}, {"product": "b", "was": 2, "slot": 1}])
    service = Service(
        stream(("frame", board_of("a", "b")), ("changes", moved), ("bye", {"reason": "shutdown"})),
        stream(("changes", changes(2, 3, left=["b"]))),
    )
    boards = list(islice(service.plain().follow(limit=20), 3))
    assert [products(board) for board in boards] == [["a", "b"], ["b", "a"], ["a"]]
    assert [each.url.params.get("since") for each in service.asked] == [None, "7-2"]
    assert service.slept == [2.5]  # as the stream told


def test_without_a_stream_it_asks_what_has_changed() -> None:
    whole = {"since": None, "next": "7-1", "full": board_of("a", "b")}
    service = Service(
        told(503, {}), told(200, whole), told(200, changes(1, 1)), told(200, changes(1, 2, left=["a"])), told(503, {})
    )
    boards = list(islice(service.plain().follow(), 2))
    assert [products(board) for board in boards] == [["a", "b"], ["b"]]
    assert [each.url.path.rpartition("/")[2] for each in service.asked] == ["live", "changes", "changes", "changes"]


def test_tokens_that_are_told_anew_are_taken_though_the_frame_is_the_same() -> None:
    renewed = changes(1, 1, changed=[{"product": "a", "token": "newer"}])
    whole = {"since": None, "next": "7-1", "full": board_of("a")}
    service = Service(told(503, {}), told(200, whole), told(200, renewed), told(503, {}))
    first, second = islice(service.plain().follow(tokens=True), 2)
    assert (name_of(second), second["slots"][0]["token"]) == (name_of(first), "newer")


def test_changes_of_another_board_make_it_read_the_whole() -> None:
    service = Service(
        stream(("frame", board_of("a")), ("changes", changes(5, 6, left=["a"]))),
        stream(("frame", board_of("z", frame=6))),
    )
    boards = list(islice(service.plain().follow(), 2))
    assert [products(board) for board in boards] == [["a"], ["z"]]
    assert "since" not in service.asked[1].url.params


def test_a_line_that_breaks_is_taken_up_again() -> None:
    def breaks(_: httpx2.Request) -> httpx2.Response:
        def lines() -> Iterator[bytes]:
            yield b"event: frame\ndata: " + json.dumps(board_of("a")).encode() + b"\n\n"
            raise httpx2.ReadError("cut")

        return httpx2.Response(200, content=lines())

    service = Service(breaks, stream(("changes", changes(1, 2, left=["a"]))))
    assert [products(board) for board in islice(service.plain().follow(), 2)] == [["a"], []]
    assert len(service.slept) == 1


# ------------------------------------------------------------------------------------------------ with asyncio


async def test_the_client_for_asyncio_does_the_same() -> None:
    """Reads, pages, sendings with their retries, beacons and streams."""
    assert products(await Service(told(200, board_of("a"))).awaited().slots()) == ["a"]
    paged = Service(told(200, board_of("a", next="c-1")), httpx2.ReadError("x"), told(200, board_of("b", next=None)))
    assert [products(page) async for page in paged.awaited().pages()] == [["a"], ["b"]]
    sending = Service(httpx2.ReadTimeout("x"), told(503), told(202, TAKEN))
    assert await sending.awaited().send([CLICK]) == Receipt(1, 0, [])
    assert len({each.headers["idempotency-key"] for each in sending.asked}) == 1
    assert len(sending.slept) == 2
    assert await Service(told(202, TAKEN)).awaited().beacons([CLICK]) == Receipt(1, 0, [])


async def test_with_asyncio_a_stream_that_fails_gives_way_to_asking() -> None:
    whole = {"since": None, "next": "7-1", "full": board_of("a")}
    service = Service(told(503, {}), told(200, whole), told(200, changes(1, 2, left=["a"])))
    boards: list[Board] = []
    async for board in service.awaited().follow():
        boards.append(board)
        if len(boards) == 2:
            break
    assert [products(board) for board in boards] == [["a"], []]
    streamed = Service(stream(("frame", board_of("a")), ("changes", changes(1, 2, left=["a"]))))
    venue, boards = streamed.awaited(), []
    async for board in venue.follow():
        boards.append(board)
        if len(boards) == 2:
            break
    assert [products(board) for board in boards] == [["a"], []]
    with pytest.raises(SaimaError):
        async for _ in Service(told(404, {})).awaited().follow():
            pass
    await venue.aclose()


# ------------------------------------------------------------------------------------------- a merchant's standings


def stands(*products: str, following: str) -> dict[str, Any]:
    rows = [{"venue": "h", "product": name, "runner": n, "standing": n + 1} for n, name in enumerate(products)]
    return {"merchant": "m-1", "next": following, "frames": [], "runners": rows, "full": ["h"], "alerts": []}


def restands(since: str, following: str, *changed: dict[str, Any]) -> dict[str, Any]:
    empty: dict[str, Any] = {"frames": [], "gone": [], "left": [], "entered": [], "full": [], "alerts": []}
    return {"merchant": "m-1", "since": since, "next": following, **empty, "changed": list(changed)}


def test_standings_are_followed_and_taken_up_where_they_were() -> None:
    swapped = ({"venue": "h", "runner": 0, "standing": 2}, {"venue": "h", "runner": 1, "standing": 1})
    service = Service(
        stream(("standings", stands("a", "b", following="x~1")), ("changes", restands("x~1", "x~2", *swapped))),
        stream(("changes", restands("x~2", "x~2")), ("changes", restands("x~2", "x~3", {**swapped[0], "title": "A"}))),
    )
    told = list(islice(service.merchant().follow(venue="h"), 3))
    assert [[row["product"] for row in each["runners"]] for each in told] == [["a", "b"], ["b", "a"], ["b", "a"]]
    assert [each.url.params.get("since") for each in service.asked] == [None, "x~2"]
    assert {each.url.path for each in service.asked} == {"/v1/merchants/m-1/live"}


def test_changes_of_other_standings_make_it_ask_for_all() -> None:
    service = Service(
        stream(("standings", stands("a", following="x~1")), ("changes", restands("x~7", "x~8"))),
        stream(("standings", stands("z", following="x~9"))),
    )
    told = list(islice(service.merchant().follow(), 2))
    assert [each["runners"][0]["product"] for each in told] == ["a", "z"]
    assert [each.url.params.get("since") for each in service.asked] == [None, None]
