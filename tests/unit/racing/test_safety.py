"""What start-up refuses: what others can reach, and could do anything with."""

from __future__ import annotations

from typing import Any

import pytest

from racing.safety import (
    UnsafeError,
    binding_risk,
    elsewhere,
    has_known_holes,
    is_exposed,
    refuse_unsafe,
    server_risk,
)
from racing.settings import load_settings

MENDED: list[dict[str, Any]] = [{"redis_version": version} for version in ("8.6.3", "8.6.4", "8.8.0", "9.0.0")] + [
    {"redis_version": "7.2.4", "valkey_version": v} for v in ("8.0.7", "8.1.6", "9.0.3", "9.1.1", "9.1.2", "9.2.0")
]
HOLED: list[dict[str, Any]] = [
    {"redis_version": version} for version in ("6.2.14", "7.0.15", "7.2.11", "7.4.6", "8.0.4", "8.2.2", "8.6.2")
] + [{"redis_version": "7.2.4", "valkey_version": v} for v in ("7.2.12", "8.0.6", "8.1.5", "9.0.2", "9.1.0")]
LOCAL = ("redis://127.0.0.1:6379/0", "redis://localhost:6379/0", "redis://:word@[::1]:6379/0", "unix:///x.sock")
FAR = ("redis://10.0.0.5:6379/0", "rediss://cache.example/0", "redis://:word@valkey:6379/0", "redis://127.0.0.1.x/0")


@pytest.mark.parametrize("info", HOLED, ids=str)
def test_versions_with_known_holes_are_known(info: dict[str, Any]) -> None:
    """Valkey calls itself Redis 7.2.4 besides, which is not what counts."""
    assert has_known_holes(info)


@pytest.mark.parametrize("info", MENDED, ids=str)
def test_mended_versions_are_taken(info: dict[str, Any]) -> None:
    assert not has_known_holes(info)


@pytest.mark.parametrize("url", FAR)
def test_another_machine_is_another_machine(url: str) -> None:
    assert elsewhere(url)
    assert is_exposed(load_settings(), url)


@pytest.mark.parametrize("url", LOCAL)
def test_this_machine_is_this_machine(url: str) -> None:
    assert not elsewhere(url)
    assert not is_exposed(load_settings(), url)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "saima.example", "127.0.0.1.example"])  # noqa: S104  # the very thing
def test_no_keys_beyond_loopback_is_refused(host: str) -> None:
    """Before anything is started; with keys it is let be."""
    with pytest.raises(UnsafeError, match=r"SAIMA_KEYS=off.*whoever reaches it may do anything"):
        refuse_unsafe(load_settings(host=host, keys="off"), "unix:///nowhere.sock")
    assert binding_risk(load_settings(host=host)) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_no_keys_on_loopback_is_let_be(host: str) -> None:
    refuse_unsafe(load_settings(host=host, keys="off"), "unix:///nowhere.sock")


def test_a_server_with_holes_is_a_risk_on_a_network_unless_it_is_trusted() -> None:
    for url in ("redis://127.0.0.1/0", *FAR):
        risk = server_risk(load_settings(), url, HOLED[0])
        assert risk is not None
        assert "SAIMA_TRUST_SERVER" in risk.advice
        assert server_risk(load_settings(trust_server=True), url, HOLED[0]) is None
        assert server_risk(load_settings(), url, MENDED[0]) is None
    assert server_risk(load_settings(), "unix:///x.sock", HOLED[0]) is None


def test_a_server_that_does_not_answer_keeps_nobody_from_starting() -> None:
    """It is looked at when the next process starts; readers are served meanwhile."""
    refuse_unsafe(load_settings(host="0.0.0.0"), "redis://127.0.0.1:1/0")  # noqa: S104  # the very thing
