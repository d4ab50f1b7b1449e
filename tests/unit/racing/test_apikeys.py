"""API keys: how they look, and which scope fits which role."""

from __future__ import annotations

import hashlib
import re
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racing.apikeys import GRANTS, KEY_SIZE, KeyRecord, KeyRefusedError, Need, Role, check_scope, digest_of, id_of, mint


def record(role: Any, **scope: Any) -> KeyRecord:
    return KeyRecord("", "n", role, 0, **scope)


FITS: dict[Role, dict[str, Any]] = {
    "events:write": {},
    "stock:write": {"venues": ("a",)},
    "beacon": {"venues": ("a",), "origins": ("https://a.example", "http://localhost:3000")},
    "slots:read": {},
    "metrics:read": {},
    "merchant": {"merchant": "m"},
    "operator": {"venues": ("a", "b")},
    "admin": {},
}


def test_a_key_holds_256_random_bits_an_id_and_a_checksum() -> None:
    keys = [mint() for _ in range(200)]
    assert len(set(keys)) == len({id_of(key) for key in keys}) == 200
    for key in keys:
        assert re.fullmatch(r"saima_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}", key)
        assert len(key) == KEY_SIZE
        assert id_of(key) == key[6:14]
    assert 62**43 > 2**256
    assert {letter for key in keys for letter in key[15:58]} >= set("0Az")


@given(st.integers(0, KEY_SIZE - 1), st.sampled_from("0aZ_-é "))
def test_a_key_with_a_letter_changed_is_none(at: int, letter: str) -> None:
    """The checksum finds typing errors without a look at any store."""
    key = mint()
    changed = key[:at] + letter + key[at + 1 :]
    assert (id_of(changed) is None) == (changed != key)


@pytest.mark.parametrize("text", ["saima", "x" * KEY_SIZE, "saima_" + "0" * 58, "赛" * KEY_SIZE])
def test_other_texts_are_no_keys(text: str) -> None:
    assert id_of(text) is None
    assert id_of(text + mint()) is None
    assert id_of(mint() + "\n") is None


def test_only_the_digest_of_a_key_is_kept() -> None:
    key = mint()
    assert digest_of(key) == hashlib.sha256(key.encode()).hexdigest()


@pytest.mark.parametrize("role", get_args(Role))
def test_each_role_takes_the_scope_that_fits_it(role: Role) -> None:
    check_scope(record(role, **FITS[role]))


@pytest.mark.parametrize(
    ("role", "scope", "field"),
    [
        ("owner", {}, "role"),
        ("merchant", {}, "merchant"),
        ("operator", {"venues": ("a",), "merchant": "m"}, "merchant"),
        ("operator", {}, "venue"),
        ("beacon", {"venues": ("a",)}, "origin"),
        ("beacon", {"origins": ("https://a.example",)}, "venue"),
        ("events:write", {"origins": ("https://a.example",)}, "origin"),
        ("admin", {"venues": ("a",)}, "venue"),
        ("metrics:read", {"venues": ("a",)}, "venue"),
        *(
            ("beacon", {"venues": ("a",), "origins": (origin,)}, "origin")
            for origin in ("*", "shop.example", "https://*.example", "https://a.example/", "https://a/b", "null")
        ),
    ],
)
def test_a_scope_that_does_not_fit_is_refused_by_name(role: str, scope: dict[str, Any], field: str) -> None:
    with pytest.raises(KeyRefusedError, match=f"^{field}: "):
        check_scope(record(role, **scope))


def test_no_role_but_admin_may_do_everything() -> None:
    needs = frozenset(get_args(Need))
    assert GRANTS["admin"] == needs
    assert all(granted < needs for role, granted in GRANTS.items() if role != "admin")
    assert GRANTS["events:write"] == {"events:write"}
    assert GRANTS["beacon"] == {"beacons:write"}
    assert [role for role in GRANTS if "operate" in GRANTS[role]] == ["operator", "admin"]


def test_a_key_ends_when_it_is_revoked_or_its_time_is_over() -> None:
    assert record("admin").state(5) == "active"
    assert record("admin", expires_ms=6).state(5) == "active"
    assert record("admin", expires_ms=5).state(5) == "expired"
    assert record("admin", expires_ms=9, revoked_ms=1).state(5) == "revoked"
