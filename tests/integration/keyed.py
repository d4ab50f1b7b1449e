"""A deployment with keys in force, one venue for each kind of access, and a key for each kind of caller."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from racing.apikeys import KeyRecord, Role
from racing.store import keyring
from tests.integration.running import Running, running

OPEN, CLOSED, OTHER = "hall-open", "hall-closed", "hall-other"
"""Readable by all; by nobody without a key; another operator's, closed too."""
OWN, FOREIGN = "p-own", "p-foreign"
"""The merchant's product, and another merchant's."""
ORIGIN = "https://shop.example"
BEACON_KINDS = ["impression", "click"]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Keyed:
    """The running service, and requests under a caller's name."""

    def __init__(self, service: Running) -> None:
        self.service = service
        self.keys: dict[str, str] = {}
        self.make("admin", "admin")
        self._open(OPEN, {"beacon_kinds": BEACON_KINDS, "merchants_may": ["stock"]})
        self._open(CLOSED, {"slots_public": False, "merchants_may": ["stock"]})
        self._open(OTHER, {"slots_public": False})
        venues = (OPEN, CLOSED)
        self.make("events", "events:write", venues=venues)
        self.make("stock", "stock:write", venues=venues)
        self.make("beacon", "beacon", venues=venues, origins=(ORIGIN,))
        self.make("slots", "slots:read", venues=venues)
        self.make("metrics", "metrics:read")
        self.make("merchant", "merchant", venues=venues, merchant="m-own")
        self.make("other merchant", "merchant", venues=venues, merchant="m-foreign")
        self.make("operator", "operator", venues=venues)
        self.make("other operator", "operator", venues=(OTHER,))
        self.make("expired", "admin", expires_ms=now_ms() - 1)
        self.make("revoked", "admin")
        keyring.revoke(service.redis, "revoked", who="test", now_ms=now_ms())
        self.keys["unknown"] = "saima_00000000_" + "0" * 49

    def _open(self, venue: str, access: dict[str, Any]) -> None:
        made = self.ask("admin", "POST", "/v1/venues", {"venue": venue, "access": access})
        assert made.status_code == 201, made.text
        runners = [
            {"product": OWN, "merchant": "m-own", "title": "Own one", "stock": 5, "price": 100},
            {"product": FOREIGN, "merchant": "m-foreign", "title": "Foreign", "stock": 5, "price": 100},
        ]
        answer = self.ask("admin", "POST", f"/v1/venues/{venue}/runners/bulk", {"runners": runners})
        assert answer.status_code == 201, answer.text

    def make(self, name: str, role: Role, **scope: Any) -> str:
        """A new key under this name."""
        wanted = KeyRecord("", name, role, 0, **scope)
        self.keys[name], _ = keyring.create(self.service.redis, wanted, who="test", now_ms=now_ms())
        return self.keys[name]

    def headers(self, caller: str) -> dict[str, str]:
        """The headers of a caller; none of "anonymous"."""
        found = {} if caller == "anonymous" else {"Authorization": f"Bearer {self.keys[caller]}"}
        return {**found, "Origin": ORIGIN} if caller == "beacon" else found

    def ask(self, caller: str, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        """The answer to a request of this caller."""
        given = {**self.headers(caller), **{name.replace("_", "-"): value for name, value in headers.items()}}
        if isinstance(body, bytes):
            return self.service.http.request(method, path, content=body, headers=given)
        return self.service.http.request(method, path, json=body, headers=given)


@contextmanager
def keyed(folder: Path, **given: Any) -> Iterator[Keyed]:
    """A deployment with keys in force that runs."""
    with running(folder, keys="on", **given) as service:
        yield Keyed(service)
