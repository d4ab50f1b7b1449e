"""What an acknowledgement promises: in ``safe`` mode nothing is acknowledged that the server has not proved to keep.

Proof is one of two, read back on the connection that appended, in the same round trip, once per group of appends:
that the server syncs its append-only file before it answers (CONFIG GET), or that so many replicas have what was
written (WAIT, its reply compared with what was asked). WAITAOF is none: servers were seen to answer it before a sync.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from racing.errors import NotDurableError, StoreError, StoreUnavailableError
from racing.settings import Settings
from racing.store.client import as_text, store_errors
from racing.store.line import Asking, Command
from racing.store.protocol import AsyncClient, SyncClient

WAIT_MS = 400
"""Longest wait for replicas: half of what a writer may wait for a reply, so that it hears of the reason."""
_WANTED = {"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no"}
_READ_SYNC: Command = ("CONFIG", "GET", *_WANTED)

InForce = Literal["fast", "safe", "not reached"]


class SafeLine:
    """Asks through another line, and answers only what the server has proved to keep.

    replicas: how many must have it; 0: the append-only file must be synced before each reply. Where the last proof
    failed, a new one is asked for before anything is written: so a server that cannot keep it is sent nothing. Cost:
    one more command in each round trip; with replicas, the wait for them.
    """

    def __init__(self, line: Asking, *, replicas: int) -> None:
        self._line = line
        self._replicas = replicas
        self._proof: Command = ("WAIT", replicas, WAIT_MS) if replicas else _READ_SYNC
        self._proved = False

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """As Asking has it. Raises NotDurableError for what was perhaps written, but is not proved to be kept."""
        try:
            if not self._proved:
                self._heed((await self._line.ask([self._proof]))[-1])
            *replies, proof = await self._line.ask([*commands, self._proof])
            self._heed(proof)
        except StoreError:
            self._proved = False
            raise
        return replies

    def _heed(self, proof: Any) -> None:
        lacks = replicas_lack(proof, self._replicas) if self._replicas else sync_lacks(proof)
        if lacks is not None:
            raise NotDurableError(f"safe mode: {lacks}; not acknowledged, send it again under the same Idempotency-Key")
        self._proved = True


def replicas_lack(reply: Any, wanted: int) -> str | None:
    """What a reply to WAIT lacks; None where so many replicas have it."""
    if isinstance(reply, int) and reply >= wanted:
        return None
    found = f"WAIT failed: {reply}" if isinstance(reply, Exception) else f"{reply} of {wanted} replicas have it"
    return f"{found} after {WAIT_MS} ms"


def sync_lacks(reply: Sequence[Any] | Exception) -> str | None:
    """What a reply to CONFIG GET lacks; None where the file is synced before each reply, also during a rewrite."""
    if isinstance(reply, Exception) or not reply:
        return "appendfsync cannot be read: allow CONFIG GET"
    texts = [as_text(each) for each in reply]
    found = dict(zip(texts[::2], texts[1::2], strict=True))
    wrong = [f"{name} is {found.get(name)}, not {value}" for name, value in _WANTED.items() if found.get(name) != value]
    return " and ".join(wrong) or None


@dataclass(frozen=True, slots=True)
class Durability:
    """What was asked for, what is in force, and what was found at the server."""

    asked: Literal["fast", "safe"]
    in_force: InForce
    found: str
    promise: str
    advice: str = ""


def durability(settings: Settings, sync: Sequence[str], info: Mapping[str, Any]) -> Durability:
    """What is in force. sync: a reply to CONFIG GET, empty where it is refused; info: of INFO replication."""
    attached = online_replicas(info)
    lacks = sync_lacks(sync)
    found = f"{'synced before each answer' if lacks is None else lacks}; replicas attached: {attached}"
    if settings.durability == "fast":
        return Durability("fast", "fast", found, _FAST if lacks is not None else _FAST_SYNCED)
    wanted = settings.safe_replicas
    if wanted and attached < wanted:
        advice = f"attach {wanted} replicas, or lower SAIMA_SAFE_REPLICAS: until then events are answered 503"
        return Durability("safe", "not reached", found, _NOT_REACHED, advice)
    if wanted:
        return Durability("safe", "safe", found, _SAFE_REPLICAS.format(wanted=wanted))
    if lacks is not None:
        advice = "CONFIG SET appendonly yes, appendfsync always: until then events are answered 503"
        return Durability("safe", "not reached", found, _NOT_REACHED, advice)
    advice = "a failover may lose what its replica lacks: set SAIMA_SAFE_REPLICAS=1" if attached else ""
    return Durability("safe", "safe", found, _SAFE_SYNCED, advice)


_FAST = "a killed or powered-off server may lose about a second of what was acknowledged, a failover what replicas lack"
_FAST_SYNCED = "what was acknowledged survives a power cut, as long as the server stays configured so: nobody checks"
_SAFE_SYNCED = "what was acknowledged survives a kill and a power cut of the server, not the loss of its disk"
_SAFE_REPLICAS = "what was acknowledged, {wanted} replicas hold as well: it survives a failover to one of them"
_NOT_REACHED = "nothing is acknowledged"


def online_replicas(info: Mapping[str, Any]) -> int:
    """How many replicas follow the server, by its INFO replication."""
    replicas = (info.get(f"slave{index}") for index in range(int(info.get("connected_slaves", 0))))
    return sum(isinstance(each, Mapping) and each.get("state") == "online" for each in replicas)


def detect(client: SyncClient, settings: Settings) -> Durability:
    """What is in force at a server. Raises StoreUnavailableError."""
    info: dict[str, Any] = {}
    with _readable(), store_errors():
        info = client.info("replication")
    sync: Sequence[str] = ()
    with _readable(), store_errors():
        sync = _flat(client.config_get(*_WANTED))
    return durability(settings, sync, info)


async def detect_async(client: AsyncClient, settings: Settings) -> Durability:
    """As detect, for the API."""
    info: dict[str, Any] = {}
    with _readable(), store_errors():
        info = await client.info("replication")
    sync: Sequence[str] = ()
    with _readable(), store_errors():
        sync = _flat(await client.config_get(*_WANTED))
    return durability(settings, sync, info)


def best_of(nodes: Mapping[str, Durability | BaseException]) -> Durability:
    """Of a cluster's nodes: what is in force at the best of them, and what was found at each.

    Raises what was raised at a node where none answers, and anything but StoreUnavailableError in any case.
    """
    found = {name: each for name, each in nodes.items() if isinstance(each, Durability)}
    for each in nodes.values():
        if isinstance(each, BaseException) and not (found and isinstance(each, StoreUnavailableError)):
            raise each
    best = min(found.values(), key=lambda each: each.in_force == "not reached")
    shown = (f"{name} {each.found if isinstance(each, Durability) else each}" for name, each in nodes.items())
    return replace(best, found="; ".join(shown))


@contextmanager
def _readable() -> Iterator[None]:
    """Pass over what the server refuses to tell this user; a server that is away is still an error."""
    try:
        yield
    except StoreUnavailableError:
        raise
    except StoreError:
        return


def _flat(config: Mapping[Any, Any]) -> list[str]:
    return [as_text(part) for pair in config.items() for part in pair]
