"""What is unsafe about a deployment that others can reach: start-up refuses it, and doctor says how to mend it.

Others can reach it when the API listens beyond loopback, or when its Redis is on another machine.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from racing.errors import RacingError, StoreError
from racing.settings import Settings, on_loopback
from racing.store.client import connect, store_errors

Version = tuple[int, ...]

_VALKEY_MENDED: dict[Version, Version] = {(8, 0): (8, 0, 7), (8, 1): (8, 1, 6), (9, 0): (9, 0, 3), (9, 1): (9, 1, 1)}
"""Release series -> the first that has no hole of these: CVE-2025-49844 (Lua), CVE-2025-67733 (answers of scripts),

CVE-2026-21863 (cluster bus), CVE-2026-27623 (empty requests), CVE-2026-56684 (TLS).
"""
_REDIS_MENDED: Version = (8, 6, 3)
"""The first Redis without CVE-2025-49844 (Lua; 7.0 was never mended upstream) and CVE-2026-23479 (blocked clients)."""


class UnsafeError(RacingError):
    """The deployment is not started as it is: the text says what is unsafe and what mends it."""


class Risk(NamedTuple):
    """Something unsafe: where, how it is, and what mends it."""

    what: str
    found: str
    advice: str


def version_of(info: dict[str, Any]) -> tuple[Literal["Valkey", "Redis"], Version]:
    """Which server it is, and its version, from INFO."""
    valkey = info.get("valkey_version")
    text = str(valkey or info.get("redis_version", "0"))
    numbers = tuple(int(part) for part in text.split(".")[:3] if part.isdigit())
    return ("Valkey" if valkey else "Redis"), numbers


def has_known_holes(info: dict[str, Any]) -> bool:
    """Whether the server's version number is one with known holes. A distribution may have mended it all the same."""
    name, version = version_of(info)
    if name == "Redis":
        return version < _REDIS_MENDED
    mended = _VALKEY_MENDED.get(version[:2])
    return version < mended if mended else version < min(_VALKEY_MENDED)


def over_tcp(url: str) -> bool:
    """Whether a server's address is one of a network, not a socket in the file system."""
    return urlsplit(url).scheme != "unix"


def elsewhere(url: str) -> bool:
    """Whether a server's address is on another machine."""
    return over_tcp(url) and not on_loopback(urlsplit(url).hostname or "")


def is_exposed(settings: Settings, url: str) -> bool:
    """Whether others can reach the API or its Redis."""
    return not settings.on_loopback or elsewhere(url)


def binding_risk(settings: Settings) -> Risk | None:
    """No keys, and an address that others can reach."""
    if settings.keys == "on" or settings.on_loopback:
        return None
    return Risk(
        "binding",
        f"SAIMA_KEYS=off and SAIMA_HOST={settings.host}: whoever reaches it may do anything",
        "leave SAIMA_KEYS on, or listen on 127.0.0.1",
    )


def server_risk(settings: Settings, url: str, info: dict[str, Any]) -> Risk | None:
    """A server with known holes on a network, where others can reach something."""
    if settings.trust_server or not (over_tcp(url) and has_known_holes(info)):
        return None
    name, version = version_of(info)
    return Risk(
        "server",
        f"{name} {'.'.join(map(str, version))} on a network: that version has known holes",
        "use Valkey >= 9.1.1 or Redis >= 8.6.3; SAIMA_TRUST_SERVER=true if your distribution has mended it",
    )


def refuse_unsafe(settings: Settings, url: str) -> None:
    """Raise UnsafeError where others can reach what is unsafe. A server that does not answer now is not looked at."""
    risks = [binding_risk(settings)]
    if is_exposed(settings, url):
        risks.append(_server_risk_now(settings, url))
    for risk in filter(None, risks):
        raise UnsafeError(f"{risk.found}; {risk.advice}")


def _server_risk_now(settings: Settings, url: str) -> Risk | None:
    client = connect(url)
    try:
        with store_errors():
            return server_risk(settings, url, client.info())
    except StoreError:
        return None
    finally:
        client.close()
