"""Documents of runners, rule versions, orders and plans as hashes hold them: JSON objects that carry a checksum.

Redis keeps none. A sealed document is the same object with one field more, its last: ``"sum"``, CRC-32 of all before it
in hex, or its SHA-1 where a script makes it. Who does not know of it passes over a field; what has none was written by
an older Saima, and is believed.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from hashlib import sha1
from typing import Any, TypeVar

import msgspec

from racing.entries import RuleChange, Runner
from racing.errors import CorruptRecordError, OrderError
from racing.orders import Order, parse_order

T = TypeVar("T")


class RuleVersion(msgspec.Struct, frozen=True):
    """One version of a venue's rule: the document, who made it, why and when, and the formula that scores it.

    phase: the id of the phase that it was made for; empty of one that was put as the rule.
    """

    version: int
    rule: dict[str, Any]
    author: str
    note: str
    at_ms: int
    formula: int = 1
    phase: str = ""


class OrderDocument(msgspec.Struct, frozen=True):
    """An order of the desk as it is kept: the log entry that put it, who did, and its document."""

    entry: str
    who: str
    order: dict[str, Any]

    def parsed(self) -> Order:
        """The order. Raises CorruptRecordError."""
        try:
            return parse_order(self.order)
        except OrderError as exc:
            raise CorruptRecordError(f"an order that is kept is none ({exc}): saima mend") from exc


class Plan(msgspec.Struct, frozen=True):
    """Orders to put and to withdraw, and perhaps a rule, under one id. who: the key that saved it last."""

    id: str
    put: list[dict[str, Any]] = []
    withdraw: list[str] = []
    rule: dict[str, Any] | None = None
    note: str = ""
    who: str = ""


_encode = msgspec.json.Encoder().encode
_decode_runner = msgspec.json.Decoder(Runner).decode
_decode_version = msgspec.json.Decoder(RuleVersion).decode
_decode_order = msgspec.json.Decoder(OrderDocument).decode
_decode_plan = msgspec.json.Decoder(Plan).decode
_SEAL = re.compile(rb',"sum":"([0-9a-f]{8}|[0-9a-f]{40})"\}\Z')
_SEAL_BYTES_MAX = len(b',"sum":""}') + 40


def encode_runner(runner: Runner) -> bytes:
    """A runner's data as its hash holds it."""
    return _sealed(_encode(runner))


def encode_version(version: RuleVersion) -> bytes:
    """A rule version as its hash holds it."""
    return _sealed(_encode(version))


def encode_order(order: OrderDocument) -> bytes:
    """An order as its hash holds it, where its log entry is known; put_orders makes those that it logs itself."""
    return _sealed(_encode(order))


def encode_plan(plan: Plan) -> bytes:
    """A plan as its hash holds it."""
    return _sealed(_encode(plan))


def version_of(change: RuleChange, at_ms: int) -> RuleVersion:
    """The rule version that a decision in the log made."""
    return RuleVersion(change.version, change.rule, change.author, change.note, at_ms, change.formula)


def decode_runner(raw: bytes) -> Runner:
    """A runner's data. Raises CorruptRecordError for what is not as it was written."""
    return _decoded(_decode_runner, raw, "the data of a runner")


def decode_version(raw: bytes) -> RuleVersion:
    """A rule version. Raises CorruptRecordError for what is not as it was written."""
    return _decoded(_decode_version, raw, "a rule version")


def decode_order(raw: bytes) -> OrderDocument:
    """An order that is kept. Raises CorruptRecordError for what is not as it was written."""
    return _decoded(_decode_order, raw, "an order that is kept")


def decode_plan(raw: bytes) -> Plan:
    """A plan. Raises CorruptRecordError for what is not as it was written."""
    return _decoded(_decode_plan, raw, "a plan")


def _decoded(decode: Callable[[bytes], T], raw: bytes, what: str) -> T:
    try:
        return decode(_checked(raw))
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise CorruptRecordError(f"{what} cannot be decoded ({exc}): saima mend") from exc


def _sealed(document: bytes) -> bytes:
    """A JSON object of one field or more, sealed. Cost: O(bytes)."""
    body = document[:-1]
    return b'%b,"sum":"%08x"}' % (body, zlib.crc32(body))


def _sum_of(body: bytes, digits: int) -> str:
    """The checksum of so many digits."""
    return f"{zlib.crc32(body):08x}" if digits == len("00000000") else sha1(body, usedforsecurity=False).hexdigest()


def _checked(document: bytes) -> bytes:
    """A document that is what was sealed, or was never sealed. Raises CorruptRecordError."""
    found = _SEAL.search(document, max(0, len(document) - _SEAL_BYTES_MAX))
    if found is not None and found[1].decode() != _sum_of(document[: found.start()], len(found[1])):
        raise CorruptRecordError("a document's checksum does not match its bytes: saima mend")
    return document
