"""One look at a time from outside: a write that is tried once, a read, and whether the board moves."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx2

from racing.store.commit import read_commit
from racing.store.keys import VenueKeys
from racing.store.protocol import SyncClient
from tests.faults.bounds import Bounded, at_least, at_most
from tests.faults.parts import RULE, VENUE

_VENUE = "probes"
"""A venue of their own: nobody knows of a write that was tried once whether it was counted."""
_BODY = b'{"events":[{"type":"click","product":"p"}]}'
_JSON = {"Content-Type": "application/json"}


@dataclass
class Refusals(Bounded):
    """What writes were answered that could not be taken: each must be 503 with Retry-After, within a second."""

    writes_refused: int = at_least(1)
    writes_wrong: int = at_most(0)
    refused_s_max: float = at_most(1.0)


class Probes:
    """A client for looks; use it as a context."""

    def __init__(self, base: str) -> None:
        self.acknowledged = 0
        self._client = httpx2.Client(base_url=base, timeout=5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def open(self) -> None:
        """Make their venue."""
        made = self._client.post("/v1/venues", json={"venue": _VENUE, "rule": RULE})
        assert made.status_code == 201, made.text
        runner = {"product": "p", "merchant": "m", "title": "t"}
        enrolled = self._client.post(f"/v1/venues/{_VENUE}/runners", json=runner)
        assert enrolled.status_code == 201, enrolled.text

    def taken(self) -> bool:
        """Whether a write is acknowledged."""
        return self._post().status_code == 202

    def refused(self, into: Refusals, *, may_fit: bool = False) -> httpx2.Response:
        """The answer to a write while none can be taken; takes note of it. may_fit: a small one may all the same."""
        asked_s = time.monotonic()
        answer = self._post()
        into.refused_s_max = max(into.refused_s_max, round(time.monotonic() - asked_s, 3))
        into.writes_refused += answer.status_code == 503
        told = answer.status_code == 503 and "retry-after" in answer.headers
        into.writes_wrong += not (told or (may_fit and answer.status_code == 202))
        return answer

    def _post(self) -> httpx2.Response:
        answer = self._client.post(f"/v1/venues/{_VENUE}/events", content=_BODY, headers=_JSON)
        self.acknowledged += answer.status_code == 202
        return answer

    def lost(self, client: SyncClient) -> int:
        """How many of the acknowledged writes the race has not counted."""
        return max(0, self.acknowledged - read_commit(client, VenueKeys(_VENUE)).counts.get("counted", 0))

    def served(self) -> bool:
        """Whether a read is answered."""
        return self._client.get(f"/v1/venues/{VENUE}/slots?limit=5").status_code == 200

    def fresh(self) -> bool:
        """Whether the board is not marked, and shows what was committed less than a second ago."""
        answer = self._client.get(f"/v1/venues/{VENUE}/slots?limit=5")
        age_ms = int(answer.headers.get("saima-age-ms", 1_000_000))
        return answer.status_code == 200 and answer.json()["stale"] is False and age_ms < 1_000
