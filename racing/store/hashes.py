"""What the hashes of a venue must hold: held against the race, the log and the decisions, and mended.

API processes read them, the fold does not. A server that loads its file wrongly gives them a wrong byte, a field under
another name, or one less; that can only happen then, so they are looked at once for each server run, as the sorted sets
are. What is right stands in the log: products by number in the race, the documents of runners and rules in its
decisions. Orders and plans: racing/store/desk_hashes.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from racing.entries import Enrolment, RuleChange, Runner
from racing.errors import CorruptRecordError
from racing.model import START, Position
from racing.race import Race
from racing.store.client import store_errors
from racing.store.desk_hashes import DeskHashes
from racing.store.documents import decode_runner, decode_version, encode_runner, encode_version, version_of
from racing.store.keys import VenueKeys
from racing.store.protocol import SyncClient
from racing.store.scripts import source

Decided = Iterable[tuple[Position, RuleChange | Enrolment]]
"""Rule changes and enrolments, oldest first, each with its position."""


@dataclass(frozen=True, slots=True)
class Hashes:
    """What was found: fields that were wrong and are mended, and what no sound decision tells of."""

    mended: int = 0
    left: tuple[str, ...] = ()


def mend_hashes(
    client: SyncClient,
    keys: VenueKeys,
    race: Race,
    decided: Callable[[Position], Decided],
    *,
    meanwhile: Callable[[], None] = lambda: None,
) -> Hashes:
    """Hold the hashes against the race, and write anew what is wrong.

    decided: all rule changes and enrolments that are kept of the past after a position; those before the race's own are
    asked for only where something is damaged. What has moved on meanwhile is left alone, so that it does no harm if
    another owner does the same. meanwhile: called between reads. Raises StoreUnavailableError. Cost: O(runners) and the
    log after the race's position, read twice.
    """
    work = _Work(client, keys, race, decided, meanwhile)
    work.products()
    wrong_runners, wrong_rules = work.wrong_runners(), work.wrong_rules()
    if wrong_runners or wrong_rules:
        work.documents(wrong_runners, wrong_rules)
    desk = DeskHashes(client, keys, work.fields, work.put)
    of_desk = [*desk.orders(race), *desk.plans()]
    left = (*(f"runner {n}" for n in wrong_runners), *(f"rule {n}" for n in wrong_rules), *of_desk)
    return Hashes(work.mended, left)


_Wrong = dict[int, list[tuple[bytes, bytes]]]
"""Number -> fields that are wrong for it, each with its value as it was read; empty where it has none."""


class _Work:
    def __init__(
        self,
        client: SyncClient,
        keys: VenueKeys,
        race: Race,
        decided: Callable[[Position], Decided],
        meanwhile: Callable[[], None],
    ) -> None:
        self._client, self._keys, self._race = client, keys, race
        self._decided, self._meanwhile = decided, meanwhile
        self.mended = 0

    def fields(self, key: str) -> Iterator[tuple[bytes, bytes]]:
        """The fields of a hash, as they are read."""
        with store_errors():
            for place, (name, value) in enumerate(self._client.hscan_iter(key, count=1000)):
                if place % 1000 == 0:
                    self._meanwhile()
                yield name, value

    def put(self, key: str, name: bytes, read: bytes, wanted: bytes) -> None:
        """Give a field another value, unless it has moved on since it was read."""
        with store_errors():
            self.mended += int(self._client.eval(source("mend_field"), 1, key, name, read, wanted))

    def _products(self) -> list[str]:
        """Product by number at the end of the log: asked after a hash was read, it has all that came to that."""
        names = list(self._race.products)
        for _, decision in self._decided(self._race.position):
            if isinstance(decision, Enrolment) and decision.follows(len(names)):
                for number, runner in decision.runners:
                    names += [""] * (number + 1 - len(names))
                    names[number] = runner.product
        return names

    def products(self) -> None:
        """Each product that the log knows stands under its number, and nothing else does."""
        key = self._keys.products
        found = list(self.fields(key))
        names = self._products()
        wanted = {product.encode(): b"%d" % number for number, product in enumerate(names) if product}
        for name, value in found:
            right = wanted.pop(name, None)
            known = value.isdigit() and int(value) >= len(names)
            if value != right and (right is not None or not known):
                self.put(key, name, value, right or b"")
        for name, right in wanted.items():
            self.put(key, name, b"", right)

    def wrong_runners(self) -> _Wrong:
        """Numbers whose document is missing, damaged, or another product's."""
        found = list(self.fields(self._keys.runners))
        names = self._products()
        missing = {number for number, product in enumerate(names) if product}
        wrong: _Wrong = {}
        for name, value in found:
            number = int(name) if name.isdigit() else -1
            known = number < len(names)
            with suppress(CorruptRecordError):
                runner = decode_runner(value)
                if number >= 0 and (not known or runner.product == names[number]):
                    missing.discard(number)
                    continue
            wrong.setdefault(number, []).append((name, value))
        for number in missing - wrong.keys():
            wrong[number] = [(b"%d" % number, b"")]
        return wrong

    def wrong_rules(self) -> _Wrong:
        """Versions whose document is missing, damaged or another's; sees to what names the current and the highest."""
        key, base = self._keys.rules, self._race.base.version
        found = dict(self.fields(key))
        current, highest = found.pop(b"current", b""), found.pop(b"highest", None)
        sound: set[int] = set()
        wrong: _Wrong = {}
        for name, value in found.items():
            number = int(name) if name.isdigit() else -1
            with suppress(CorruptRecordError):
                if decode_version(value).version == number:
                    sound.add(number)
                    continue
            wrong.setdefault(number, []).append((name, value))
        top = max({*sound, base})
        for number in set(range(1, top + 1)) - sound - wrong.keys():  # they are given one after the other
            wrong[number] = [(b"%d" % number, b"")]
        for number in [number for number in wrong if number > top and b"%d" % number not in {current, highest}]:
            wrong.setdefault(-1, []).extend(wrong.pop(number))
        if current != b"%d" % base:
            right = self._newest_rule()
            if right and current != b"%d" % right:
                self.put(key, b"current", current, b"%d" % right)
        if highest is not None and highest not in {b"%d" % number for number in {top, *wrong} if number >= top}:
            self.put(key, b"highest", highest, b"%d" % top)
        return wrong

    def _newest_rule(self) -> int:
        """The newest rule version of the log, folded or not; 0 where none is left of it."""
        return max(
            (decision.version for _, decision in self._decided(START) if isinstance(decision, RuleChange)),
            default=self._race.base.version,
        )

    def documents(self, runners: _Wrong, rules: _Wrong) -> None:
        """Write documents anew as the log has them; what is mended is taken out of runners and rules."""
        said: dict[int, Runner] = {}
        versions: dict[int, bytes] = {}
        for position, decision in self._decided(START):
            if isinstance(decision, RuleChange):
                versions[decision.version] = encode_version(version_of(decision, position.ms))
            else:
                said.update((number, runner) for number, runner in decision.runners if number in runners)
        self._write(self._keys.runners, runners, {number: encode_runner(runner) for number, runner in said.items()})
        self._write(self._keys.rules, rules, versions)

    def _write(self, key: str, wrong: _Wrong, right: dict[int, bytes]) -> None:
        for number in list(wrong):
            if number not in right and number >= 0:
                continue
            for name, value in wrong.pop(number):
                self.put(key, name, value, right.get(number, b""))
