"""Orders of the desk in Redis: put and withdrawn at once, logged and audited with it, void where something moved on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from racing.decisions import Change, Decision
from racing.entries import Enrolment, OrdersChange, RuleChange, Runner
from racing.errors import ConflictError, CorruptRecordError, NotFoundError, StoreUnavailableError
from racing.formula import FORMULA
from racing.model import START
from racing.orders import Order, parse_order
from racing.rule import DEFAULT_RULE, parse_rule
from racing.store.audit import Audit, Told
from racing.store.desk import Desk
from racing.store.documents import RuleVersion
from racing.store.keys import VenueKeys
from racing.store.log import read_after
from racing.store.orders import Book, Decided, Orders, Wanted
from racing.store.protocol import SyncClient
from racing.store.undo import Undo, withdrawal_of
from racing.store.venues import Access
from tests.contract.servers import LossyStore
from tests.contract.track import CLICKS

VENUE = "hall-1"
KEYS = VenueKeys(VENUE)
OTHER = parse_rule(CLICKS)


def pin(name: str = "hero", slot: int = 1, **given: Any) -> Order:
    return parse_order({"kind": "pin", "id": name, "product": "a", "slot": slot, **given})


def phase(name: str = "burst", start_ms: int = 10**13, rule: Any = CLICKS) -> Order:
    return parse_order(
        {"kind": "phase", "id": name, "title": "Burst", "rule": rule, "version": 1, "start_ms": start_ms}
    )


async def put(desk: Desk, *orders: Order, withdraw: tuple[str, ...] = (), **given: Any) -> Decided:
    wanted = Wanted(put=orders, withdraw=withdraw, author="me", **given)
    return await Orders(desk, desk.client).decide(VENUE, lambda _: wanted)


async def audited(desk: Desk) -> list[Told]:
    """Every decision, oldest first."""
    return [told async for told in Audit(desk.client).all(VENUE, lambda _: True)][::-1]


def logged(client: SyncClient) -> list[tuple[str, Any]]:
    return [(str(entry.position), entry.body) for entry in read_after(client, KEYS, START)]


@pytest.fixture
async def venue(desk: Desk) -> Desk:
    """A venue with two products."""
    await desk.venues.create(VENUE, "title", DEFAULT_RULE, author="a")
    await desk.runners.enrol(VENUE, [Runner("a", "m", "A"), Runner("b", "m", "B")], author="a")
    return desk


async def test_orders_are_kept_logged_and_audited_under_one_entry(venue: Desk, client: SyncClient) -> None:
    decided = await put(venue, pin(), pin("second", 2), note="sold")
    entry, body = logged(client)[-1]
    assert entry == decided.entry
    assert isinstance(body, OrdersChange)
    assert [each["id"] for each in body.put] == ["hero", "second"]
    assert (body.author, body.note, body.withdraw) == ("me", "sold", [])
    book = await Orders(venue, venue.client).read(VENUE)
    assert book == decided.book
    assert {name: (kept.who, kept.entry) for name, kept in book.kept.items()} == {
        "hero": ("me", entry),
        "second": ("me", entry),
    }
    told = (await audited(venue))[-1]
    assert told.entry == entry
    assert told.decision == Decision("me", "orders", [Change(each["id"], None, each) for each in body.put], "sold")


async def test_an_order_put_again_as_it_is_makes_no_entry(venue: Desk, client: SyncClient) -> None:
    first = await put(venue, pin())
    before = len(logged(client))
    again = await put(venue, pin())
    assert (again.entry, again.put) == (first.entry, [])
    assert len(logged(client)) == before


async def test_what_was_there_and_what_is_stand_in_the_audit(venue: Desk) -> None:
    await put(venue, pin(), pin("second", 2))
    await put(venue, pin(slot=3), withdraw=("second",))
    changes = (await audited(venue))[-1].decision.changes
    assert [(each.of, each.before and each.before["slot"], each.after and each.after["slot"]) for each in changes] == [
        ("hero", 1, 3),
        ("second", 2, None),
    ]
    assert list((await Orders(venue, venue.client).read(VENUE)).kept) == ["hero"]


async def test_a_change_made_meanwhile_has_it_thought_out_anew(venue: Desk) -> None:
    """The second look sees the other's order: of two writers that exclude each other one is refused."""
    book = Orders(venue, venue.client)
    seen: list[int] = []

    async def write(name: str) -> Decided | None:
        def wanted(found: Book) -> Wanted:
            seen.append(len(found.kept))
            return Wanted() if found.kept else Wanted(put=[pin(name)], author=name)

        return await book.decide(VENUE, wanted)

    await asyncio.gather(*(write(f"pin-{number}") for number in range(5)))
    assert len((await book.read(VENUE)).kept) == 1
    assert max(seen) == 1


async def test_all_of_many_changes_at_once_are_made_one_after_the_other(venue: Desk, client: SyncClient) -> None:
    await asyncio.gather(*(put(venue, pin(f"pin-{number}", number)) for number in range(1, 7)))
    assert len((await Orders(venue, venue.client).read(VENUE)).kept) == 6
    entries = [entry for entry, body in logged(client) if isinstance(body, OrdersChange)]
    assert [told.entry for told in await audited(venue) if told.decision.what == "orders"] == entries


@pytest.mark.parametrize("executed", [True, False])
async def test_orders_whose_answer_was_lost_are_put_once(
    lossy: LossyStore, lossy_desk: Desk, client: SyncClient, *, executed: bool
) -> None:
    await lossy_desk.venues.create(VENUE, "title", DEFAULT_RULE, author="a")
    await put(lossy_desk, pin("before", 9))
    lossy.fault.lose("EVALSHA", executed=executed)
    with pytest.raises(StoreUnavailableError):
        await put(lossy_desk, pin())
    await put(lossy_desk, pin())
    assert len([body for _, body in logged(client) if isinstance(body, OrdersChange)]) == 2


async def test_a_phase_takes_a_rule_version_and_leaves_the_rule_that_holds(venue: Desk, client: SyncClient) -> None:
    """The next rule takes the number after it; a phase that moves keeps its number, one with another rule does not."""
    decided = await put(venue, phase())
    assert decided.book.kept["burst"].order == phase().model_copy(update={"version": 2, "formula": FORMULA})
    assert (await venue.rules.read(VENUE)).version == 1
    kept = await venue.rules.read(VENUE, 2)
    assert kept == RuleVersion(2, CLICKS, "me", "", kept.at_ms, FORMULA, "burst")
    made, _ = await venue.rules.put(VENUE, OTHER, after=1, author="me", note="")
    assert made.version == 3
    moved = await put(venue, phase(start_ms=10**13 + 1))
    assert moved.book.kept["burst"].order.version == 2  # type: ignore[union-attr]  # a phase
    other = await put(venue, phase(rule={**CLICKS, "window_s": 60}))
    assert other.book.kept["burst"].order.version == 4  # type: ignore[union-attr]  # a phase
    assert [body.version for _, body in logged(client) if isinstance(body, RuleChange)] == [1, 3]


async def test_a_rule_and_orders_are_one_decision(venue: Desk, client: SyncClient) -> None:
    decided = await put(venue, pin(), rule=OTHER, plan="midnight")
    (_, rule), (entry, orders) = logged(client)[-2:]
    assert isinstance(rule, RuleChange)
    assert isinstance(orders, OrdersChange)
    assert (decided.entry, decided.version, orders.plan) == (entry, 2, "midnight")
    assert (await venue.rules.read(VENUE)).version == 2
    told = (await audited(venue))[-1]
    assert [change.of for change in told.decision.changes] == ["rule", "hero"]


async def test_a_damaged_order_is_told_and_stops_no_other_read(venue: Desk, client: SyncClient) -> None:
    await put(venue, pin())
    client.hset(KEYS.orders, "hero", b"{")
    with pytest.raises(CorruptRecordError, match="cannot be decoded"):
        await Orders(venue, venue.client).read(VENUE)
    assert len(await audited(venue)) == 3


# -- what else is decided is audited too ----------------------------------------------------------------------


async def test_every_decision_stands_in_the_audit_under_its_log_entry(venue: Desk, client: SyncClient) -> None:
    """Who, what, from what, to what: rule, enrolment, data of a runner, access."""
    await venue.rules.put(VENUE, OTHER, after=1, author="ruler", note="why")
    await venue.runners.enrol(VENUE, [Runner("a", "m", "New A"), Runner("c", "m", "C")], author="filler")
    found = await venue.runners.find(VENUE, "b")
    assert found is not None
    await venue.runners.change(VENUE, Runner("b", "m", "B", stock=5), read=found[1], author="erp")
    await venue.venues.put_access(VENUE, Access(slots_public=False), author="guard")
    told = await audited(venue)
    assert [(each.decision.who, each.decision.what) for each in told] == [
        ("a", "rule"),
        ("a", "enrol"),
        ("ruler", "rule"),
        ("filler", "enrol"),
        ("erp", "enrol"),
        ("guard", "access"),
    ]
    assert [each.entry for each in told] == [entry for entry, _ in logged(client)]
    assert told[2].decision.changes == [Change("rule", 1, 2)]
    titles = [(each.before and each.before["title"], each.after["title"]) for each in told[3].decision.changes]
    assert titles == [("A", "New A"), (None, "C")]
    assert [(change.before.get("stock"), change.after["stock"]) for change in told[4].decision.changes] == [(None, 5)]
    assert [change.before["slots_public"] for change in told[5].decision.changes] == [True]
    assert [body.author for _, body in logged(client) if isinstance(body, Enrolment)] == ["a", "filler", "erp"]


async def test_access_that_is_so_already_makes_no_entry(venue: Desk) -> None:
    await venue.venues.put_access(VENUE, Access(), author="guard")
    assert [each.decision.what for each in await audited(venue)] == ["rule", "enrol"]


async def test_a_page_of_the_audit_goes_on_where_the_one_before_ended(venue: Desk) -> None:
    for number in range(1, 8):
        await put(venue, pin(f"pin-{number}", number))
    audit, seen, cursor = Audit(venue.client), [], None
    while True:
        page, cursor = await audit.page(VENUE, lambda told: told.decision.what == "orders", before=cursor, limit=3)
        assert len(page) <= 3
        seen += [told.decision.changes[0].of for told in page]
        if cursor is None:
            break
    assert seen == [f"pin-{number}" for number in range(7, 0, -1)]


async def test_decisions_since_a_moment_are_told_unless_they_are_too_many(venue: Desk) -> None:
    audit = Audit(venue.client)
    for number in range(1, 6):
        await put(venue, pin(f"pin-{number}", number))
    every = (await audited(venue))[::-1]
    assert await audit.since(VENUE, 0, at_most=len(every)) == (every, True)
    assert await audit.since(VENUE, 0, at_most=3) == (every[:3], False)
    assert await audit.since(VENUE, every[0].at_ms + 1, at_most=3) == ([], True)
    later, whole = await audit.since(VENUE, every[2].at_ms, at_most=100)
    assert whole
    assert later == [told for told in every if told.at_ms >= every[2].at_ms]


# -- undo -----------------------------------------------------------------------------------------------------


def undoing(desk: Desk) -> Undo:
    return Undo(
        desk=desk,
        orders=Orders(desk, desk.client),
        audit=Audit(desk.client),
        venue=VENUE,
        author="undoer",
        note="wrong",
        check=lambda *_: None,
    )


async def test_an_entry_that_decided_nothing_is_not_found(venue: Desk) -> None:
    with pytest.raises(NotFoundError, match="9-9"):
        await undoing(venue).of("9-9")


async def test_what_was_changed_since_is_not_undone_and_the_other_entry_is_named(venue: Desk) -> None:
    first = await put(venue, pin())
    second = await put(venue, pin(slot=2))
    with pytest.raises(ConflictError, match=f"hero was changed since by entry {second.entry}"):
        await undoing(venue).of(first.entry)


async def test_undo_of_the_first_rule_is_refused(venue: Desk) -> None:
    first = (await audited(venue))[0]
    with pytest.raises(ConflictError, match="first rule"):
        await undoing(venue).of(first.entry)


async def test_undo_of_orders_brings_back_what_was_there_and_can_be_undone(venue: Desk) -> None:
    await put(venue, pin())
    second = await put(venue, pin(slot=2), pin("other", 5))
    undone = await undoing(venue).of(second.entry)
    book = await Orders(venue, venue.client).read(VENUE)
    assert book.orders == {"hero": pin()}
    told = (await audited(venue))[-1]
    assert (told.entry, told.decision.undoes, told.decision.who) == (undone, second.entry, "undoer")
    with pytest.raises(ConflictError, match=f"changed since by entry {undone}"):
        await undoing(venue).of(second.entry)
    await undoing(venue).of(undone)
    assert (await Orders(venue, venue.client).read(VENUE)).orders == {"hero": pin(slot=2), "other": pin("other", 5)}


async def test_undo_of_a_rule_makes_the_one_before_a_new_version(venue: Desk) -> None:
    _, entry = await venue.rules.put(VENUE, OTHER, after=1, author="a", note="")
    await undoing(venue).of(entry)
    now = await venue.rules.read(VENUE)
    assert (now.version, parse_rule(now.rule)) == (3, DEFAULT_RULE)


async def test_undo_of_runners_data_gives_it_back_and_withdraws_the_new(venue: Desk) -> None:
    await venue.runners.enrol(VENUE, [Runner("a", "m", "Wrong"), Runner("c", "m", "C")], author="a")
    entry = (await audited(venue))[-1].entry
    await undoing(venue).of(entry)
    found = await venue.runners.find(VENUE, "a")
    assert found is not None
    assert found[0] == Runner("a", "m", "A")
    assert list((await Orders(venue, venue.client).read(VENUE)).orders) == [withdrawal_of("c")]


async def test_undo_of_runners_data_that_moved_on_changes_none_of_it(venue: Desk) -> None:
    await venue.runners.enrol(VENUE, [Runner("a", "m", "Wrong"), Runner("b", "m", "Wrong")], author="a")
    entry = (await audited(venue))[-1].entry
    await venue.runners.enrol(VENUE, [Runner("b", "m", "Right")], author="a")
    with pytest.raises(ConflictError, match="b was changed since"):
        await undoing(venue).of(entry)
    found = await venue.runners.find(VENUE, "a")
    assert found is not None
    assert found[0].title == "Wrong"


async def test_undo_of_access_gives_it_back(venue: Desk) -> None:
    await venue.venues.put_access(VENUE, Access(slots_public=False), author="guard")
    entry = (await audited(venue))[-1].entry
    await undoing(venue).of(entry)
    assert (await venue.venues.all())[0].access == Access()


def test_the_id_of_a_withdrawal_is_an_id_for_any_product() -> None:
    """And another one for another product."""
    names = {withdrawal_of(product) for product in ("a", "x" * 64, "x" * 63 + "y")}
    assert len(names) == 3
    assert all(len(name) <= 64 for name in names)
