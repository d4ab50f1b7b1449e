"""Appends that share a round trip: what arrives while one append is under way goes into the next one together.

Each batch is answered only when its own events are in the log. Events of batches without a key become one entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from api.ingest import Taken
from api.packed import PackedTaken
from racing.errors import StoreUnavailableError
from racing.store.desk import Appended, Desk, KeyedBatch

WAITING_MAX_EVENTS = 200_000
"""Events that may wait for an append: more means that Redis does not keep up, and senders are told so."""
_ENTRY_MAX_EVENTS = 2_000
"""Events of one entry made of several batches."""


@dataclass(slots=True)
class _Waiting:
    taken: Taken | PackedTaken
    keyed: KeyedBatch | None
    done: asyncio.Future[Appended]

    def __len__(self) -> int:
        return len(self.taken)


class Appender:
    """The way of one process into the log of one venue."""

    def __init__(self, desk: Desk, venue: str, secret: bytes) -> None:
        self._desk = desk
        self._venue = venue
        self._secret = secret
        self._waiting: list[_Waiting] = []
        self._size = 0
        self._task: asyncio.Task[None] | None = None

    async def append(self, taken: Taken | PackedTaken, keyed: KeyedBatch | None = None) -> Appended:
        """Return when the events are in the log. With a key it is safe to repeat.

        Raises StoreUnavailableError, and IdempotencyMismatchError for a key that came with another body.
        """
        if self._size + len(taken) > WAITING_MAX_EVENTS:
            raise StoreUnavailableError(f"more than {WAITING_MAX_EVENTS} events wait to be logged: send again later")
        waiting = _Waiting(taken, keyed, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._size += len(taken)
        if self._task is None:
            self._task = asyncio.create_task(self._drain(), name=f"append-{self._venue}")
        return await waiting.done

    async def _drain(self) -> None:
        while self._waiting:
            group, self._waiting, self._size = self._waiting, [], 0
            try:
                await self._append(group)
            except Exception as exc:  # noqa: BLE001  # each request of the group must hear of it
                for each in group:
                    if not each.done.done():
                        each.done.set_exception(exc)
        self._task = None

    async def _append(self, group: Sequence[_Waiting]) -> None:
        entries = self._entries(group)
        results = await self._desk.append_all(self._venue, [entry for entry, _ in entries])
        for (_, members), result in zip(entries, results, strict=True):
            for each in members:
                if each.done.done():
                    continue  # its sender has gone
                if isinstance(result, Exception):
                    each.done.set_exception(result)
                else:
                    each.done.set_result(result)

    def _entries(self, group: Sequence[_Waiting]) -> list[tuple[bytes | KeyedBatch, list[_Waiting]]]:
        """(what to append, whose it is): batches with a key and packed ones alone, the others together."""
        entries: list[tuple[bytes | KeyedBatch, list[_Waiting]]] = []
        together: list[_Waiting] = []
        size = 0
        for each in group:
            if each.keyed is not None:
                entries.append((each.keyed, [each]))
            elif isinstance(each.taken, PackedTaken):
                entries.append((each.taken.batch(self._secret).pack(), [each]))
            else:
                if together and size + len(each) > _ENTRY_MAX_EVENTS:
                    entries.append((self._packed(together), together))
                    together, size = [], 0
                together.append(each)
                size += len(each)
        if together:
            entries.append((self._packed(together), together))
        return entries

    def _packed(self, together: Sequence[_Waiting]) -> bytes:
        taken = [each.taken for each in together if isinstance(each.taken, Taken)]
        return Taken.joined(taken).batch(self._secret).pack()
