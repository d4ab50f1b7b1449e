"""Runners whose standings are kept wherever they stand, because somebody asked for it.

Of all others the first 10,000 are kept (racing/store/minutes.py). Who is watched, and until when, is in Redis; the
owner keeps them with the standings of each minute and each ten seconds, in records beside theirs.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from racing.errors import ConflictError
from racing.store.blocks import DamagedFileError
from racing.store.client import store_errors, store_errors_async
from racing.store.commands import Commands
from racing.store.keys import VenueKeys, member
from racing.store.planes import columns, planes
from racing.store.protocol import SyncClient

WATCHED_MAX = 1_000
"""Of one venue: some 9 kB a record, and of the server a rank and a score each, every ten seconds and every minute."""
OWN_MAX = 100
"""Of one merchant in one venue, so that ten are heard at least."""
_HEAD = struct.Struct("<QI")
"""Moment (ms, log time), runners."""
_LEVEL = 6

Point = tuple[int | None, int, float]
"""Slot, standing and score; the score to seven digits."""
Watched = tuple[tuple[int, Point], ...]
"""Runners by number, and where they stood."""


# -- who is watched ------------------------------------------------------------------------------------------


def watched_at(client: SyncClient, keys: VenueKeys, now_ms: int) -> list[int]:
    """Numbers of the runners that are watched at a moment, ascending, each once. Raises StoreError."""
    with store_errors():
        names = client.execute_command("ZRANGEBYSCORE", keys.watched, f"({now_ms}", "+inf")
    return sorted({int(name.rpartition(b":")[2]) for name in names})


class Watching:
    """Who is watched, as the API asks for it. Each method raises StoreError. A part of the desk."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    async def watch(self, venue: str, merchant: str, runner: int, *, until_ms: int, now_ms: int) -> None:
        """Have a runner watched until a moment, instead of any other; it begins within ten seconds. Safe to repeat.

        Raises ConflictError where OWN_MAX of the merchant, or WATCHED_MAX of the venue, are watched.
        """
        args = (merchant, _name(merchant, runner), until_ms, now_ms, OWN_MAX, WATCHED_MAX)
        done = await self._commands.run("watch_runner", (VenueKeys(venue).watched,), args)
        if done == 1:
            return
        whose, most = (f"merchant {merchant!r}", OWN_MAX) if done == 0 else (f"venue {venue!r}", WATCHED_MAX)
        raise ConflictError(
            f"the histories of {most} products of {whose} are kept, and no more: end one (DELETE), or wait for its end"
        )

    async def release(self, venue: str, merchant: str, runner: int) -> None:
        """Watch a runner no longer; what was kept stays. Safe to repeat."""
        await self._commands.ask("ZREM", VenueKeys(venue).watched, _name(merchant, runner))

    async def until(self, venue: str, merchant: str, runner: int, *, now_ms: int) -> int | None:
        """Until when a runner is watched, ms; None where it is not, now."""
        async with store_errors_async():
            asked = ("ZSCORE", VenueKeys(venue).watched, _name(merchant, runner))
            found = await self._commands.client.execute_command(*asked)
        return int(found) if found is not None and found > now_ms else None


def _name(merchant: str, runner: int) -> str:
    return f"{merchant}:{member(runner)}"


# -- one record ----------------------------------------------------------------------------------------------


def pack_watched(at_ms: int, stood: Watched) -> bytes:
    """A record: about 10 bytes a runner."""
    whole = np.array([(runner, slot or 0, standing) for runner, (slot, standing, _) in stood], np.int64)
    scores = np.array([score for _, (_, _, score) in stood], np.float32)
    parts = [*whole.reshape(-1, 3).T, scores.view(np.uint32).astype(np.int64)]
    return _HEAD.pack(at_ms, len(stood)) + zlib.compress(b"".join(map(planes, parts)), _LEVEL)


def point_in(data: bytes, runner: int) -> Point | None:
    """Where a runner stood by a record; None where it is not in it. Raises DamagedFileError."""
    try:
        _, count = _HEAD.unpack_from(data)
        runners, slots, standings, bits = columns(zlib.decompress(data[_HEAD.size :]), *(count,) * 4)
    except (struct.error, zlib.error, ValueError) as exc:
        raise DamagedFileError(f"watched runners that cannot be decoded: {exc}") from exc
    for at in np.flatnonzero(runners == runner).tolist():
        score = bits[at : at + 1].astype(np.uint32).view(np.float32)
        return int(slots[at]) or None, int(standings[at]), float(f"{score[0]:.7g}")
    return None
