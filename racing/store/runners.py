"""Runners as they are enrolled, changed and looked up by number. A part of the desk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import structlog

from racing import decisions
from racing.decisions import Change, Decision
from racing.entries import Runner
from racing.errors import ConflictError, CorruptRecordError, StaleNumbersError
from racing.store.client import as_text, store_errors_async
from racing.store.commands import Commands
from racing.store.documents import decode_runner, encode_runner
from racing.store.keys import VenueKeys
from racing.store.numbers import UNMARKED, Mark, Numbers

log = structlog.get_logger("saima.store")

_SCAN_STEP = 5_000
"""Fields of a hash that are asked for at once: some 2 ms of the server's time."""
_STATES = ("unchanged", "enrolled", "changed")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What became of one runner: its number and whether it was new, changed or unchanged."""

    product: str
    runner: int
    state: str


class Runners:
    """The runners of the deployment's venues."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    async def enrol(self, venue: str, runners: Sequence[Runner], *, author: str = "") -> list[Enrolled]:
        """Enrol products, or change their data; one log entry for all that changed. Safe to repeat."""
        keys = VenueKeys(venue)
        args = [_encode(author), *(part for runner in runners for part in (runner.product, encode_runner(runner)))]
        reply = await self._commands.run("enrol_runners", _tables(keys), args)
        return [
            Enrolled(runner.product, int(reply[2 * i + 1]), _STATES[int(reply[2 * i + 2])])
            for i, runner in enumerate(runners)
        ]

    async def find(self, venue: str, product: str) -> tuple[Runner, bytes] | None:
        """The data of a product, and as it is kept; None, after as many round trips, where it is not enrolled."""
        keys = VenueKeys(venue)
        async with store_errors_async():
            number = await self._commands.client.hget(keys.products, product)
            raw = await self._commands.client.hget(keys.runners, "-" if number is None else as_text(number))
        return None if raw is None else (decode_runner(raw), raw)

    async def change(self, venue: str, wanted: Runner, *, read: bytes, author: str) -> str | None:
        """The log entry by which a runner's data, as it was read, became another; None if it has moved on since.

        After StoreUnavailableError it may have been done.
        """
        change = Change("", msgspec.to_builtins(decode_runner(read)), msgspec.to_builtins(wanted))
        decision = Decision(author, "enrol", [change])
        try:
            return await self.change_all(venue, [(read, wanted)], decision)
        except ConflictError:
            return None

    async def change_all(self, venue: str, changes: Sequence[tuple[bytes, Runner]], decision: Decision) -> str:
        """The log entry by which the data of runners, as they were read, became others, all or none.

        Raises ConflictError, which names the product, where one has moved on. After StoreUnavailableError it may have
        been done.
        """
        keys = VenueKeys(venue)
        parts = [part for read, wanted in changes for part in (wanted.product, read, encode_runner(wanted))]
        named = (keys.products, keys.runners, keys.log, keys.decisions, keys.merchants, keys.tail, keys.watched)
        args = (_encode(decision.who), decisions.encode(decision), *parts)
        reply = await self._commands.run("change_runners", named, args)
        if reply[0] == 0:
            raise ConflictError(f"product {as_text(reply[1])!r} has moved on since it was read")
        return as_text(reply[1])

    async def swap(self, venue: str, product: str, wanted: Runner, *, read: bytes, decision: Decision) -> str:
        """The log entry by which another product took a runner's number, and with it sums, standing and place.

        read: the data of the one that goes, as they were read. Batches of the old product that come later, or were not
        yet appended, are refused: it is no longer enrolled. Raises ConflictError where the other is enrolled already,
        or the runner has moved on. After StoreUnavailableError it may have been done.
        """
        keys = VenueKeys(venue)
        args = (_encode(decision.who), decisions.encode(decision), product, read, wanted.product, encode_runner(wanted))
        reply = await self._commands.run("swap_runner", _tables(keys), args)
        if reply[0] == 2:  # noqa: PLR2004  # as the script says
            raise ConflictError(
                f"product {wanted.product!r} is enrolled in venue {venue!r} already: it races for itself"
            )
        if reply[0] == 0:
            raise ConflictError(f"product {product!r} has moved on since it was read")
        return as_text(reply[1])

    async def numbers(self, venue: str, products: Sequence[str], since: Mark = UNMARKED) -> Numbers:
        """Runner numbers of those products that are enrolled.

        Raises StaleNumbersError where the table of enrolments no longer holds all that it held at since.
        """
        keys = VenueKeys(venue)
        reply = await self._commands.read("read_numbers", (keys.products, keys.roll), (*since, *products))
        if reply[0] == 0:
            raise StaleNumbersError(f"venue {venue}: enrolments up to number {since.number} are no longer as they were")
        found = zip(products, reply[3:], strict=True)
        return Numbers(
            {product: int(number) for product, number in found if number is not None}, Mark(reply[1], bytes(reply[2]))
        )

    async def first_numbers(self, venue: str, *, at_most: int) -> Numbers:
        """Runner numbers of about so many enrolled products, whichever come first; a step takes the server 2 ms.

        Raises StaleNumbersError where enrolments were lost meanwhile.
        """
        begun = (await self.numbers(venue, ())).mark
        found = await self._scanned(venue, at_most)
        # those that came meanwhile might be lost and given anew before the end, unseen: only what was there is taken
        kept = {product: number for product, number in found.items() if begun == UNMARKED or number <= begun.number}
        return Numbers(kept, (await self.numbers(venue, (), begun)).mark)

    async def _scanned(self, venue: str, at_most: int) -> dict[str, int]:
        found: dict[str, int] = {}
        cursor = 0
        while True:
            async with store_errors_async():
                cursor, part = await self._commands.client.hscan(VenueKeys(venue).products, cursor, count=_SCAN_STEP)
            found.update({as_text(product): int(number) for product, number in part.items()})
            if not cursor or len(found) >= at_most:
                return found

    async def by_number(self, venue: str, numbers: Sequence[int]) -> dict[int, Runner]:
        """Data of runners by number; of one whose data is damaged there is none, until its scorer has mended it."""
        if not numbers:
            return {}
        async with store_errors_async():
            raws = await self._commands.client.hmget(VenueKeys(venue).runners, [str(number) for number in numbers])
        found = {}
        for number, raw in zip(numbers, raws, strict=True):
            try:
                found.update({} if raw is None else {number: decode_runner(raw)})
            except CorruptRecordError as exc:
                log.error("runner passed over", venue=venue, runner=number, reason=str(exc))  # noqa: TRY400  # said whole
        return found

    async def decisions(self, venue: str) -> int:
        """How many decisions were made on a venue: it grows with every change of runners' data. Cost: O(1)."""
        return int(await self._commands.look("XLEN", VenueKeys(venue).decisions))

    async def count(self, venue: str) -> int:
        """How many products are enrolled."""
        async with store_errors_async():
            return int(await self._commands.client.hlen(VenueKeys(venue).products))


def _tables(keys: VenueKeys) -> tuple[str, ...]:
    """What changes with who has which runner number."""
    log = keys.log, keys.roll, keys.decisions
    return keys.products, keys.runners, *log, keys.merchants, keys.tail, keys.watched
