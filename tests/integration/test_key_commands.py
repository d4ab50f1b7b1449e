"""`saima key` and the admin key as a user meets them: real processes, two of them API processes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from racing import admin_key
from racing.apikeys import id_of
from racing.store import keyring
from racing.store.client import connect
from racing.store.keys import API_KEYS
from tests import asking
from tests.stack import ROOT, Stack
from tests.waiting import free_port, until

EVENTS = "/v1/venues/hall-1/events"
CLICK = {"events": [{"type": "click", "product": "p-1"}]}
REVOKED_WITHIN_S = 5.0


class KeyedStack(Stack):
    """A `saima serve` with keys in force, and a second API process on its server."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SAIMA_KEYS="on", SAIMA_DATA_DIR=str(folder / "data"))
        self.second_port = free_port()
        self._second: subprocess.Popen[bytes] | None = None

    def serve_second(self) -> None:
        """Start another API process on the same server."""
        environment = {**self._environment, "SAIMA_REDIS_URL": self.redis_url}
        with self.log.open("ab") as out:
            command = self.command("api", "--port", str(self.second_port))
            self._second = subprocess.Popen(command, stdout=out, stderr=out, env=environment, cwd=ROOT)
        until(lambda: self.answers(self.second_port), within_s=20, what="the second API answers")

    def answers(self, port: int) -> bool:
        """Whether an API answers on a port."""
        return asking.is_ready(f"http://127.0.0.1:{port}")

    def ask(self, key: str | None, method: str, path: str, body: Any = None, *, second: bool = False) -> int:
        """The status of the answer to a request with this key."""
        port = self.second_port if second else self.port
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        answer = asking.request(method, f"http://127.0.0.1:{port}{path}", json=body, headers=headers, timeout=30)
        return int(answer.status_code)

    def key(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`saima key` with these words, on this folder."""
        return self.run("key", *words)

    def end(self) -> None:
        """End all of it."""
        if self._second is not None:
            self._second.kill()
            self._second.wait()
        self.kill_all()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedStack]:
    made = KeyedStack(tmp_path_factory.mktemp("keys"))
    try:
        made.serve()
        made.wait_ready()
        made.serve_second()
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def admin(stack: KeyedStack) -> str:
    """The admin key, with which a venue was made."""
    key = (stack.data_dir / "admin.key").read_text().strip()
    assert stack.ask(key, "POST", "/v1/venues", {"venue": "hall-1"}) == 201
    runner = {"product": "p-1", "merchant": "m-1", "title": "One"}
    assert stack.ask(key, "POST", "/v1/venues/hall-1/runners", runner) == 201
    return key


def test_first_start_leaves_an_admin_key_that_its_owner_alone_reads(stack: KeyedStack, admin: str) -> None:
    """Says where, not what; it is no key of the store, only its digest is."""
    path = stack.data_dir / "admin.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert id_of(admin) is not None
    assert f"the admin key is in {path}" in stack.said()
    assert admin[15:] not in stack.said()
    client = connect(stack.redis_url)
    assert admin.encode() not in client.hgetall(API_KEYS)
    client.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "x", "--role", "owner"), "role: must be one of"),
        (("create", "x", "--role", "merchant"), "merchant: a key of role merchant needs one"),
        (("create", "admin", "--role", "admin"), "there is a key 'admin'"),
        (("create", "x", "--role", "admin", "--expires", "soon"), "must be a number and s, m, h or d"),
        (("revoke", "nobody"), "no key that works has the name or id 'nobody'"),
        (("rotate", "nobody"), "no key that works has the name or id 'nobody'"),
    ],
)
def test_a_wrong_command_makes_nothing_and_says_why(
    stack: KeyedStack, admin: str, words: tuple[str, ...], said: str
) -> None:
    done = stack.key(*words)
    assert done.returncode in {1, 2}
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_key_works_at_once_and_ends_everywhere_within_five_seconds(stack: KeyedStack, admin: str) -> None:
    """On both API processes; the record of its last use stays."""
    made = stack.key("create", "till", "--role", "events:write", "--venue", "hall-1")
    key = made.stdout.strip()
    assert "shown this once" in made.stderr
    for second in (False, True):
        assert stack.ask(key, "POST", EVENTS, CLICK, second=second) == 202
        assert stack.ask(key, "GET", "/v1/venues/hall-1/rule", second=second) == 403
    assert stack.key("revoke", "till").returncode == 0
    revoked_s = time.monotonic()
    for second in (False, True):
        until(
            lambda second=second: stack.ask(key, "POST", EVENTS, CLICK, second=second) == 401,  # type: ignore[misc]  # a default that binds
            within_s=REVOKED_WITHIN_S,
            what="the revoked key is refused",
        )
    assert time.monotonic() - revoked_s < REVOKED_WITHIN_S
    client = connect(stack.redis_url)
    until(lambda: id_of(key) in keyring.last_used_ms(client), within_s=10, what="its last use is written")
    client.close()
    (told,) = listed(stack, "till")
    assert told["last_used_ms"]
    assert told["state"] == "revoked"


def listed(stack: KeyedStack, name: str) -> list[dict[str, Any]]:
    rows = json.loads(stack.key("list", "--json").stdout)
    return [row for row in rows if row["name"] == name]


def test_a_rotated_key_works_on_beside_its_successor(stack: KeyedStack, admin: str) -> None:
    old = stack.key("create", "erp", "--role", "stock:write", "--expires", "90d").stdout.strip()
    new = stack.key("rotate", "erp", "--overlap", "1h").stdout.strip()
    path, change = "/v1/venues/hall-1/runners/p-1", {"stock": 3}
    assert [stack.ask(key, "PATCH", path, change) for key in (old, new)] == [200, 200]
    first, second = listed(stack, "erp")
    assert first["expires_ms"] < second["expires_ms"]
    newest = stack.key("rotate", "erp", "--overlap", "0s").stdout.strip()
    until(lambda: stack.ask(new, "PATCH", path, change) == 401, within_s=5, what="it ends with no overlap")
    assert stack.ask(newest, "PATCH", path, change) == 200


def test_a_list_shows_no_key(stack: KeyedStack, admin: str) -> None:
    told = stack.key("list").stdout + stack.key("list", "--json").stdout
    assert admin[6:14] in told
    assert admin[15:] not in told


def test_commands_on_the_same_machine_find_the_admin_key(stack: KeyedStack, admin: str, tmp_path: Path) -> None:
    """replay makes a venue and sends; with a key in SAIMA_KEY that one is taken instead."""
    file = tmp_path / "events.csv"
    file.write_text("ts_ms,type,product,user,category,price,position\n1000,click,p-7,u,,,\n1500,click,p-7,u,,,\n")
    words = (str(file), "--url", stack.base, "--venue", "replayed", "--speed", "1000", "--json")
    done = stack.run("replay", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["accepted"] == 2
    weak = stack.key("create", "weak", "--role", "slots:read").stdout.strip()
    refused = subprocess.run(
        stack.command("replay", *words),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={**os.environ, "SAIMA_DATA_DIR": str(stack.data_dir), "SAIMA_KEY": weak},
        cwd=ROOT,
    )
    assert refused.returncode == 1
    assert "403" in refused.stderr


def test_a_revoked_admin_key_does_not_come_back_with_a_restart(tmp_path: Path) -> None:
    """Also not by its file; without any admin key that works, and without the file, there is a new one."""
    stack = KeyedStack(tmp_path)
    path = stack.data_dir / "admin.key"
    try:
        stack.serve()
        stack.wait_ready()
        first = path.read_text().strip()
        assert stack.key("revoke", "admin").returncode == 0
        assert stack.stop() == 0
        stack.serve()
        stack.wait_ready()
        assert stack.ask(first, "GET", "/metrics") == 401
        path.unlink()
        client = connect(stack.redis_url)
        assert (
            admin_key.ensure(client, stack.data_dir, now_ms=time.time_ns() // 1_000_000) == path
        )  # as each start does
        client.close()
        second = path.read_text().strip()
        assert second != first
        assert stack.ask(second, "GET", "/metrics") == 200
        assert stack.stop() == 0
    finally:
        stack.end()
