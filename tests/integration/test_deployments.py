"""What doctor says of a bare, a careless and a sound deployment, and what start-up refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from racing import admin_key
from racing.apikeys import KeyRecord
from racing.doctor import Finding, examine
from racing.settings import load_settings
from racing.store import keyring
from racing.store.client import connect, server_ms
from racing.store.crew import ScorerReport, write_report
from racing.store.embedded import EmbeddedServer, server_binary
from tests.stack import Stack
from tests.waiting import free_port, until

NOW_MS = time.time_ns() // 1_000_000
SAIMA_USER = ("on", ">word", "resetchannels", "~saima:*", "+@all", "-@admin", "-@dangerous", "+info", "+config|get")
"""What docs/operations.md gives Saima in a Redis that others share."""
OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


def graded(findings: list[Finding]) -> dict[str, str]:
    return {finding.what: finding.grade for finding in findings}


def scorer_lives(client: Any) -> None:
    """Let a scorer have reported itself just now."""
    now_ms = server_ms(client)
    write_report(client, ScorerReport(name="one", host="h", pid=1, started_ms=now_ms, at_ms=now_ms))


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """An embedded server in an empty folder."""
    server = EmbeddedServer(tmp_path / "data")
    server.start()
    yield server
    server.stop()


class TcpServer:
    """A server on a port of this machine."""

    def __init__(self, folder: Path, binary: str, **options: str) -> None:
        port = free_port()
        given = {"port": str(port), "bind": "127.0.0.1", "dir": str(folder), "save": "", **options}
        arguments = [part for name, value in given.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen([binary, *arguments], stdout=subprocess.DEVNULL)
        self.address = f"127.0.0.1:{port}"
        self.url = f"redis://{self.address}/0"
        self.admin: Any = connect(self.url)
        until(self._answers, within_s=10, what="the server answers")

    def _answers(self) -> bool:
        try:
            return bool(self.admin.ping())
        except OSError:
            return False
        except Exception as exc:  # noqa: BLE001  # the client's own family, while nobody listens
            return "redis" not in type(exc).__module__

    def stop(self) -> None:
        """End it."""
        self.admin.close()
        self._process.terminate()
        self._process.wait(timeout=10)


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[TcpServer]:
    """A server of today on TCP, with a user for Saima and none that needs no password."""
    options = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    server = TcpServer(tmp_path, server_binary(), **options)
    server.admin.execute_command("ACL", "SETUSER", "saima", *SAIMA_USER)
    server.admin.execute_command("ACL", "SETUSER", "default", "resetpass", ">other")
    yield server
    server.stop()


@pytest.fixture
def old_redis(tmp_path: Path) -> Iterator[TcpServer]:
    """The Redis that Debian brings, on TCP, as it comes."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("needs redis-server on the PATH")
    server = TcpServer(tmp_path, binary)
    yield server
    server.stop()


def test_a_bare_deployment_is_safe_as_it_comes(embedded: EmbeddedServer, tmp_path: Path) -> None:
    """`saima serve` with nothing set: this machine only, keys in force, a socket. It may lose a second of power."""
    settings = load_settings(data_dir=tmp_path / "data")
    client = connect(embedded.url)
    admin_key.ensure(client, settings.data_dir, now_ms=NOW_MS)
    scorer_lives(client)
    found = graded(examine(client, settings))
    client.close()
    assert found == {
        "server": "ok",
        "role": "ok",
        "memory": "ok",
        "durability": "warning",
        "binding": "ok",
        "keys": "ok",
        "known holes": "ok",
        "segments": "ok",
        "scorers": "ok",
        "venues": "ok",
    }


def test_what_is_careless_about_a_bare_deployment_is_named(embedded: EmbeddedServer, tmp_path: Path) -> None:
    """Keys off, a key file that all may read, no admin, a key that is about to end."""
    settings = load_settings(data_dir=tmp_path / "data")
    client = connect(embedded.url)
    assert graded(examine(client, settings))["keys"] == "problem"
    path = admin_key.ensure(client, settings.data_dir, now_ms=NOW_MS)
    assert path is not None
    path.chmod(0o644)
    soon = KeyRecord("", "erp", "stock:write", 0, expires_ms=NOW_MS + 86_400_000)
    keyring.create(client, soon, who="test", now_ms=NOW_MS)
    found = {finding.what: finding for finding in examine(client, settings)}
    assert (found["keys"].grade, found["admin key"].grade, found["key erp"].grade) == ("ok", "problem", "warning")
    assert f"chmod 600 {path}" in found["admin key"].advice
    keyring.rotate(client, "erp", overlap_ms=60_000, who="test", now_ms=NOW_MS + 1)
    found = {finding.what: finding for finding in examine(client, settings)}
    assert found["key erp"].grade == "warning"  # the new one was made for as short a time
    off = graded(examine(client, load_settings(data_dir=tmp_path / "data", keys="off")))
    assert (off["binding"], off["keys"]) == ("ok", "warning")
    client.close()


def test_a_careless_deployment_has_a_problem_for_each_carelessness(old_redis: TcpServer) -> None:
    """No keys on all addresses, an old Redis without password or encryption on another machine."""
    settings = load_settings(host="0.0.0.0", keys="off", redis_url="redis://cache.example:6379/0")  # noqa: S104  # careless
    found = {finding.what: finding for finding in examine(old_redis.admin, settings)}
    for what in ("binding", "keys", "known holes", "server access", "way to the server"):
        assert found[what].grade == "problem", what
        assert found[what].advice
    assert found["persistence"].grade == "problem"
    assert found["segments"].grade == "warning"
    trusted = graded(examine(old_redis.admin, settings.model_copy(update={"trust_server": True})))
    assert trusted["known holes"] == "ok"


def test_a_sound_deployment_has_nothing_to_say(valkey: TcpServer, tmp_path: Path) -> None:
    client = connect(f"redis://saima:word@{valkey.address}/0")
    keyring.create(client, KeyRecord("", "admin", "admin", 0), who="test", now_ms=NOW_MS)
    scorer_lives(client)
    settings = load_settings(
        durability="safe",
        host="0.0.0.0",  # noqa: S104  # behind a proxy, with keys
        redis_url="rediss://saima:word@cache.example:6379/0",
        segments_dir=tmp_path / "segments",
    )
    findings = examine(client, settings)
    client.close()
    assert {finding.grade for finding in findings} == {"ok"}, findings


# -- start-up -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["serve", "api"])
def test_start_up_refuses_no_keys_on_all_addresses(tmp_path: Path, command: str) -> None:
    """Says what mends it; nothing is left of it."""
    stack = Stack(tmp_path, SAIMA_KEYS="off", SAIMA_HOST="0.0.0.0")  # noqa: S104  # the very thing
    url = {"api": {"SAIMA_REDIS_URL": "redis://127.0.0.1:1/0"}}.get(command, {})
    stack._environment |= {"SAIMA_DATA_DIR": str(stack.data_dir), "SAIMA_PORT": str(free_port()), **url}
    done = stack.run(command)
    assert done.returncode == 1
    assert "SAIMA_KEYS=off" in done.stderr
    assert "listen on 127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr
    assert not stack.data_dir.exists()


def test_start_up_refuses_a_server_with_known_holes_where_others_reach_it(old_redis: TcpServer, tmp_path: Path) -> None:
    stack = Stack(tmp_path, SAIMA_KEYS="on", SAIMA_HOST="0.0.0.0", SAIMA_REDIS_URL=old_redis.url)  # noqa: S104  # the very thing
    stack._environment["SAIMA_PORT"] = str(free_port())
    done = stack.run("api")
    assert done.returncode == 1
    assert "has known holes" in done.stderr
    assert "SAIMA_TRUST_SERVER" in done.stderr


def test_the_documented_user_of_redis_is_enough_for_a_race(valkey: TcpServer, tmp_path: Path) -> None:
    """A whole service over TCP as a user who may neither flush nor configure; verify and doctor work too."""
    assert f"ACL SETUSER saima {' '.join(SAIMA_USER)}".replace(">word", "><password>") in OPERATIONS
    stack = Stack(tmp_path, SAIMA_KEYS="on", SAIMA_REDIS_URL=f"redis://saima:word@{valkey.address}/0")
    try:
        stack.serve()
        stack.wait_ready()
        assert "saima key create admin --role admin" in stack.said()
        admin = stack.run("key", "create", "admin", "--role", "admin").stdout.strip()
        with httpx2.Client(base_url=stack.base, headers={"Authorization": f"Bearer {admin}"}) as http:
            assert http.post("/v1/venues", json={"venue": "hall-1"}).status_code == 201
            runner = {"product": "p-1", "merchant": "m-1", "title": "One"}
            assert http.post("/v1/venues/hall-1/runners", json=runner).status_code == 201
            sent = http.post("/v1/venues/hall-1/events", json={"events": [{"type": "click", "product": "p-1"}]})
            assert sent.status_code == 202
            assert http.post("/v1/venues/hall-1/tickets").status_code == 201
            until(
                lambda: http.get("/v1/venues/hall-1").json()["counts"].get("counted") == 1,
                within_s=20,
                what="the click is counted",
            )
        verified = stack.run("verify", "--json")
        assert [report["clean"] for report in json.loads(verified.stdout)] == [True]
        findings = {each["what"]: each for each in json.loads(stack.run("doctor", "--json").stdout)}
        assert findings["server access"]["found"] == "user saima"
        assert stack.stop() == 0
    finally:
        stack.kill_all()
