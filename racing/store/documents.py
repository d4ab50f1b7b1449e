"""Documents of runners and rule versions as hashes hold them: JSON objects that carry their own checksum.

Redis keeps none. A sealed document is the same object with one field more, its last: ``"sum"``, CRC-32 of all before it
in hex. Who does not know of it passes over a field; what has none was written by an older Saima, and is believed.
"""

from __future__ import annotations

import re
import zlib
from typing import Any

import msgspec

from racing.entries import RuleChange, Runner
from racing.errors import CorruptRecordError


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


_encode = msgspec.json.Encoder().encode
_decode_runner = msgspec.json.Decoder(Runner).decode
_decode_version = msgspec.json.Decoder(RuleVersion).decode
_SEAL = re.compile(rb',"sum":"([0-9a-f]{8})"\}')
_SEAL_BYTES = len(b',"sum":"00000000"}')


def encode_runner(runner: Runner) -> bytes:
    """A runner's data as its hash holds it."""
    return _sealed(_encode(runner))


def encode_version(version: RuleVersion) -> bytes:
    """A rule version as its hash holds it."""
    return _sealed(_encode(version))


def version_of(change: RuleChange, at_ms: int) -> RuleVersion:
    """The rule version that a decision in the log made."""
    return RuleVersion(change.version, change.rule, change.author, change.note, at_ms, change.formula)


def decode_runner(raw: bytes) -> Runner:
    """A runner's data. Raises CorruptRecordError for what is not as it was written."""
    try:
        return _decode_runner(_checked(raw))
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise CorruptRecordError(f"the data of a runner cannot be decoded ({exc}): saima mend") from exc


def decode_version(raw: bytes) -> RuleVersion:
    """A rule version. Raises CorruptRecordError for what is not as it was written."""
    try:
        return _decode_version(_checked(raw))
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise CorruptRecordError(f"a rule version cannot be decoded ({exc}): saima mend") from exc


def _sealed(document: bytes) -> bytes:
    """A JSON object of one field or more, sealed. Cost: O(bytes)."""
    body = document[:-1]
    return b'%b,"sum":"%08x"}' % (body, zlib.crc32(body))


def _checked(document: bytes) -> bytes:
    """A document that is what was sealed, or was never sealed. Raises CorruptRecordError."""
    found = _SEAL.fullmatch(document, max(0, len(document) - _SEAL_BYTES))
    if found is not None and int(found[1], 16) != zlib.crc32(document[: found.start()]):
        raise CorruptRecordError("a document's checksum does not match its bytes: saima mend")
    return document
