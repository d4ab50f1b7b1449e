"""`saima serve` as a user runs it: real processes, watched, restarted, adopted, refused, and ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from racing.store.client import connect
from racing.store.commit import read_commit
from racing.store.embedded import EmbeddedServer
from racing.store.keys import VenueKeys
from tests import asking
from tests.stack import Stack, lives
from tests.waiting import free_port, until

VENUE = "hall-1"
SOON_S = 20.0


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A `saima serve` in an empty folder, not started yet."""
    made = Stack(tmp_path, SAIMA_LEASE_MS="1000")
    yield made
    made.kill_all()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One that runs, with a venue of two products; what a test does to it, it mends itself."""
    made = Stack(tmp_path_factory.mktemp("serve"), SAIMA_LEASE_MS="1000")
    try:
        made.serve()
        made.wait_ready()
        open_venue(made)
        yield made
    finally:
        made.kill_all()


def open_venue(stack: Stack) -> None:
    assert stack.post("/v1/venues", {"venue": VENUE}).status_code == 201
    runners = [{"product": product, "merchant": "m", "title": "t"} for product in ("a", "b")]
    assert stack.post(f"/v1/venues/{VENUE}/runners/bulk", {"runners": runners}).status_code == 201


def click(stack: Stack, product: str = "b") -> None:
    """Send one click, again until it is acknowledged."""

    def sent() -> bool:
        try:
            body = {"events": [{"type": "click", "product": product}]}
            answer = stack.post(f"/v1/venues/{VENUE}/events", body, **{"Idempotency-Key": key})
        except OSError:
            return False
        except Exception as exc:  # noqa: BLE001  # httpx2 raises its own family when a connection breaks
            return not type(exc).__module__.startswith("httpx2")
        return bool(answer.status_code == 202)

    key = f"key-{time.monotonic_ns()}"
    until(sent, within_s=SOON_S, what="a click is acknowledged")


def counted(stack: Stack) -> int:
    return int(stack.get(f"/v1/venues/{VENUE}")["counts"].get("counted", 0))


def wait_counted(stack: Stack, events: int) -> None:
    until(lambda: counted(stack) == events, within_s=SOON_S, what=f"{events} events are counted")


def pids(stack: Stack) -> dict[str, int]:
    found = {}
    for name in ("api", "scorer", "server"):
        found[name] = until(lambda name=name: stack.pid(name), within_s=SOON_S, what=f"there is a {name}")  # type: ignore[misc]  # a default that binds
    return found


# -- refusals ------------------------------------------------------------------------------------------------


def test_second_serve_on_the_same_folder_is_refused_with_advice(running: Stack) -> None:
    before = pids(running)
    second = running.run("serve", "--port", str(free_port()), "--data-dir", str(running.data_dir))
    assert second.returncode == 1
    assert "another saima serves the data folder" in second.stderr
    assert "--data-dir" in second.stderr
    assert "Traceback" not in second.stderr
    assert pids(running) == before


def test_busy_port_is_refused_with_advice_before_anything_is_started(running: Stack, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = running.run("serve", "--port", str(port), "--data-dir", str(tmp_path / "other"))
    assert refused.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in refused.stderr
    assert "--port" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "other").exists()


def test_folder_too_deep_for_a_socket_is_refused_with_advice(running: Stack, tmp_path: Path) -> None:
    refused = running.run("serve", "--port", str(free_port()), "--data-dir", str(tmp_path / ("x" * 100)))
    assert refused.returncode == 1
    assert "too long for a unix socket" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("command", ["doctor", "verify"])
def test_folder_without_a_server_is_named_by_the_tools(running: Stack, tmp_path: Path, command: str) -> None:
    refused = running.run(command, "--data-dir", str(tmp_path))
    assert refused.returncode == 1
    assert "no embedded server answers" in refused.stderr
    assert "saima serve" in refused.stderr
    assert "Traceback" not in refused.stderr


# -- running -------------------------------------------------------------------------------------------------


def test_serve_starts_from_nothing_and_races(running: Stack) -> None:
    assert running.data_dir.is_dir()
    before = counted(running)
    click(running)
    wait_counted(running, before + 1)
    until(
        lambda: [slot["product"] for slot in running.get(f"/v1/venues/{VENUE}/slots")["slots"]] == ["b", "a"],
        within_s=SOON_S,
        what="the click is on the board",
    )


def test_doctor_and_verify_find_the_embedded_server_by_its_folder(running: Stack) -> None:
    examined = running.run("doctor", "--data-dir", str(running.data_dir), "--json")
    findings = {each["what"]: each for each in json.loads(examined.stdout)}
    assert examined.returncode == 0, examined.stderr
    assert findings[f"venue {VENUE}"]["grade"] == "ok"
    assert findings["durability"]["found"].startswith("fast asked, fast in force: appendfsync is everysec, not always")
    verified = running.run("verify", VENUE, "--data-dir", str(running.data_dir), "--json")
    (report,) = json.loads(verified.stdout)
    assert verified.returncode == 0, verified.stderr
    assert report["clean"]
    assert report["venue"] == VENUE


@pytest.mark.parametrize("name", ["api", "scorer", "server"])
def test_killed_process_is_started_again_and_the_race_goes_on(running: Stack, name: str) -> None:
    before = pids(running)
    events = counted(running)
    killed = running.kill(name)
    assert killed == before[name]
    click(running)
    wait_counted(running, events + 1)
    after = pids(running)
    assert after[name] != killed
    assert {each: pid for each, pid in after.items() if each != name} == {
        each: pid for each, pid in before.items() if each != name
    }


# -- ending --------------------------------------------------------------------------------------------------


def test_sigterm_ends_everything_within_five_seconds_and_loses_nothing(stack: Stack) -> None:
    """Also while a client keeps its connection open."""
    stack.serve()
    stack.wait_ready()
    open_venue(stack)
    click(stack)
    wait_counted(stack, 1)
    running = pids(stack)
    assert stack.process is not None
    with socket.create_connection(("127.0.0.1", stack.port)) as idle:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
        assert idle.recv(4096).startswith(b"HTTP/1.1 200")
        begun_s = time.monotonic()
        stack.process.terminate()
        assert stack.process.wait(SOON_S) == 0
        assert time.monotonic() - begun_s < 5
    assert [name for name, pid in running.items() if lives(pid)] == []
    assert "Traceback" not in stack.said()
    server = EmbeddedServer(stack.data_dir)
    server.start()
    client = connect(server.url)
    assert read_commit(client, VenueKeys(VENUE)).counts["counted"] == 1
    client.close()
    server.stop()


def test_server_that_outlived_its_killed_parent_is_adopted(stack: Stack) -> None:
    stack.serve()
    stack.wait_ready()
    open_venue(stack)
    click(stack)
    before = pids(stack)
    assert stack.process is not None
    stack.process.kill()
    stack.process.wait()
    for name in ("api", "scorer"):
        until(lambda pid=before[name]: not lives(pid), within_s=SOON_S, what=f"the orphaned {name} ends")  # type: ignore[misc]  # a default that binds
    assert lives(before["server"])
    stack.serve()
    stack.wait_ready()
    after = pids(stack)
    assert after["server"] == before["server"]
    wait_counted(stack, 1)
    click(stack)
    wait_counted(stack, 2)
    os.kill(after["server"], signal.SIGKILL)  # an adopted server, too, is watched
    click(stack)
    wait_counted(stack, 3)
    assert stack.stop() == 0
    assert not lives(after["api"])
    assert stack.pid("server") is None


# -- moving a venue ------------------------------------------------------------------------------------------


def test_venue_exported_while_it_races_races_on_under_another_id(running: Stack, tmp_path: Path) -> None:
    before = counted(running)
    click(running)
    wait_counted(running, before + 1)
    options = ("--data-dir", str(running.data_dir))
    assert running.run("export", VENUE, str(tmp_path / "file"), *options).returncode == 0
    moved = running.run("import", str(tmp_path / "file"), "--as", "hall-moved", *options)
    assert (moved.returncode, moved.stdout.partition(" ")[0]) == (0, "hall-moved")
    body = {"events": [{"type": "click", "product": "b"}]}
    until(
        lambda: running.post("/v1/venues/hall-moved/events", body, **{"Idempotency-Key": "m"}).status_code == 202,
        within_s=SOON_S,
        what="the moved venue takes events",
    )
    until(
        lambda: running.get("/v1/venues/hall-moved")["counts"].get("counted") == before + 2,
        within_s=SOON_S,
        what="what was counted there counts here, and one more",
    )
    assert running.run("verify", "hall-moved", "--whole", *options).returncode == 0
    deleted = running.run("venue", "delete", "hall-moved", "--yes", *options)
    assert (deleted.returncode, deleted.stdout.partition(":")[0]) == (0, "hall-moved is gone")
    assert asking.get(f"{running.base}/v1/venues/hall-moved").status_code == 404
    left = connect(running.redis_url).scan_iter(match=f"{VenueKeys('hall-moved').prefix}*", count=1000)
    assert set(left) <= {VenueKeys("hall-moved").lease.encode()}
    again = running.run("import", str(tmp_path / "file"), *options)
    assert again.returncode == 1
    assert "exists already" in again.stderr
