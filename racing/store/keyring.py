"""API keys in Redis: made, rotated and revoked, each change with its entry in the audit stream.

Every change moves a version that each API process looks at once a second, so that a revoked key stops
working everywhere within a few seconds of the process reaching Redis.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import msgspec

from racing.apikeys import KeyRecord, KeyRefusedError, check_scope, digest_of, id_of, mint
from racing.errors import ConflictError, NotFoundError
from racing.store.client import store_errors
from racing.store.keys import API_KEYS, API_KEYS_USED, API_KEYS_VERSION, AUDIT, AUDIT_MAX
from racing.store.protocol import SyncClient, SyncPipeline

KEYS_MAX = 10_000
"""Keys of a deployment: each API process holds all of them."""
_FORGET_MS = 30 * 86_400_000
"""A key that ended so long ago is forgotten when the next one is made."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(KeyRecord).decode


def decode_keys(raws: Mapping[bytes, bytes]) -> dict[str, KeyRecord]:
    """The hash of keys as Redis answers it, by digest. What this version cannot read grants nothing."""
    found = {}
    for digest, raw in raws.items():
        try:
            found[digest.decode()] = _decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return found


def read_keys(client: SyncClient) -> dict[str, KeyRecord]:
    """Every key that is kept, by digest. Raises StoreError."""
    with store_errors():
        return decode_keys(client.hgetall(API_KEYS))


def last_used_ms(client: SyncClient) -> dict[str, int]:
    """When each key was last used, by id; API processes write it every few seconds."""
    with store_errors():
        return {used.decode(): int(at_ms) for used, at_ms in client.hgetall(API_KEYS_USED).items()}


@contextmanager
def _changing(client: SyncClient) -> Iterator[tuple[dict[str, KeyRecord], SyncPipeline]]:
    """The keys as they are and a transaction that fails, with StoreError, if another changes them meanwhile."""
    with store_errors():
        pipe = client.pipeline(transaction=True)
        try:
            pipe.watch(API_KEYS)
            known = decode_keys(cast("dict[bytes, bytes]", pipe.hgetall(API_KEYS)))
            pipe.multi()
            yield known, pipe
            pipe.execute_command("INCR", API_KEYS_VERSION)
            pipe.execute()
        finally:
            pipe.reset()


def _put(pipe: SyncPipeline, digest: str, record: KeyRecord, *, who: str, what: str, at_ms: int) -> None:
    pipe.execute_command("HSET", API_KEYS, digest, _encode(record))
    entry = {"at_ms": at_ms, "who": who, "what": what, "key": record.id, "name": record.name, "role": record.role}
    pipe.execute_command("XADD", AUDIT, "MAXLEN", "~", AUDIT_MAX, "*", "entry", _encode(entry))


def create(
    client: SyncClient, wanted: KeyRecord, *, who: str, now_ms: int, key: str | None = None
) -> tuple[str, KeyRecord]:
    """(key, its record): the only time that the key is known. key: one that was minted before.

    Raises KeyRefusedError for a scope that does not fit, ConflictError for the name of a key that works.
    """
    check_scope(wanted)
    with _changing(client) as (known, pipe):
        names = {record.name for record in known.values() if record.state(now_ms) == "active"}
        if wanted.name in names:
            raise ConflictError(f"there is a key {wanted.name!r}: rotate it, revoke it, or choose another name")
        _forget(pipe, known, now_ms)
        if len(known) >= KEYS_MAX:
            raise KeyRefusedError(f"there are {len(known)} keys: at most {KEYS_MAX} are kept")
        return _make(pipe, wanted, key or mint(), who=who, what="create", now_ms=now_ms)


def _make(
    pipe: SyncPipeline, wanted: KeyRecord, key: str, *, who: str, what: str, now_ms: int
) -> tuple[str, KeyRecord]:
    record = msgspec.structs.replace(wanted, id=id_of(key) or "", created_ms=now_ms)
    _put(pipe, digest_of(key), record, who=who, what=what, at_ms=now_ms)
    return key, record


def _forget(pipe: SyncPipeline, known: dict[str, KeyRecord], now_ms: int) -> None:
    for digest, record in known.copy().items():
        ends = [at_ms for at_ms in (record.revoked_ms, record.expires_ms) if at_ms is not None]
        if ends and min(ends) + _FORGET_MS < now_ms:
            del known[digest]
            pipe.execute_command("HDEL", API_KEYS, digest)
            pipe.execute_command("HDEL", API_KEYS_USED, record.id)


def _named(known: dict[str, KeyRecord], which: str, now_ms: int) -> dict[str, KeyRecord]:
    found = {
        digest: record
        for digest, record in known.items()
        if which in {record.id, record.name} and record.state(now_ms) == "active"
    }
    if not found:
        raise NotFoundError(f"no key that works has the name or id {which!r}: saima key list shows them")
    return found


def revoke(client: SyncClient, which: str, *, who: str, now_ms: int) -> list[KeyRecord]:
    """End every key of this name or id, at once. Raises NotFoundError where none works."""
    with _changing(client) as (known, pipe):
        ended = []
        for digest, record in _named(known, which, now_ms).items():
            ended.append(msgspec.structs.replace(record, revoked_ms=now_ms))
            _put(pipe, digest, ended[-1], who=who, what="revoke", at_ms=now_ms)
        return ended


def rotate(
    client: SyncClient, which: str, *, overlap_ms: int, who: str, now_ms: int
) -> tuple[str, KeyRecord, list[KeyRecord]]:
    """(new key, its record, the old ones): the old ones work for overlap_ms more. Raises NotFoundError.

    The new one lives as long as the old one was made for.
    """
    with _changing(client) as (known, pipe):
        old = _named(known, which, now_ms)
        newest = max(old.values(), key=lambda record: record.created_ms)
        ended = []
        for digest, record in old.items():
            until_ms = min(now_ms + overlap_ms, record.expires_ms or now_ms + overlap_ms)
            ended.append(msgspec.structs.replace(record, expires_ms=until_ms))
            _put(pipe, digest, ended[-1], who=who, what="overlap", at_ms=now_ms)
        lifetime_ms = None if newest.expires_ms is None else newest.expires_ms - newest.created_ms
        again = msgspec.structs.replace(newest, expires_ms=None if lifetime_ms is None else now_ms + lifetime_ms)
        key, record = _make(pipe, again, mint(), who=who, what="rotate", now_ms=now_ms)
        return key, record, ended


def audit(client: SyncClient, count: int) -> list[dict[str, Any]]:
    """The newest entries of the audit stream, newest first."""
    with store_errors():
        raws = client.xrevrange(AUDIT, count=count)
    return [msgspec.json.decode(fields[b"entry"]) for _, fields in raws]
