"""Event ids already counted, and the payments that refunds may name."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from racing.columns import Array
from racing.events import hash_id
from racing.windows import Windows

Mask = npt.NDArray[np.bool_]

_LONG_GONE_MS = -(2**62)
"""The time of a payment that no longer base brings back."""


def kind_salt(kind: str) -> int:
    """What an id hash is xored with, so that one id may name an event of each kind."""
    return hash_id("kind", kind)


class SeenIds:
    """Exact memory of (kind, id) until each one's own expiry, whenever it is purged.

    Bound: the events with an id in the longest memory of any rule so far.
    """

    def __init__(self) -> None:
        self._expiry_ms: dict[int, int] = {}
        self._payments: dict[int, tuple[int, int, int, int]] = {}  # key -> (time_ms, runner, amount left, expiry_ms)
        self._queue: deque[tuple[int, list[int]]] = deque()
        self._fresh: list[int] = []
        self._fresh_payments: set[int] = set()

    def __len__(self) -> int:
        return len(self._expiry_ms)

    def first_seen(self, keys: list[int], moments_ms: list[int], memory_ms: int) -> Mask:
        """True for each key not seen within its memory, in order; all are seen from now on."""
        known = self._expiry_ms
        first = np.ones(len(keys), np.bool_)
        added: list[int] = []
        for index, (key, moment_ms) in enumerate(zip(keys, moments_ms, strict=True)):
            if known.get(key, 0) > moment_ms:
                first[index] = False
            else:
                known[key] = moment_ms + memory_ms
                added.append(key)
        if added:
            self._queue.append((max(moments_ms) + memory_ms, added))
            self._fresh += added
        return first

    def paid(self, key: int, time_ms: int, runner: int, amount: int, expiry_ms: int) -> None:
        """Remember a counted payment under its id's key, as long as the id."""
        self._payments[key] = (time_ms, runner, amount, expiry_ms)
        self._fresh_payments.add(key)

    def take_back(self, key: int, runner: int, amount: int, moment_ms: int) -> tuple[int, int, bool] | None:
        """(time_ms, amount to subtract, whether the payment is gone) of the payment under key.

        amount 0 takes all that is left, and never more is taken than was paid. None where no such
        payment of this runner is remembered at the moment, or all of it was taken back before.
        """
        time_ms, payer, left, expiry_ms = self._payments.get(key, (0, -1, -1, 0))
        # its own expiry decides, not whether it was purged: that depends on batches and restarts
        if payer != runner or left < 0 or expiry_ms <= moment_ms:
            return None
        taken = left if amount == 0 else min(amount, left)
        whole = taken == left
        self._payments[key] = (time_ms, runner, -1 if whole else left - taken, expiry_ms)
        self._fresh_payments.add(key)
        return time_ms, taken, whole

    def recut(self, old: Windows) -> None:
        """Let payments go where their cells go when these windows' buckets are cut anew.

        One that had left the base has no cell, and a longer base must not bring it back for a refund.
        """
        for key, (time_ms, runner, left, expiry_ms) in self._payments.items():
            bucket = time_ms // old.bucket_ms
            start_ms = bucket * old.bucket_ms if bucket >= old.oldest else _LONG_GONE_MS
            self._payments[key] = (start_ms, runner, left, expiry_ms)

    def purge(self, moment_ms: int) -> None:
        """Forget what has expired; changes no answer."""
        while self._queue and self._queue[0][0] <= moment_ms:
            for key in self._queue.popleft()[1]:
                if self._expiry_ms.get(key, moment_ms + 1) <= moment_ms:
                    del self._expiry_ms[key]
                    self._payments.pop(key, None)

    def save(self, *, full: bool) -> dict[str, Array]:
        """Columns of what came since the last save, or of everything."""
        keys = list(self._expiry_ms) if full else [key for key in self._fresh if key in self._expiry_ms]
        payments = [k for k in (self._payments if full else self._fresh_payments) if k in self._payments]
        payments.sort()
        self._fresh, self._fresh_payments = [], set()
        if not keys and not payments:
            return {}
        paid = np.array([self._payments[key] for key in payments], np.int64).reshape(-1, 4)
        return {
            "id_key": np.array(keys, np.uint64),
            "id_expiry_ms": np.array([self._expiry_ms[key] for key in keys], np.int64),
            "paid_key": np.array(payments, np.uint64),
            "paid_ms": paid[:, 0],
            "paid_runner": paid[:, 1],
            "paid_left": paid[:, 2],
            "paid_expiry_ms": paid[:, 3],
        }

    def load(self, columns: dict[str, Array]) -> None:
        """Add what save gave."""
        if "id_key" not in columns:
            return
        keys, expiry = columns["id_key"].tolist(), columns["id_expiry_ms"].tolist()
        self._expiry_ms.update(zip(keys, expiry, strict=True))
        for expiry_ms, key in sorted(zip(expiry, keys, strict=True)):
            if not self._queue or self._queue[-1][0] < expiry_ms:
                self._queue.append((expiry_ms, []))
            self._queue[-1][1].append(key)
        names = ("paid_ms", "paid_runner", "paid_left", "paid_expiry_ms")
        rows = zip(*(columns[name].tolist() for name in names), strict=True)
        self._payments.update(zip(columns["paid_key"].tolist(), rows, strict=True))
