"""Quotas: one token bucket per key and API process, and the headers that tell a caller where it stands."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Hashable
from math import ceil
from typing import Final

from api.errors import ProblemError

WINDOW_S: Final = 1


class Bucket:
    """Lets per_s requests a second through, and as many at once after a second of rest. 0: any number.

    The moment comes from the caller, s of one monotonic clock. Cost of take: some 0.2 us.
    """

    __slots__ = ("_at_s", "_left", "_lines", "_per_s", "policy")

    def __init__(self, per_s: int) -> None:
        self._per_s = self._left = float(per_s)
        self._at_s = 0.0
        self.policy = f'"key";q={per_s};w={WINDOW_S}' if per_s else ""
        """The RateLimit-Policy header (draft-ietf-httpapi-ratelimit-headers-11); empty without a quota."""
        self._lines = b'ratelimit-policy: %b\r\nratelimit: "key";r=%%d;t=1\r\n' % self.policy.encode()

    def take(self, now_s: float) -> bool:
        """Whether one more request is within the quota; then it is counted."""
        per_s = self._per_s
        if not per_s:
            return True
        left = min(per_s, self._left + (now_s - self._at_s) * per_s)
        self._at_s = now_s
        if left < 1:
            self._left = left
            return False
        self._left = left - 1
        return True

    def told(self) -> str:
        """The RateLimit header: how many requests are left, and the seconds until the quota is whole again."""
        return f'"key";r={int(self._left)};t={WINDOW_S}'

    def lines(self) -> bytes:
        """Both headers as lines of HTTP; none without a quota."""
        if not self._per_s:
            return b""
        return self._lines % self._left

    def retry_after_s(self) -> int:
        """Whole seconds until a request would be let through, at least 1."""
        return max(1, ceil((1 - self._left) / self._per_s)) if self._per_s else 1


_NAMES_MAX: Final = 10_000


class Pace:
    """Lets each name through so many times in any stretch of so many seconds. Bound: 10,000 names, then all begin anew.

    The moment comes from the caller, s of one monotonic clock.
    """

    def __init__(self, times: int, within_s: int) -> None:
        self._times, self._within_s = times, within_s
        self._taken: dict[Hashable, deque[float]] = {}

    @property
    def words(self) -> str:
        """The pace, in words."""
        return f"{self._times} times in {self._within_s} s"

    def take(self, name: Hashable, now_s: float) -> int:
        """0 if the name may pass, which is counted; else the whole seconds until it may."""
        if name not in self._taken and len(self._taken) >= _NAMES_MAX:
            self._taken.clear()
        taken = self._taken.setdefault(name, deque(maxlen=self._times))
        if len(taken) == self._times and now_s - taken[0] < self._within_s:
            return max(1, ceil(self._within_s - (now_s - taken[0])))
        taken.append(now_s)
        return 0


class Quotas:
    """A bucket for each name that asks. Bound: 10,000 names; beyond that all begin anew."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._buckets: dict[str, Bucket] = {}

    def take(self, name: str | None) -> None:
        """Count one request of a name; None is not counted. Raises ProblemError (429) beyond its quota."""
        if name is None:
            return
        if name not in self._buckets and len(self._buckets) >= _NAMES_MAX:
            self._buckets.clear()
        bucket = self._buckets.setdefault(name, Bucket(self._per_s))
        if not bucket.take(time.monotonic()):
            raise ProblemError(
                "too_many_requests",
                f"more than {self._per_s} requests a second of this sort: ask for more products at once, less often",
                headers={"Retry-After": str(bucket.retry_after_s())},
            )
