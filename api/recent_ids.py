"""Ids of events that came before, to tell senders of repeats at once."""

from __future__ import annotations

from collections.abc import Sequence


class RecentIds:
    """Event ids that this process has put into the log, to tell senders of repeats; the fold decides exactly.

    Bound: two generations of at most ``most`` ids and one batch.
    """

    def __init__(self, most: int = 200_000) -> None:
        self._most = most
        self._now: dict[tuple[str, str], int] = {}  # (kind, id) -> when it came first, ms
        self._before: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        return len(self._now) + len(self._before)

    def repeats(self, named: Sequence[tuple[str, str]], *, since_ms: int) -> int:
        """How many of the (kind, id) pairs repeat one from before: within the batch, or from since_ms on."""
        seen: set[tuple[str, str]] = set()
        now, before = self._now.get, self._before.get
        count = 0
        for key in named:
            if key in seen or now(key, before(key, -1)) >= since_ms:
                count += 1
            seen.add(key)
        return count

    def add(self, named: Sequence[tuple[str, str]], *, now_ms: int, since_ms: int) -> None:
        """Take note that events of these (kind, id) are in the log; a repeat from since_ms on is no news."""
        known, before = self._now, self._before.get
        for key in named:
            if known.get(key, before(key, -1)) < since_ms:
                known[key] = now_ms
        if len(known) > self._most:
            self._before, self._now = known, {}
