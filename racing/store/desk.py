"""What the API does with a deployment: create venues, enrol, append events, change rules. Asynchronous.

Every method raises StoreUnavailableError when Redis does not answer in time: then nothing is known about the
write, and repeating it is safe where the method says so.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import structlog

from racing import decisions
from racing.decisions import Change, Decision
from racing.entries import RuleChange, Runner, encode_decision
from racing.errors import (
    ConflictError,
    CorruptRecordError,
    IdempotencyMismatchError,
    NotFoundError,
    RacingError,
    StaleNumbersError,
)
from racing.formula import FORMULA
from racing.lifecycle import State, check_move
from racing.model import Position
from racing.rule import Rule
from racing.settings import Settings
from racing.store.answers import parts_of
from racing.store.client import as_text, store_errors_async
from racing.store.crew_view import CrewView, read_crew
from racing.store.documents import RuleVersion, decode_runner, decode_version, encode_runner, encode_version
from racing.store.durability import Durability, best_of, detect_async
from racing.store.flight import Books, read_books
from racing.store.keys import AUDIT, AUDIT_MAX, SECRET, VENUES, VenueKeys, ticket
from racing.store.line import Asking, Command, Pipeline
from racing.store.numbers import UNMARKED, Mark, Numbers
from racing.store.protocol import AsyncClient
from racing.store.routed import RoutedClient
from racing.store.scripts import Script, bare, source
from racing.store.standings import Standings

log = structlog.get_logger("saima.store")


class Access(msgspec.Struct, frozen=True):
    """What a venue lets whom do while keys are in force.

    slots_public: anyone may read its slots; details_public: with scores, signals and counts. beacon_kinds: event kinds
    that publishable keys may send. merchants_may: what merchants may do to their own products. neighbours_named:
    whether they hear which products stand next to theirs. advice: how exactly they are told what would move them.
    """

    slots_public: bool = True
    details_public: bool = False
    beacon_kinds: tuple[str, ...] = ()
    merchants_may: tuple[Literal["stock", "price", "withdraw"], ...] = ()
    neighbours_named: bool = False
    advice: Literal["off", "coarse", "exact"] = "coarse"


class Venue(msgspec.Struct, frozen=True):
    """A venue's own data.

    state: where it is in its life. parent: the main venue that it is a sub venue of. cloned_from: the venue whose rule,
    runners and orders it began with. conditions: what a product must bring (racing/conditions.py).
    targets: what it is to sell (racing/targets.py).
    """

    venue: str
    title: str
    created_ms: int
    access: Access = Access()
    state: State = "open"
    parent: str = ""
    cloned_from: str = ""
    conditions: dict[str, Any] = {}
    targets: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What became of one runner: its number and whether it was new, changed or unchanged."""

    product: str
    runner: int
    state: str


@dataclass(frozen=True, slots=True)
class Appended:
    """The log entry of a batch and the answer that belongs to it; repeated when the key was known."""

    entry: str
    answer: bytes
    repeated: bool


@dataclass(frozen=True, slots=True)
class KeyedBatch:
    """A packed batch under an Idempotency-Key: the key's name in Redis, the body's digest, the answer to keep."""

    packed: bytes
    key: str
    digest: str
    answer: bytes


_SCAN_STEP = 5_000
"""Fields of a hash that are asked for at once: some 2 ms of the server's time."""
_TRIES = 5
_STATES = ("unchanged", "enrolled", "changed")
_encode = msgspec.json.Encoder().encode
_decode_venue = msgspec.json.Decoder(Venue).decode


class Desk:
    """The asynchronous side of the store, one per API process."""

    def __init__(self, client: AsyncClient, line: Asking | None = None, *, safe: bool = False) -> None:
        """line: what events are appended through; safe: a SafeLine, through which every other write goes as well."""
        self._client = client
        self._line = line or Pipeline(client)
        self._safe = safe
        self._scripts = {name: client.register_script(source(name)) for name in _SCRIPTS}
        self.standings = Standings(client)

    @property
    def client(self) -> AsyncClient:
        """The client: for reads of what else the store keeps."""
        return self._client

    async def run(self, name: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:  # each script's own reply
        """The reply of a script that writes, with what this deployment promises of writes. Raises StoreError."""
        if self._safe:
            return await self.ask("EVAL", source(name), len(keys), *keys, *args)
        return await self._read(name, keys, args)

    async def _read(self, name: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:  # each script's own reply
        async with store_errors_async():
            return await self._scripts[name](keys=list(keys), args=list(args))

    async def ask(self, *command: Any) -> Any:  # each command's own reply
        """The reply to one command on the line of the appends, with what that line promises. Raises StoreError."""
        (reply,) = await self._line.ask([command])
        if isinstance(reply, RacingError):
            raise reply
        return reply

    async def secret(self) -> bytes:
        """The deployment's secret for hashes of user ids, made on first use. Safe to repeat."""
        async with store_errors_async():
            known = await self._client.get(SECRET)
            if not known:  # a server that is full can still be asked for one that is there
                await self._client.set(SECRET, secrets.token_bytes(32), nx=True)
                known = await self._client.get(SECRET)
            return known or b""

    async def create(
        self, venue: str, title: str, rule: Rule, *, author: str, access: Access | None = None, **given: Any
    ) -> Venue:
        """Make a venue with its first rule version. Raises ConflictError if it exists. Safe to repeat after a fault.

        given: more of the venue's own data, as state or parent.

        The venue is listed, and raced, only when its own keys are complete.
        """
        now_ms = time.time_ns() // 1_000_000
        made = Venue(venue, title, now_ms, access or Access(), **given)
        document = rule.model_dump(mode="json", exclude_none=True)
        await self._put_rule(VenueKeys(venue), RuleVersion(1, document, author, "first rule", now_ms, FORMULA), after=0)
        fresh = await self.ask("HSETNX", VENUES, venue, _encode(made))
        if not fresh:
            raise ConflictError(f"venue {venue!r} exists already")
        return made

    async def put_access(self, venue: str, access: Access, *, author: str) -> Venue:
        """Make this the venue's access, whatever it was. Safe to repeat. Seen by every API process within 2 s."""

        def changed(before: Venue) -> tuple[Venue, Decision]:
            told = Change("access", msgspec.to_builtins(before.access), msgspec.to_builtins(access))
            return msgspec.structs.replace(before, access=access), Decision(author, "access", [told])

        made, entry = await self.change_venue(venue, changed)
        if entry:
            told = {"at_ms": Position.parse(entry).ms, "who": author, "what": "access", "venue": venue}
            told_whole = _encode({**told, "access": access})
            await self.ask("XADD", AUDIT, "MAXLEN", "~", AUDIT_MAX, "*", "entry", told_whole)
        return made

    async def tell_deletion(self, venue: str, *, author: str) -> None:
        """Tell the deployment's audit that a venue was deleted: its own decisions have gone with it."""
        told = {"at_ms": time.time_ns() // 1_000_000, "who": author, "what": "delete", "venue": venue}
        await self.ask("XADD", AUDIT, "MAXLEN", "~", AUDIT_MAX, "*", "entry", _encode(told))

    async def change_venue(self, venue: str, changed: Callable[[Venue], tuple[Venue, Decision]]) -> tuple[Venue, str]:
        """(a venue's own data as they are now, the log entry that tells of it; empty where nothing was to change).

        changed: what they shall be, and the decision, made of what they are; called again where another change came
        between. The entry is logged first, so that no change is without one; should another be faster after that, a
        further entry says that it is void. Raises NotFoundError, ConflictError. Safe to repeat.
        """
        for _ in range(_TRIES):
            async with store_errors_async():
                raw = await self._client.hget(VENUES, venue)
            if raw is None:
                raise NotFoundError(f"there is no venue {venue!r}")
            before = _decode_venue(raw)
            wanted, decision = changed(before)
            if wanted == before:
                return before, ""
            entry = await self.note(venue, decision)
            if await self.run("change_venue", (VENUES,), (venue, raw, _encode(wanted))):
                return wanted, entry
            await self.note(venue, Decision(decision.who, "void", undoes=entry))
        raise ConflictError(f"venue {venue!r} is changed by others all the time: try again")

    async def note(self, venue: str, decision: Decision) -> str:
        """Log a decision that the race knows nothing of; its entry."""
        keys = VenueKeys(venue)
        return as_text(
            await self.run("note_decision", (keys.log, keys.decisions, keys.tail), (decisions.encode(decision),))
        )

    async def put_conditions(self, venue: str, conditions: dict[str, Any], *, author: str) -> Venue:
        """Make these the venue's entry conditions, whatever they were. Safe to repeat."""

        def changed(before: Venue) -> tuple[Venue, Decision]:
            told = Change("conditions", before.conditions, conditions)
            return msgspec.structs.replace(before, conditions=conditions), Decision(author, "venue", [told])

        made, _ = await self.change_venue(venue, changed)
        return made

    async def put_targets(self, venue: str, targets: dict[str, Any], *, author: str) -> Venue:
        """Make these the venue's targets, whatever they were. Safe to repeat."""

        def changed(before: Venue) -> tuple[Venue, Decision]:
            told = Change("targets", before.targets, targets)
            return msgspec.structs.replace(before, targets=targets), Decision(author, "venue", [told])

        made, _ = await self.change_venue(venue, changed)
        return made

    async def move(self, venue: str, state: State, *, author: str, note: str) -> tuple[Venue, str]:
        """(the venue in another state of its life, the log entry that tells of it; empty where it is in it).

        Raises ConflictError where that may not follow the state that it is in.
        """

        def changed(before: Venue) -> tuple[Venue, Decision]:
            check_move(venue, before.state, state)
            told = Change("state", before.state, state)
            return msgspec.structs.replace(before, state=state), Decision(author, "venue", [told], note)

        return await self.change_venue(venue, changed)

    async def venues(self) -> list[Venue]:
        """All venues, sorted by id."""
        async with store_errors_async():
            raws = await self._client.hvals(VENUES)
        return sorted((_decode_venue(raw) for raw in raws), key=lambda venue: venue.venue)

    async def enrol(self, venue: str, runners: Sequence[Runner], *, author: str = "") -> list[Enrolled]:
        """Enrol products, or change their data; one log entry for all that changed. Safe to repeat."""
        keys = VenueKeys(venue)
        args = [_encode(author), *(part for runner in runners for part in (runner.product, encode_runner(runner)))]
        named = (keys.products, keys.runners, keys.log, keys.roll, keys.decisions, keys.merchants, keys.tail)
        reply = await self.run("enrol_runners", named, args)
        return [
            Enrolled(runner.product, int(reply[2 * i + 1]), _STATES[int(reply[2 * i + 2])])
            for i, runner in enumerate(runners)
        ]

    async def decided(self, venue: str) -> int:
        """How many decisions were made on a venue: it grows with every one, of runners' data too. Cost: O(1)."""
        async with store_errors_async():
            return int(await self._client.execute_command("XLEN", VenueKeys(venue).decisions))

    async def runner(self, venue: str, product: str) -> tuple[Runner, bytes] | None:
        """The data of a product, and as it is kept; None, after as many round trips, where it is not enrolled."""
        keys = VenueKeys(venue)
        async with store_errors_async():
            number = await self._client.hget(keys.products, product)
            raw = await self._client.hget(keys.runners, "-" if number is None else as_text(number))
        return None if raw is None else (decode_runner(raw), raw)

    async def change_runner(self, venue: str, wanted: Runner, *, read: bytes, author: str) -> str | None:
        """The log entry by which a runner's data, as it was read, became another; None if it has moved on since.

        After StoreUnavailableError it may have been done.
        """
        change = Change("", msgspec.to_builtins(decode_runner(read)), msgspec.to_builtins(wanted))
        decision = Decision(author, "enrol", [change])
        try:
            return await self.change_runners(venue, [(read, wanted)], decision)
        except ConflictError:
            return None

    async def change_runners(self, venue: str, changes: Sequence[tuple[bytes, Runner]], decision: Decision) -> str:
        """The log entry by which the data of runners, as they were read, became others, all or none.

        Raises ConflictError, which names the product, where one has moved on. After StoreUnavailableError it may have
        been done.
        """
        keys = VenueKeys(venue)
        parts = [part for read, wanted in changes for part in (wanted.product, read, encode_runner(wanted))]
        named = (keys.products, keys.runners, keys.log, keys.decisions, keys.merchants, keys.tail)
        args = (_encode(decision.who), decisions.encode(decision), *parts)
        reply = await self.run("change_runners", named, args)
        if reply[0] == 0:
            raise ConflictError(f"product {as_text(reply[1])!r} has moved on since it was read")
        return as_text(reply[1])

    async def swap_runner(self, venue: str, product: str, wanted: Runner, *, read: bytes, decision: Decision) -> str:
        """The log entry by which another product took a runner's number, and with it sums, standing and place.

        read: the data of the one that goes, as they were read. Batches of the old product that come later, or were not
        yet appended, are refused: it is no longer enrolled. Raises ConflictError where the other is enrolled already,
        or the runner has moved on. After StoreUnavailableError it may have been done.
        """
        keys = VenueKeys(venue)
        named = (keys.products, keys.runners, keys.log, keys.roll, keys.decisions, keys.merchants, keys.tail)
        told = (_encode(decision.who), decisions.encode(decision))
        reply = await self.run("swap_runner", named, (*told, product, read, wanted.product, encode_runner(wanted)))
        if reply[0] == 2:  # noqa: PLR2004  # as the script says
            raise ConflictError(
                f"product {wanted.product!r} is enrolled in venue {venue!r} already: it races for itself"
            )
        if reply[0] == 0:
            raise ConflictError(f"product {product!r} has moved on since it was read")
        return as_text(reply[1])

    async def keep_ticket(self, digest: str, opens: bytes, *, lives_s: int) -> None:
        """Keep what a ticket opens for so many seconds."""
        await self.ask("SET", ticket(digest), opens, "EX", lives_s)

    async def take_ticket(self, digest: str) -> bytes | None:
        """What a ticket opens, which is gone with that; None where there is none. A lost reply loses the ticket."""
        opens: bytes | None = await self.ask("GETDEL", ticket(digest))
        return opens

    async def numbers(self, venue: str, products: Sequence[str], since: Mark = UNMARKED) -> Numbers:
        """Runner numbers of those products that are enrolled.

        Raises StaleNumbersError where the table of enrolments no longer holds all that it held at since.
        """
        keys = VenueKeys(venue)
        reply = await self._read("read_numbers", (keys.products, keys.roll), (*since, *products))
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
                cursor, part = await self._client.hscan(VenueKeys(venue).products, cursor, count=_SCAN_STEP)
            found.update({as_text(product): int(number) for product, number in part.items()})
            if not cursor or len(found) >= at_most:
                return found

    async def runners(self, venue: str, numbers: Sequence[int]) -> dict[int, Runner]:
        """Data of runners by number; of one whose data is damaged there is none, until its scorer has mended it."""
        if not numbers:
            return {}
        async with store_errors_async():
            raws = await self._client.hmget(VenueKeys(venue).runners, [str(number) for number in numbers])
        found = {}
        for number, raw in zip(numbers, raws, strict=True):
            try:
                found.update({} if raw is None else {number: decode_runner(raw)})
            except CorruptRecordError as exc:
                log.error("runner passed over", venue=venue, runner=number, reason=str(exc))  # noqa: TRY400  # said whole
        return found

    async def runner_count(self, venue: str) -> int:
        """How many products are enrolled."""
        async with store_errors_async():
            return int(await self._client.hlen(VenueKeys(venue).products))

    async def append_all(
        self, venue: str, batches: Sequence[bytes | KeyedBatch], mark: Mark = UNMARKED
    ) -> list[Appended | RacingError]:
        """Append event batches in one round trip, in order; those with a key unless it was used before.

        mark: the table of enrolments that all their runner numbers are of. In place of an answer a key that came with
        another body has its IdempotencyMismatchError, a batch whose numbers are of a table that is gone its
        StaleNumbersError, one that was refused by the server its StoreError. After StoreUnavailableError batches with
        a key are safe to repeat, those without may have been counted.
        """
        keys = VenueKeys(venue)
        replies = await self._line.ask([_append_command(keys, batch, mark) for batch in batches])
        return [_appended(batch, reply) for batch, reply in zip(batches, replies, strict=True)]

    async def answered(self, venue: str, *, key: str, digest: str) -> Appended | None:
        """What was answered to this key before; None where it is new. Safe to repeat.

        Raises IdempotencyMismatchError when the key came with another body.
        """
        keys = VenueKeys(venue)
        known = await self.ask("EVAL", source("recall_answer"), 2, keys.answers, keys.answers_before, key)
        return None if known is None else _repeated(known, digest)

    async def rule(self, venue: str, version: int | None = None) -> RuleVersion:
        """A rule version, the current one by default. Raises NotFoundError."""
        keys = VenueKeys(venue)
        async with store_errors_async():
            wanted = str(version) if version else await self._client.hget(keys.rules, "current")
            raw = await self._client.hget(keys.rules, as_text(wanted)) if wanted else None
        if raw is None:
            raise NotFoundError(f"venue {venue!r} has no rule version {version or ''}".rstrip())
        return decode_version(raw)

    async def put_rule(
        self, venue: str, rule: Rule, *, after: int, author: str, note: str, undoes: str = ""
    ) -> tuple[RuleVersion, str]:
        """Make a rule current; returns its version and its log entry. ConflictError if after is not the current one.

        Its number is the next that was never given, to a phase neither.
        """
        document = rule.model_dump(mode="json", exclude_none=True)
        _, highest = await self.rule_numbers(venue)
        made = RuleVersion(max(after, highest) + 1, document, author, note, time.time_ns() // 1_000_000, FORMULA)
        entry = await self._put_rule(VenueKeys(venue), made, after=after, undoes=undoes)
        if entry is None:
            raise ConflictError(f"rule version {after} is no longer the current one")
        return made, entry

    async def rule_versions(self, venue: str, numbers: Sequence[int]) -> list[RuleVersion]:
        """Those of these rule versions that there are, in the order asked for."""
        if not numbers:
            return []
        async with store_errors_async():
            raws = await self._client.hmget(VenueKeys(venue).rules, [str(number) for number in numbers])
        return [decode_version(raw) for raw in raws if raw is not None]

    async def rule_numbers(self, venue: str) -> tuple[int, int]:
        """(the version that is current, the highest that was given); 0 where there is none yet."""
        async with store_errors_async():
            current, highest = await self._client.hmget(VenueKeys(venue).rules, ["current", "highest"])
        return int(current or 0), int(highest or current or 0)

    async def _put_rule(self, keys: VenueKeys, made: RuleVersion, *, after: int, undoes: str = "") -> str | None:
        change = RuleChange(made.version, made.rule, made.author, made.note, made.formula)
        decision = Decision(made.author, "rule", [Change("rule", after or None, made.version)], made.note, undoes)
        args = (
            str(after),
            str(made.version),
            encode_version(made),
            encode_decision(change),
            decisions.encode(decision),
        )
        reply = await self.run("put_rule", (keys.rules, keys.log, keys.tail, keys.decisions), args)
        return as_text(reply[1]) if reply[0] == 1 else None

    async def durability(self, settings: Settings) -> Durability:
        """What an acknowledgement promises now, as the server is set up; on a cluster by the best of its nodes.

        What is in force is asked for with each write: a node that lacks it makes only its own venues wait.
        """
        if not isinstance(self._client, RoutedClient):
            return await detect_async(self._client, settings)
        nodes = await self._client.nodes()
        asked = (detect_async(client, settings) for client in nodes.values())
        return best_of(dict(zip(nodes, await asyncio.gather(*asked, return_exceptions=True), strict=True)))

    async def books(self, venue: str) -> Books:
        """A venue's last commit and what is in flight after it. Raises StoreError, CorruptRecordError."""
        return await read_books(self._client, venue)

    async def crew(self, *, lease_ms: int) -> CrewView:
        """The scorers and who runs each venue. Raises StoreUnavailableError."""
        return await read_crew(self._client, lease_ms=lease_ms)


def _append_command(keys: VenueKeys, batch: bytes | KeyedBatch, mark: Mark) -> Command:
    if isinstance(batch, KeyedBatch):
        named = (keys.log, keys.tail, keys.answers, keys.answers_before, keys.roll)
        args = (batch.packed, batch.key, batch.digest, batch.answer)
        return ("EVAL", bare(source("append_events")), len(named), *named, *args, *mark)
    return ("EVAL", bare(source("append_batch")), 3, keys.log, keys.tail, keys.roll, batch, *mark)


def _appended(batch: bytes | KeyedBatch, reply: Any) -> Appended | RacingError:
    if isinstance(reply, RacingError):
        return reply
    if reply in (0, [2]):
        return StaleNumbersError("the runner numbers of this batch are of enrolments that are gone")
    if isinstance(batch, bytes):
        return Appended(as_text(reply), b"", repeated=False)
    if reply[0] == 1:
        return Appended(as_text(reply[1]), batch.answer, repeated=False)
    try:
        return _repeated(reply[1], batch.digest)
    except (IdempotencyMismatchError, CorruptRecordError) as exc:
        return exc


def _repeated(known: bytes, digest: str) -> Appended:
    stored, entry, answer = parts_of(bytes(known))
    if stored != digest:
        raise IdempotencyMismatchError("this Idempotency-Key was used with another body: use a new key for a new body")
    return Appended(entry, answer, repeated=True)


_SCRIPTS: tuple[Script, ...] = (
    "enrol_runners",
    "change_application",
    "change_runners",
    "change_venue",
    "note_decision",
    "put_application",
    "put_orders",
    "put_plan",
    "put_rule",
    "read_numbers",
    "swap_runner",
)
