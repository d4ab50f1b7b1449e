"""What the hashes of orders and plans must hold: each as it was put, under its own id, and every order of the race.

As in racing/store/hashes.py, a wrong byte can only come while a server loads its file. What is right stands in the
venue's decisions, which are never trimmed; and of orders that hold, or will, in the race, whose log has checksums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from racing import decisions
from racing.decisions import Decision, What
from racing.errors import CorruptRecordError
from racing.model import Position
from racing.race import Race
from racing.store.client import store_errors
from racing.store.documents import OrderDocument, Plan, decode_order, decode_plan, encode_order, encode_plan
from racing.store.keys import ORDERS_LAST, VenueKeys
from racing.store.protocol import SyncClient

_READ = 200
"""Decisions of one read."""


@dataclass(frozen=True, slots=True)
class _Said:
    """The newest word on an order or a plan: of which entry and by whom, and its document; None: it is withdrawn."""

    entry: Position
    who: str
    document: dict[str, Any] | None


class DeskHashes:
    """The hashes of orders and plans of one venue."""

    def __init__(
        self,
        client: SyncClient,
        keys: VenueKeys,
        fields: Callable[[str], Iterable[tuple[bytes, bytes]]],
        put: Callable[[str, bytes, bytes, bytes], None],
    ) -> None:
        """fields: those of a hash. put: gives a field another value, unless it is not as it was read any more."""
        self._client, self._keys = client, keys
        self._fields, self._put = fields, put

    def orders(self, race: Race) -> list[str]:
        """Write orders anew that are wrong or missing; returns those, in words, that nothing tells of.

        These go: what the race does not know is not in force. Raises StoreUnavailableError. Cost: the hash, and where
        something is wrong the decisions, back to where they tell of it.
        """
        found = dict(self._fields(self._keys.orders))
        last = found.pop(ORDERS_LAST.encode(), b"")
        held = {document["id"].encode(): document for document in race.steering.book.documents()}
        wrong, named = _wrong(found, lambda raw: decode_order(raw).parsed().id)
        wanted = wrong | (named | held.keys()) - found.keys()
        said = self._said("orders", wanted)
        for name in wanted & held.keys():
            told = said.get(name, _Said(race.position, "", None))
            if told.entry <= race.position:  # else it was put anew since then
                said[name] = _Said(told.entry, told.who, held[name])
        for name in wanted:
            right = b""
            if name in said and (document := said[name].document) is not None:
                right = encode_order(OrderDocument(str(said[name].entry), said[name].who, document))
            self._write(self._keys.orders, name, found.get(name, b""), right)
        self._last(last)
        return [f"order {_text(name)}" for name in sorted(wrong - said.keys())]

    def _last(self, held: bytes) -> None:
        """See to the field that names the entry which changed orders last: it must be that of a decision."""
        if not held:
            return
        with suppress(ValueError):
            entry = str(Position.parse(held))
            with store_errors():
                if entry.encode() == held and self._client.xrange(self._keys.decisions, min=entry, max=entry):
                    return
        newest = next((entry for entry, made in self._decisions() if made.what == "orders"), None)
        self._write(self._keys.orders, ORDERS_LAST.encode(), held, b"" if newest is None else str(newest).encode())

    def plans(self) -> list[str]:
        """Write plans anew that are wrong; returns those, in words, that nothing tells of: they go as well."""
        found = dict(self._fields(self._keys.plans))
        wrong, named = _wrong(found, lambda raw: decode_plan(raw).id)
        wanted = wrong | named - found.keys()
        said = self._said("plan", wanted)
        for name in wanted:
            right = b""
            if name in said and (document := said[name].document) is not None:
                right = encode_plan(msgspec.convert(document, Plan))
            self._write(self._keys.plans, name, found.get(name, b""), right)
        return [f"plan {_text(name)}" for name in sorted(wrong - said.keys())]

    def _write(self, key: str, name: bytes, read: bytes, right: bytes) -> None:
        if read != right:
            self._put(key, name, read, right)

    def _said(self, what: What, names: set[bytes]) -> dict[bytes, _Said]:
        """The newest word on each of these ids that any decision is on."""
        said: dict[bytes, _Said] = {}
        for entry, made in self._decisions() if names else ():
            for change in made.changes if made.what == what else ():
                if (name := change.of.encode()) in names:
                    said.setdefault(name, _Said(entry, made.who, change.after))
            if len(said) == len(names):
                break
        return said

    def _decisions(self) -> Iterator[tuple[Position, Decision]]:
        """The decisions on the venue, newest first, each with its entry; those that cannot be decoded left out."""
        last = "+"
        while True:
            with store_errors():
                raws = self._client.xrevrange(self._keys.decisions, max=last, count=_READ)
            for name, fields in raws:
                with suppress(CorruptRecordError):
                    yield Position.parse(name), decisions.decode(fields.get(b"decision", b""))
            if len(raws) < _READ:
                return
            last = f"({raws[-1][0].decode()}"


def _wrong(found: dict[bytes, bytes], id_of: Callable[[bytes], str]) -> tuple[set[bytes], set[bytes]]:
    """(fields whose document is damaged or another's, the ids of all documents that are sound)."""
    wrong: set[bytes] = set()
    named: set[bytes] = set()
    for name, raw in found.items():
        told = b""
        with suppress(CorruptRecordError):
            told = id_of(raw).encode()
            named.add(told)
        if told != name:
            wrong.add(name)
    return wrong, named


def _text(name: bytes) -> str:
    return name.decode(errors="replace")
