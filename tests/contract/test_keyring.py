"""API keys in every kind of server: made once, rotated, revoked, forgotten, and nowhere in the clear."""

from __future__ import annotations

import pytest

from api.grants import Grants
from racing.apikeys import KeyRecord, KeyRefusedError, Role, digest_of, mint
from racing.errors import ConflictError, NotFoundError
from racing.store import keyring
from racing.store.keys import API_KEYS, API_KEYS_USED, API_KEYS_VERSION, AUDIT
from racing.store.protocol import SyncClient
from tests.contract.servers import Store

NOW_MS = 1_763_740_800_000
DAY_MS = 86_400_000


def make(client: SyncClient, name: str, role: Role = "events:write", now_ms: int = NOW_MS, **scope: object) -> str:
    wanted = KeyRecord("", name, role, 0, **scope)  # type: ignore[arg-type]  # the scope of the role
    return keyring.create(client, wanted, who="me", now_ms=now_ms)[0]


def test_the_name_of_a_key_that_works_is_not_given_twice(client: SyncClient) -> None:
    make(client, "web")
    with pytest.raises(ConflictError, match="web"):
        make(client, "web")
    keyring.revoke(client, "web", who="me", now_ms=NOW_MS)
    make(client, "web")


def test_a_scope_that_does_not_fit_makes_nothing(store: Store, client: SyncClient) -> None:
    with pytest.raises(KeyRefusedError):
        make(client, "shop", "merchant")
    assert list(store.raw.scan_iter(count=1000)) == []


@pytest.mark.parametrize("which", ["nobody", "", "saima"])
def test_what_is_not_there_can_be_neither_revoked_nor_rotated(client: SyncClient, which: str) -> None:
    make(client, "web")
    with pytest.raises(NotFoundError):
        keyring.revoke(client, which, who="me", now_ms=NOW_MS)
    with pytest.raises(NotFoundError):
        keyring.rotate(client, which, overlap_ms=1, who="me", now_ms=NOW_MS)
    assert [record.state(NOW_MS) for record in keyring.read_keys(client).values()] == ["active"]


def test_no_byte_in_the_store_tells_a_key(store: Store, client: SyncClient) -> None:
    """Its id is public; the secret part is in no key, value or audit entry."""
    keys = [make(client, "web"), keyring.rotate(client, "web", overlap_ms=0, who="me", now_ms=NOW_MS)[0]]
    held = (
        b"".join(
            store.raw.dump(name) if not store.fake else repr(store.raw.hgetall(name)).encode() for name in (API_KEYS,)
        )
        + repr(store.raw.xrange(AUDIT)).encode()
    )
    for key in keys:
        assert key[6:14].encode() in held
        assert key[15:].encode() not in held
    assert set(keyring.read_keys(client)) == {digest_of(key) for key in keys}


def test_every_change_moves_the_version_and_is_audited(store: Store, client: SyncClient) -> None:
    versions = []
    for change in (
        lambda: make(client, "web"),
        lambda: keyring.rotate(client, "web", overlap_ms=5, who="me", now_ms=NOW_MS),
        lambda: keyring.revoke(client, "web", who="me", now_ms=NOW_MS),
    ):
        change()
        versions.append(int(store.raw.get(API_KEYS_VERSION)))
    assert versions == [1, 2, 3]
    told = [(entry["who"], entry["what"], entry["name"]) for entry in reversed(keyring.audit(client, 10))]
    assert told == [("me", what, "web") for what in ("create", "overlap", "rotate", "revoke", "revoke")]


def test_a_rotated_key_works_on_for_the_overlap_and_its_successor_as_long_as_it_was_made_for(
    client: SyncClient,
) -> None:
    old = make(client, "web", expires_ms=NOW_MS + 90 * DAY_MS, venues=("hall-1",))
    new, record, ended = keyring.rotate(client, "web", overlap_ms=DAY_MS, who="me", now_ms=NOW_MS + 80 * DAY_MS)
    known = keyring.read_keys(client)
    assert known[digest_of(old)] == ended[0]
    assert ended[0].expires_ms == NOW_MS + 81 * DAY_MS
    assert known[digest_of(new)] == record
    assert (record.expires_ms, record.venues) == (NOW_MS + 170 * DAY_MS, ("hall-1",))
    _, _, again = keyring.rotate(client, "web", overlap_ms=30 * DAY_MS, who="me", now_ms=NOW_MS + 80 * DAY_MS)
    assert {each.expires_ms for each in again} == {NOW_MS + 81 * DAY_MS, NOW_MS + 110 * DAY_MS}


def test_keys_that_ended_long_ago_are_forgotten(store: Store, client: SyncClient) -> None:
    gone = [make(client, f"old-{n}", expires_ms=NOW_MS + 1) for n in range(3)]
    kept = make(client, "recent", expires_ms=NOW_MS + 20 * DAY_MS)
    store.raw.hset(API_KEYS_USED, gone[0][6:14], NOW_MS)
    new = make(client, "new", now_ms=NOW_MS + 31 * DAY_MS)
    assert set(keyring.read_keys(client)) == {digest_of(kept), digest_of(new)}
    assert keyring.last_used_ms(client) == {}


def test_a_change_between_look_and_write_is_not_lost(client: SyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once: the second is told that it did not happen."""
    real = mint

    def mint_while_another_makes_one() -> str:
        monkeypatch.setattr(keyring, "mint", real)
        make(client, "first")
        return real()

    monkeypatch.setattr(keyring, "mint", mint_while_another_makes_one)
    with pytest.raises(Exception, match=r"Watched|refused"):
        make(client, "second")
    assert [record.name for record in keyring.read_keys(client).values()] == ["first"]


async def test_a_process_learns_of_new_and_ended_keys_at_its_next_look(store: Store, client: SyncClient) -> None:
    """And writes when they were last used."""
    web, shop = make(client, "web"), make(client, "shop")
    grants = Grants(store.async_client(), 100)
    await grants.refresh()
    headers = {key: f"Bearer {key}".encode() for key in (web, shop)}
    assert grants.resolve(headers[web]).name == "web"
    assert headers[web] in grants.known
    keyring.revoke(client, "web", who="me", now_ms=NOW_MS)
    await grants.refresh()
    assert grants.known == {}
    with pytest.raises(Exception, match="does not work"):
        grants.resolve(headers[web])
    assert grants.resolve(headers[shop]).name == "shop"
    assert headers[web] not in grants.known
    await grants.stop()
    assert set(keyring.last_used_ms(client)) == {web[6:14], shop[6:14]}
    await grants._client.aclose()


async def test_quotas_go_on_when_keys_are_read_anew(store: Store, client: SyncClient) -> None:
    """Making a key must give nobody else a full bucket."""
    web = f"Bearer {make(client, 'web', requests_per_s=3)}".encode()
    grants = Grants(store.async_client(), 100)
    await grants.refresh()
    assert [grants.resolve(web).bucket.take(9.0) for _ in range(4)] == [True, True, True, False]
    make(client, "shop")
    await grants.refresh()
    assert not grants.resolve(web).bucket.take(9.0)
    await grants._client.aclose()
