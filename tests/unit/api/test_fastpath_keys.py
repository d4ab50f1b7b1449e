"""With keys in force the fast path takes what a key grants and nothing else, and answers as the plain routes do."""

from __future__ import annotations

from typing import Any

import pytest

from api.errors import ProblemError
from api.fastpath import HEAD_MAX_BYTES, HEADERS_MAX, FastProtocol
from api.grants import Grants
from api.quota import Bucket
from api.service import Service
from racing.apikeys import KeyRecord, Role, digest_of, mint
from tests.unit.api.test_fastpath import (
    BATCH,
    BODY_MAX,
    NOW_MS,
    RAW,
    Answer,
    Case,
    Served,
    answered,
    reading,
    sending,
    told,
)

KEYS = {name: mint() for name in ("writer", "elsewhere", "reader", "operator", "admin", "beacon", "ended", "slow")}
ORIGIN = "https://shop.example"


def record(name: str, role: Role, **scope: Any) -> KeyRecord:
    return KeyRecord(KEYS[name][6:14], name, role, 0, **scope)


RECORDS = [
    record("writer", "events:write", venues=("hall-1",)),
    record("elsewhere", "events:write", venues=("hall-2",)),
    record("reader", "slots:read"),
    record("operator", "operator", venues=("hall-1",)),
    record("admin", "admin"),
    record("beacon", "beacon", venues=("hall-1",), origins=(ORIGIN,)),
    record("ended", "admin", revoked_ms=1),
    record("slow", "events:write", requests_per_s=2),
]


def grants() -> Grants:
    """The keys as a process has read them, for a Redis that never says that they have changed."""
    made = Grants(Unchanging(), 100)  # type: ignore[arg-type]  # all that is asked of it
    made._records = {digest_of(KEYS[each.name]): each for each in RECORDS}
    made._buckets = {each.id: Bucket(each.requests_per_s or 100) for each in RECORDS}
    made._read = True
    return made


class Unchanging:
    """A Redis whose keys never change; asked: how often it was looked at."""

    def __init__(self) -> None:
        self.asked = 0

    async def get(self, name: str) -> None:
        self.asked += 1


@pytest.fixture(autouse=True)
def stopped_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quotas stand still with the clock, and no second passes in which grants would be found out anew."""
    monkeypatch.setattr(Service, "now_ms", lambda _: NOW_MS)
    monkeypatch.setattr("api.grants._LOOK_S", 0.0)
    for module in ("frames", "guard", "grants", "fastpath"):
        monkeypatch.setattr(f"api.{module}.time.monotonic", lambda: 100.0)


def with_key(case: Case, name: str, **more: str) -> Case:
    added = (("authorization", f"Bearer {KEYS[name]}"), *more.items())
    return Case(case.name, case.method, case.path, case.fast, case.query, (*case.headers, *added), case.parts)


async def twice(served: Served, case: Case) -> tuple[Answer, Answer]:
    """The first answer, by the plain route that finds the key out, and the next."""
    return await served.ask(case), await served.ask(case)


READ, SEND = reading("slots"), sending("events", BATCH)
EXPECTED = [
    # key, request, status, whether the fast path answers once it knows the key
    ("writer", SEND, 202, True),
    ("admin", SEND, 202, True),
    ("slow", SEND, 202, True),
    ("elsewhere", SEND, 404, False),
    ("reader", SEND, 403, False),
    ("operator", SEND, 403, False),
    ("beacon", SEND, 403, False),  # it has an address of its own
    ("ended", SEND, 401, False),
    ("reader", READ, 200, True),
    ("operator", READ, 200, True),
    ("writer", READ, 200, True),
    ("ended", READ, 401, False),
]


@pytest.mark.parametrize(("name", "case", "status", "fast"), EXPECTED)
async def test_a_key_is_answered_alike_by_both_ways(name: str, case: Case, status: int, fast: bool) -> None:
    keyed = with_key(case, name)
    first, second = await twice(Served(fast=True, grants=grants()), keyed)
    plain = await twice(Served(fast=False, grants=grants()), keyed)
    assert (first.status, second.status) == (status, status)
    assert (first.routed, second.routed) == (True, not fast)
    assert (told(first), told(second)) == (told(plain[0]), told(plain[1]))


@pytest.mark.parametrize("case", [READ, SEND], ids=["read", "batch"])
async def test_a_head_seen_before_is_held_to_its_key_anew(case: Case) -> None:
    """Revoked since then, the key no longer works, on the same connection too."""
    made = grants()
    protocol, transport = Served(fast=True, grants=made).connected()
    request = b"".join(with_key(case, "admin").request())
    for number in (1, 2, 3):
        protocol.data_received(request)
        await answered(protocol, transport, number)
    assert isinstance(protocol, FastProtocol)
    assert len(protocol.heads) == 1
    made._records = {}
    await made.refresh()
    protocol.data_received(request)
    await answered(protocol, transport, 4)
    assert [answer.status // 100 for answer in transport.answers()] == [2, 2, 2, 4]
    assert transport.answers()[-1].status == 401


async def test_without_a_key_reads_are_fast_and_events_are_refused() -> None:
    served, plain = Served(fast=True, grants=grants()), Served(fast=False, grants=grants())
    read, sent = await served.ask(READ), await served.ask(SEND)
    assert (read.status, read.routed) == (200, False)
    assert (sent.status, sent.routed) == (401, True)
    assert served.desk.log == []
    assert told(read) == told(await plain.ask(READ))


async def test_scores_are_for_operators_only_where_the_venue_keeps_them() -> None:
    """By both ways; the two forms are two ETags, and only the public one may be kept by shared caches."""
    served = Served(fast=True, grants=grants())
    brief = await served.ask(READ)
    assert b'"score"' not in brief.body
    assert b'"terms"' not in brief.body
    assert b'"runners"' not in brief.body
    for name in ("reader", "writer"):
        assert [each.body for each in await twice(served, with_key(READ, name))] == [brief.body] * 2
    for answer in await twice(served, with_key(READ, "operator")):
        assert b'"score":2.0' in answer.body
        assert dict(answer.headers)["cache-control"] == "private, max-age=0"
        assert dict(answer.headers)["etag"] != dict(brief.headers)["etag"]


async def test_the_quota_counts_each_request_once_whichever_way_it_goes() -> None:
    served = Served(fast=True, grants=grants())
    answers = [await served.ask(with_key(SEND, "slow")) for _ in range(4)]
    assert [answer.status for answer in answers] == [202, 202, 429, 429]
    assert [answer.routed for answer in answers] == [True, False, True, True]
    assert [dict(answer.headers)["ratelimit"] for answer in answers] == [f'"key";r={n};t=1' for n in (1, 0, 0, 0)]
    assert dict(answers[2].headers)["retry-after"] == "1"
    assert len(served.desk.log) == 2


async def test_two_keys_on_one_request_are_refused_also_when_both_are_known() -> None:
    served = Served(fast=True, grants=grants())
    for case in (READ, SEND):
        for name in ("admin", "writer"):
            await served.ask(with_key(case, name))
        both = with_key(with_key(case, "admin"), "writer")
        assert (await served.ask(both)).status == 401


async def statuses(served: Served, *cases: Case) -> list[int]:
    """The answers to requests one after the other on one connection; their heads are remembered."""
    protocol, transport = served.connected()
    for number, case in enumerate(cases, 1):
        protocol.data_received(b"".join(case.request()))
        await answered(protocol, transport, number)
    protocol.connection_lost(None)
    return [answer.status for answer in transport.answers()]


async def test_a_remembered_head_grants_no_more_than_its_key_does_now() -> None:
    """The same bytes again: within the quota, beyond it, and after the key has ended."""
    served = Served(fast=True, grants=grants())
    assert await statuses(served, *[with_key(SEND, "slow")] * 4) == [202, 202, 429, 429]
    known = served.service.grants_in_force()
    for case, good in ((with_key(SEND, "admin"), 202), (with_key(READ, "admin"), 200)):
        known._records = {digest_of(KEYS[each.name]): each for each in RECORDS}
        protocol, transport = served.connected()
        for number in range(1, 5):
            if number == 4:  # as when its end was read from Redis
                known._records, known.known = {}, {}
            protocol.data_received(b"".join(case.request()))
            await answered(protocol, transport, number)
        assert [answer.status for answer in transport.answers()] == [good, good, good, 401]
        assert protocol.heads  # type: ignore[attr-defined]  # the fast protocol's
        protocol.connection_lost(None)
    assert len(served.desk.log) == 5


async def test_a_head_is_known_on_another_connection_and_grants_no_more_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not parsed again; its key is looked up as on the first."""
    made = grants()
    served = Served(fast=True, grants=made)
    case = with_key(SEND, "admin")
    assert [(await served.ask(case)).status for _ in range(2)] == [202, 202]  # first its key is made out
    with monkeypatch.context() as patch:
        patch.setattr("api.fastpath.asked_of", lambda *_, **__: pytest.fail("it was parsed again"))
        assert await statuses(served, case) == [202]
    made._records = {}
    await made.refresh()
    assert (await served.ask(case)).status == 401


async def test_one_connection_may_carry_several_callers() -> None:
    """As a proxy's does: each request is answered by its own head alone."""
    served = Served(fast=True, grants=grants())
    cases = [with_key(SEND, "writer"), SEND, with_key(SEND, "reader"), READ, with_key(SEND, "writer")] * 3
    assert await statuses(served, *cases) == [202, 401, 403, 200, 202] * 3


async def test_a_beacon_key_sends_to_no_address_but_its_own() -> None:
    """Whatever page it comes from: what is sent elsewhere needs no token."""
    served = Served(fast=True, grants=grants())
    for origin in (ORIGIN, f"{ORIGIN}.evil.example", "null"):
        for answer in await twice(served, with_key(SEND, "beacon", origin=origin)):
            assert (answer.status, answer.routed) == (403, True)
    assert served.desk.log == []


async def test_answers_to_other_sites_say_who_may_read_them() -> None:
    """The plain route answers what names its origin; what does not says that answers differ."""
    served = Served(fast=True, grants=grants(), cors=ORIGIN)
    quick = await served.ask(READ)
    assert (quick.routed, dict(quick.headers)["vary"]) == (False, "Origin")
    asked = await served.ask(reading("slots", origin=ORIGIN))
    assert dict(asked.headers)["access-control-allow-origin"] == ORIGIN
    other = await served.ask(reading("slots", origin="https://evil.example"))
    assert "access-control-allow-origin" not in dict(other.headers)


async def test_pages_that_beacon_keys_name_read_answers_too() -> None:
    """Without a setting: what names an origin goes the plain way, and caches are told that answers differ."""
    made = grants()
    made.origins = frozenset({ORIGIN})
    served = Served(fast=True, grants=made)
    quick = await served.ask(READ)
    assert (quick.routed, "Origin" in [value for name, value in quick.headers if name == "vary"]) == (False, True)
    asked = await served.ask(reading("slots", origin=ORIGIN))
    assert (asked.routed, dict(asked.headers)["access-control-allow-origin"]) == (True, ORIGIN)
    other = await served.ask(reading("slots", origin="https://evil.example"))
    assert "access-control-allow-origin" not in dict(other.headers)


async def test_a_refused_key_costs_the_same_steps_whatever_is_wrong_with_it() -> None:
    """One look at Redis, one digest, one lookup; a text that is no key has the look too."""
    known = grants()
    asked = []
    for header in (f"Bearer {mint()}", f"Bearer {KEYS['ended']}", "Bearer x"):
        known._looked_s = 0.0  # some time ago
        before = known._client.asked  # type: ignore[attr-defined]  # the stand-in
        with pytest.raises(ProblemError, match="does not work"):
            await known.find(header.encode())
        asked.append(known._client.asked - before)  # type: ignore[attr-defined]  # the stand-in
    assert asked == [1, 1, 1]
    assert known.known == {}


# -- heads ----------------------------------------------------------------------------------------------------


def headed(lines: int, size: int) -> Case:
    """A read with so many headers (host is one more) and, where size is given, a head of so many bytes."""
    names = [(f"x-{n}", "v") for n in range(lines)]
    bare = len("/v1/venues/hall-1/slots") + len("host") + len("test") + 4
    used = bare + sum(len(name) + len(value) + 4 for name, value in names)
    if size:
        name = names[-1][0]
        names[-1] = (name, "v" * (1 + size - used))
    return Case("head", "GET", "/v1/venues/hall-1/slots", True, headers=tuple(names))


@pytest.mark.parametrize(
    ("lines", "size", "status"),
    [
        (HEADERS_MAX - 1, 0, 200),
        (HEADERS_MAX, 0, 431),
        (100 * HEADERS_MAX, 0, 431),
        (10, HEAD_MAX_BYTES, 200),
        (10, HEAD_MAX_BYTES + 1, 431),
        (10, 100 * HEAD_MAX_BYTES, 431),
    ],
)
async def test_heads_have_a_bound(lines: int, size: int, status: int) -> None:
    """At it, one beyond it, and a hundred times it; refused in the one shape, and the connection ends."""
    served = Served(fast=True)
    protocol, transport = served.connected()
    for part in headed(lines, size).request():
        protocol.data_received(part)
    (answer,) = transport.answers()
    assert answer.status == status
    assert transport.closed == (status == 431)
    if status == 431:
        assert dict(answer.headers)["content-type"] == "application/problem+json"
        assert b'"code":"head_too_large"' in answer.body
    protocol.connection_lost(None)


@pytest.mark.parametrize("size", [1_000, 65_536])
async def test_a_head_without_end_is_cut_off_as_it_grows(size: int) -> None:
    """Nothing is kept of it beyond the bound and one more part."""
    protocol, transport = Served(fast=True).connected()
    protocol.data_received(b"GET / HTTP/1.1\r\nhost: test\r\n")
    sent = 0
    while not transport.closed:
        protocol.data_received(b"x-%d: %b\r\n" % (sent, b"v" * size))
        sent += size
    assert sent <= HEAD_MAX_BYTES + size
    (answer,) = transport.answers()
    assert answer.status == 431
    protocol.connection_lost(None)


async def test_large_bodies_and_heads_in_many_parts_are_taken() -> None:
    """The bound is on heads, however a request is cut."""
    body = b'{"events":[' + b" " * 1_900 + b'{"type":"click","product":"p-1"}]}'
    served = Served(fast=True)
    for _ in range(12):
        assert (await served.ask(sending("large", body))).status == 202
    protocol, transport = served.connected()
    for byte in b"".join(READ.request()):
        protocol.data_received(bytes([byte]))
    assert [answer.status for answer in transport.answers()] == [200]
    protocol.connection_lost(None)


async def test_a_head_is_known_again_with_a_body_of_another_length() -> None:
    """Up to the bound on bodies, beyond which it is refused as if it were new."""
    served = Served(fast=True)
    protocol, transport = served.connected()
    asked = []
    for number, spaces in enumerate((0, 7, 900, 2 * BODY_MAX, 1), 1):
        body = RAW.replace(b" ", b" " * spaces, 1) if spaces else RAW
        protocol.data_received(b"".join(sending("one of many", body).request()))
        await answered(protocol, transport, number)
        asked.append(len(protocol.heads))  # type: ignore[attr-defined]  # the fast protocol's
        if transport.closed:
            break
    assert [answer.status for answer in transport.answers()][:4] == [202, 202, 202, 413]
    assert asked[:3] == [1, 1, 1]
    protocol.connection_lost(None)
