"""What arrives while an append is under way shares the next one; each sender hears of its own events only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest

from api.appender import _ENTRY_MAX_EVENTS, WAITING_MAX_EVENTS, Appender
from api.packed import PackedTaken
from api.taken import Rows, Taken
from racing.errors import IdempotencyMismatchError, StaleNumbersError, StoreUnavailableError
from racing.events import EventBatch
from racing.store.desk import Appended, Desk, KeyedBatch
from racing.store.numbers import Mark, Numbers

SECRET = bytes(32)
MISMATCH = IdempotencyMismatchError("another body")

Batches = list[bytes | KeyedBatch]


class GatedDesk:
    """A log whose appends wait until they are let through, or fail with what they are told to."""

    def __init__(self) -> None:
        self.calls: list[Batches] = []
        self.marks: list[Mark] = []
        self._gates: list[asyncio.Future[None]] = []
        self._begun = asyncio.Event()

    async def append_all(self, venue: str, batches: Sequence[bytes | KeyedBatch], mark: Mark) -> list[Any]:
        assert venue == "hall-1"
        self.calls.append(list(batches))
        self.marks.append(mark)
        call, gate = len(self.calls), asyncio.get_running_loop().create_future()
        self._gates.append(gate)
        self._begun.set()
        await gate
        return [
            MISMATCH
            if isinstance(batch, KeyedBatch) and batch.key == "used"
            else Appended(f"{call}-{place}", batch.answer if isinstance(batch, KeyedBatch) else b"", repeated=False)
            for place, batch in enumerate(batches)
        ]

    async def begun(self, calls: int) -> Batches:
        """What the newest append holds, when so many have begun."""
        while len(self.calls) < calls:
            self._begun.clear()
            await self._begun.wait()
        assert len(self.calls) == calls
        return self.calls[-1]

    def let_through(self) -> None:
        self._gates[-1].set_result(None)

    def fail(self, exc: Exception) -> None:
        self._gates[-1].set_exception(exc)


def an_appender() -> tuple[Appender, GatedDesk]:
    desk = GatedDesk()
    return Appender(cast("Desk", desk), "hall-1", SECRET), desk


def taken(*runners: int) -> Taken:
    rows = Rows(["click"] * len(runners), [f"p-{runner}" for runner in runners])
    return Taken(rows, ("click",), bytes(len(runners)), np.array(runners, np.int64))


def packed_taken(*runners: int) -> PackedTaken:
    return PackedTaken(("click",), np.zeros(len(runners), np.uint8), np.array(runners, np.int64))


def keyed(key: str, events: Taken) -> KeyedBatch:
    return KeyedBatch(events.batch(SECRET).pack(), key, "digest", b"answer to " + key.encode())


def runners_of(entry: bytes | KeyedBatch) -> list[int]:
    found: list[int] = EventBatch.unpack(entry if isinstance(entry, bytes) else entry.packed).runner.tolist()
    return found


async def passed_on(*tasks: asyncio.Task[Appended]) -> None:
    """Return when each of the tasks, just made, waits for its answer."""
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


def sent(appender: Appender, events: Taken | PackedTaken, key: KeyedBatch | None = None) -> asyncio.Task[Appended]:
    return asyncio.create_task(appender.append(events, key))


async def busy() -> tuple[Appender, GatedDesk, asyncio.Task[Appended]]:
    """An appender with one append under way."""
    appender, desk = an_appender()
    first = sent(appender, taken(9))
    await desk.begun(1)
    return appender, desk, first


# ------------------------------------------------------------------------------------------------ refusals


async def test_more_events_than_may_wait_are_refused_and_harm_nobody() -> None:
    appender, desk, first = await busy()
    waiting = sent(appender, taken(*[0] * (WAITING_MAX_EVENTS - 1)))
    await passed_on(waiting)
    with pytest.raises(StoreUnavailableError, match=f"more than {WAITING_MAX_EVENTS} events wait"):
        await appender.append(taken(1, 1))
    last = sent(appender, taken(1))
    await passed_on(last)
    desk.let_through()
    await desk.begun(2)
    desk.let_through()
    assert [(await each).entry for each in (first, waiting, last)] == ["1-0", "2-0", "2-1"]


async def test_events_may_wait_again_when_those_before_are_under_way() -> None:
    appender, desk, _ = await busy()
    waiting = sent(appender, taken(*[0] * WAITING_MAX_EVENTS))
    await passed_on(waiting)
    desk.let_through()
    await desk.begun(2)
    late = sent(appender, taken(1))
    await passed_on(late)
    desk.let_through()
    await desk.begun(3)
    desk.let_through()
    assert (await late).entry == "3-0"


async def test_an_error_reaches_every_sender_of_its_append_and_no_other() -> None:
    appender, desk, first = await busy()
    group = [sent(appender, taken(1)), sent(appender, packed_taken(2)), sent(appender, taken(3), keyed("k", taken(3)))]
    await passed_on(*group)
    desk.let_through()
    await desk.begun(2)
    other = sent(appender, taken(4))
    await passed_on(other)
    away = StoreUnavailableError("Redis is away")
    desk.fail(away)
    assert await asyncio.gather(*group, return_exceptions=True) == [away, away, away]
    await desk.begun(3)
    desk.let_through()
    assert ((await first).entry, (await other).entry) == ("1-0", "3-0")


async def test_after_an_error_the_next_append_begins_anew() -> None:
    appender, desk, first = await busy()
    desk.fail(StoreUnavailableError("Redis is away"))
    with pytest.raises(StoreUnavailableError):
        await first
    again = sent(appender, taken(1))
    await desk.begun(2)
    desk.let_through()
    assert (await again).entry == "2-0"


async def test_a_key_that_was_used_with_another_body_is_told_so_and_the_others_are_appended() -> None:
    appender, desk, _ = await busy()
    keys = ("a", "used", "b")
    group = [sent(appender, taken(1), keyed(key, taken(1))) for key in keys]
    plain = sent(appender, taken(2))
    await passed_on(*group, plain)
    desk.let_through()
    assert [each.key for each in await desk.begun(2) if isinstance(each, KeyedBatch)] == list(keys)
    desk.let_through()
    a, used, b = await asyncio.gather(*group, return_exceptions=True)
    assert used is MISMATCH
    assert (a, b) == (
        Appended("2-0", b"answer to a", repeated=False),
        Appended("2-2", b"answer to b", repeated=False),
    )
    assert (await plain).entry == "2-3"


# ------------------------------------------------------------------------------------------------ senders that go


async def test_a_sender_that_has_gone_harms_nobody_of_its_entry() -> None:
    """Its events are in the log, as if its answer had been lost."""
    appender, desk, _ = await busy()
    gone, stays = sent(appender, taken(1)), sent(appender, taken(2))
    await passed_on(gone, stays)
    desk.let_through()
    (entry,) = await desk.begun(2)
    gone.cancel()
    await asyncio.wait([gone])
    desk.let_through()
    assert (await stays).entry == "2-0"
    assert runners_of(entry) == [1, 2]
    assert gone.cancelled()


async def test_a_sender_that_has_gone_before_its_append_harms_nobody() -> None:
    appender, desk, first = await busy()
    gone, stays = sent(appender, taken(1)), sent(appender, taken(2))
    await passed_on(gone, stays)
    first.cancel()
    gone.cancel()
    await asyncio.wait([first, gone])
    desk.let_through()
    await desk.begun(2)
    desk.let_through()
    assert (await stays).entry == "2-0"


async def test_an_error_after_all_senders_have_gone_is_nobodys() -> None:
    appender, desk, first = await busy()
    first.cancel()
    await asyncio.wait([first])
    desk.fail(StoreUnavailableError("Redis is away"))
    again = sent(appender, taken(1))
    await desk.begun(2)
    desk.let_through()
    assert (await again).entry == "2-0"


# ------------------------------------------------------------------------------------------------ sharing


async def test_batches_that_arrive_during_an_append_share_the_next_entry_in_their_order() -> None:
    appender, desk, first = await busy()
    group = [sent(appender, taken(1, 2)), sent(appender, taken(3)), sent(appender, taken(4))]
    await passed_on(*group)
    assert len(desk.calls) == 1
    desk.let_through()
    assert [runners_of(entry) for entry in await desk.begun(2)] == [[1, 2, 3, 4]]
    desk.let_through()
    assert {(await each).entry for each in group} == {"2-0"}
    assert (await first).entry == "1-0"


async def test_a_batch_is_answered_only_when_its_own_append_is_done() -> None:
    appender, desk, first = await busy()
    second = sent(appender, taken(1))
    await passed_on(first, second)
    desk.let_through()
    await desk.begun(2)
    assert (await first).entry == "1-0"
    assert not second.done()
    desk.let_through()
    assert (await second).entry == "2-0"


async def test_a_batch_that_comes_alone_is_appended_at_once() -> None:
    appender, desk = an_appender()
    for call in (1, 2):
        alone = sent(appender, taken(call))
        assert [runners_of(entry) for entry in await desk.begun(call)] == [[call]]
        desk.let_through()
        assert (await alone).entry == f"{call}-0"


async def test_batches_with_a_key_are_entries_of_their_own_and_others_share_one_by_form() -> None:
    appender, desk, _ = await busy()
    group = [
        sent(appender, taken(1)),
        sent(appender, packed_taken(2, 3)),
        sent(appender, taken(4), keyed("k", taken(4))),
        sent(appender, taken(5)),
        sent(appender, packed_taken(6)),
    ]
    await passed_on(*group)
    desk.let_through()
    entries = await desk.begun(2)
    desk.let_through()
    mine = [runners_of(entries[int((await each).entry.removeprefix("2-"))]) for each in group]
    assert mine == [[1, 5], [2, 3, 6], [4], [1, 5], [2, 3, 6]]
    assert len(entries) == 3


async def test_an_entry_of_several_batches_has_its_most_and_a_batch_is_never_torn() -> None:
    appender, desk, _ = await busy()
    sizes = [_ENTRY_MAX_EVENTS - 1, 1, 1, _ENTRY_MAX_EVENTS + 1, 1]
    group = [sent(appender, taken(*[place] * size)) for place, size in enumerate(sizes)]
    await passed_on(*group)
    desk.let_through()
    entries = await desk.begun(2)
    desk.let_through()
    assert [sorted(set(runners_of(entry))) for entry in entries] == [[0, 1], [2], [3], [4]]
    assert [(await each).entry for each in group] == ["2-0", "2-0", "2-1", "2-2", "2-3"]


async def test_the_log_holds_the_events_of_those_who_are_told_so_once_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Many senders arrive during every append, and every fifth append fails, at once: however slow this machine is."""
    monkeypatch.setattr("api.appender.APPEND_MAX_S", 60.0)
    monkeypatch.setattr("api.appender._LONG_S", 60.0)
    rng = np.random.default_rng(7)
    appender, desk, first = await busy()
    senders = [([9], first)]
    for call in range(1, 40):
        for _ in range(rng.integers(1, 9)):
            runners = rng.integers(0, 10, rng.integers(1, 5)).tolist()
            senders.append((runners, sent(appender, taken(*runners))))
        await passed_on(senders[-1][1])
        if call % 5:
            desk.let_through()
        else:
            desk.fail(StoreUnavailableError("away"))
        await desk.begun(call + 1)
    desk.let_through()
    answers = await asyncio.gather(*(task for _, task in senders), return_exceptions=True)
    told = [
        (answer.entry, runners)
        for answer, (runners, _) in zip(answers, senders, strict=True)
        if isinstance(answer, Appended)
    ]
    logged = {
        f"{call}-{place}": runners_of(entry)
        for call, entries in enumerate(desk.calls, 1)
        for place, entry in enumerate(entries)
        if call % 5 or call == 40
    }
    found: dict[str, list[int]] = {}
    for entry, runners in told:
        found.setdefault(entry, []).extend(runners)
    assert found == logged
    assert len(told) < len(senders)


async def test_who_came_while_the_log_was_silent_hears_of_it_with_those_who_waited_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not after a second time-out: nobody waits much longer than one."""
    monkeypatch.setattr("api.appender.APPEND_MAX_S", 0.05)
    monkeypatch.setattr("api.appender._LONG_S", 0.01)
    appender, desk, first = await busy()
    second = sent(appender, taken(1))
    for task in (first, second):
        with pytest.raises(StoreUnavailableError, match="no reply within"):
            await task
    assert len(desk.calls) == 1, "for the second nothing was sent"


# ------------------------------------------------------------------------------------------------ numbers


async def test_batches_of_dropped_numbers_are_told_and_the_others_are_appended_under_their_mark() -> None:
    """Two tables in one group: only the newest can be the one that stands."""
    appender, desk, _ = await busy()
    old, new = Numbers({"a": 1}, Mark(1, b"old")), Numbers({"a": 2}, Mark(2, b"new"))
    before = asyncio.create_task(appender.append(taken(1), numbers=old))
    after = [
        asyncio.create_task(appender.append(taken(2), numbers=new)),
        asyncio.create_task(appender.append(taken(2), keyed("k", taken(2)), new)),
    ]
    await passed_on(before, *after)
    desk.let_through()
    assert sorted(runners_of(entry) for entry in await desk.begun(2)) == [[2], [2]]
    assert desk.marks[-1] == new.mark
    desk.let_through()
    assert isinstance((await asyncio.gather(before, return_exceptions=True))[0], StaleNumbersError)
    assert {(await each).entry for each in after} == {"2-0", "2-1"}
