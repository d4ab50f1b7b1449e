"""Appends that share a round trip: what arrives while one append is under way goes into the next one together.

Each batch is answered only when its own events are in the log. Events of batches without a key become one entry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from api.packed import PackedTaken
from api.taken import Taken
from racing.errors import OverloadedError, StaleNumbersError, StoreUnavailableError
from racing.metrics import METRICS
from racing.store.desk import Appended, Desk, KeyedBatch
from racing.store.numbers import Numbers

WAITING_MAX_EVENTS = 200_000
"""Events that may wait for an append: more means that Redis does not keep up, and senders are told so."""
APPEND_MAX_S = 0.75
"""Connecting, proving and appending together: senders must hear of trouble within 1 s."""
_LONG_S = 0.2
_LATE = f"Redis is away: no reply within {APPEND_MAX_S} s"
_ENTRY_MAX_EVENTS = 2_000
"""Events of one entry made of several batches."""

_UNCHECKED = Numbers()
"""Of no table: for callers whose numbers are not looked up."""

Done = Callable[[Appended | Exception], None]
"""Hears what became of a batch, once: its entry, or why there is none."""


class _Waiting(msgspec.Struct):
    taken: Taken | PackedTaken
    keyed: KeyedBatch | None
    done: Done
    numbers: Numbers

    def __len__(self) -> int:
        return len(self.taken)


class Appender:
    """The way of one process into the log of one venue."""

    def __init__(self, desk: Desk, venue: str, secret: bytes) -> None:
        self._desk = desk
        self._venue = venue
        self.secret = secret
        self.shut: str | None = None
        """Why no event is taken just now; set by whoever watches the load."""
        self.used = True
        """Whether something was appended since that was looked at last."""
        self._waiting: list[_Waiting] = []
        self._size = 0
        self._task: asyncio.Task[None] | None = None

    async def append(
        self, taken: Taken | PackedTaken, keyed: KeyedBatch | None = None, numbers: Numbers = _UNCHECKED
    ) -> Appended:
        """Return when the events are in the log. With a key it is safe to repeat.

        numbers: those that the events' runners are of. Raises StaleNumbersError where these are no longer right,
        StoreUnavailableError, and IdempotencyMismatchError for a key that came with another body.
        """
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        self.submit(taken, keyed, partial(_settle, future), numbers)
        return await future

    def submit(
        self, taken: Taken | PackedTaken, keyed: KeyedBatch | None, done: Done, numbers: Numbers = _UNCHECKED
    ) -> None:
        """As append, for a caller that does not wait. Raises OverloadedError where too many wait already."""
        if self._size + len(taken) > WAITING_MAX_EVENTS:
            raise OverloadedError(f"more than {WAITING_MAX_EVENTS} events wait to be logged: send again later")
        self._waiting.append(_Waiting(taken, keyed, done, numbers))
        self._size += len(taken)
        if self._task is None:
            self._task = asyncio.create_task(self._drain(), name=f"append-{self._venue}")

    async def _drain(self) -> None:
        try:
            while self._waiting:
                METRICS.set("saima_append_waiting_events", self._venue, self._size)
                begun_s = time.monotonic()
                away = await self._append(self._of_one_table(self._taken()))
                if away is not None and time.monotonic() - begun_s > _LONG_S:
                    for each in self._taken():  # who came meanwhile must not wait for a second time-out
                        each.done(away)
        finally:
            self._task = None

    def _taken(self) -> list[_Waiting]:
        """All who wait, who wait no more."""
        taken, self._waiting, self._size = self._waiting, [], 0
        return taken

    def _of_one_table(self, group: list[_Waiting]) -> list[_Waiting]:
        """Those whose numbers are of the newest table; the others are told, as the server would tell them."""
        newest = group[-1].numbers
        if all(each.numbers is newest for each in group):
            return group
        gone = StaleNumbersError("the runner numbers of this batch were dropped while it waited")
        for each in group:
            if each.numbers is not newest:
                each.done(gone)
        return [each for each in group if each.numbers is newest]

    async def _append(self, group: Sequence[_Waiting]) -> StoreUnavailableError | None:
        """Append, and tell each of the group; returns why Redis took none of it in time."""
        results: list[Appended | Exception]
        away = None
        self.used = True
        begun = time.perf_counter()
        try:
            entries = await self._entries(group)
            members = [each for _, each in entries]
            async with asyncio.timeout(APPEND_MAX_S):
                results = [
                    *await self._desk.append_all(self._venue, [entry for entry, _ in entries], group[-1].numbers.mark)
                ]
        except (StoreUnavailableError, TimeoutError) as exc:
            away = exc if isinstance(exc, StoreUnavailableError) else StoreUnavailableError(_LATE)
            members, results = [group], [away]
        except Exception as exc:  # noqa: BLE001  # each request of the group must hear of it
            members, results = [group], [exc]
        METRICS.observe("saima_append_seconds", self._venue, time.perf_counter() - begun)
        _tell(members, results)
        try:
            return away
        finally:
            del away, results  # errors hold this frame, and with it the group: together until the collector runs

    async def _entries(self, group: Sequence[_Waiting]) -> list[tuple[bytes | KeyedBatch, Sequence[_Waiting]]]:
        """(what to append, whose it is): batches with a key alone, those of one form and table of kinds together.

        Other work has its turn after each of those, which takes about a millisecond to pack.
        """
        entries: list[tuple[bytes | KeyedBatch, Sequence[_Waiting]]] = []
        alike: dict[tuple[type, tuple[str, ...]], list[_Waiting]] = {}
        for each in group:
            if each.keyed is not None:
                entries.append((each.keyed, [each]))
            else:
                alike.setdefault((type(each.taken), each.taken.kinds), []).append(each)
        for portion in (each for several in alike.values() for each in _portions(several)):
            if entries:
                await asyncio.sleep(0)
            entries.append((self._packed(portion), portion))
        return entries

    def _packed(self, together: Sequence[_Waiting]) -> bytes:
        plain = [each.taken for each in together if isinstance(each.taken, Taken)]
        packed = [each.taken for each in together if isinstance(each.taken, PackedTaken)]
        taken = Taken.joined(plain) if plain else PackedTaken.joined(packed)
        return taken.batch(self.secret).pack()


def _tell(members: Sequence[Sequence[_Waiting]], results: Sequence[Appended | Exception]) -> None:
    for several, result in zip(members, results, strict=True):
        for each in several:
            each.done(result)


def _portions(waiting: Sequence[_Waiting]) -> list[list[_Waiting]]:
    """The same in order, in portions of at most _ENTRY_MAX_EVENTS events, or of one batch."""
    portions: list[list[_Waiting]] = []
    size = 0
    for each in waiting:
        if not portions or size + len(each) > _ENTRY_MAX_EVENTS:
            portions.append([])
            size = 0
        portions[-1].append(each)
        size += len(each)
    return portions


def _settle(future: asyncio.Future[Appended], result: Appended | Exception) -> None:
    if future.done():
        return  # its sender has gone
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
