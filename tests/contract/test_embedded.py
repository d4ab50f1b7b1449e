"""The embedded server: one over a folder, whatever became of the process that started it."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from racing.errors import StoreUnavailableError
from racing.store.client import connect
from racing.store.embedded import EmbeddedServer
from tests.waiting import until

Start = Callable[[], EmbeddedServer]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder near enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="saima-") as name:
        yield Path(name)


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts or adopts the folder's server; all are ended with the test."""
    made: list[EmbeddedServer] = []

    def begin() -> EmbeddedServer:
        made.append(EmbeddedServer(folder))
        made[-1].start()
        return made[-1]

    yield begin
    for server in made:
        server.stop()


def pid_of(server: EmbeddedServer) -> int:
    assert server.pid is not None
    return server.pid


@pytest.fixture
def no_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no server may be started."""

    def refuse(_: EmbeddedServer) -> list[str]:
        raise AssertionError("a second server over the same folder")

    monkeypatch.setattr(EmbeddedServer, "_command", refuse)


def test_path_too_long_for_a_socket_is_refused(folder: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="too long"):
        EmbeddedServer(folder / ("x" * 100))


def test_server_that_cannot_start_is_reported_with_the_place_of_its_log(folder: Path) -> None:
    (folder / "appendonlydir").write_text("in the way")
    with pytest.raises(StoreUnavailableError, match=r"server\.log"):
        EmbeddedServer(folder).start()


def test_running_server_is_adopted(start: Start, request: pytest.FixtureRequest) -> None:
    first = start()
    request.getfixturevalue("no_second")
    second = start()
    assert second.pid == first.pid
    assert second.alive()
    second.stop()
    assert not second.alive()


def test_server_that_is_slow_to_answer_is_adopted_not_doubled(
    folder: Path, start: Start, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start()
    os.kill(pid_of(first), signal.SIGSTOP)
    request.getfixturevalue("no_second")
    second = EmbeddedServer(folder)
    look = second._state
    seen: list[str] = []

    def look_and_go_on() -> Any:
        seen.append(look())
        os.kill(pid_of(first), signal.SIGCONT)
        return seen[-1]

    monkeypatch.setattr(second, "_state", look_and_go_on)
    second.start()
    assert seen[0] == "silent"
    assert seen[-1] == "ready"
    assert second.pid == first.pid


def test_server_that_loads_its_file_is_waited_for_as_long_as_it_takes(
    folder: Path, start: Start, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it answers now and then only, as a busy machine has it: it is given up when it is silent for long."""
    start()
    request.getfixturevalue("no_second")
    now_s = 0.0

    def pass_s(seconds: float) -> None:
        nonlocal now_s
        now_s += 300 * seconds

    monkeypatch.setattr("racing.store.embedded.time", SimpleNamespace(monotonic=lambda: now_s, sleep=pass_s))
    second = EmbeddedServer(folder)
    states = iter(["silent", "loading", "silent", "loading", "silent", "loading", "ready"])
    monkeypatch.setattr(second, "_state", lambda: next(states))
    second.start()
    assert next(states, None) is None
    monkeypatch.setattr(second, "_state", lambda: "silent")
    with pytest.raises(StoreUnavailableError, match="did not start"):
        second.start()


def test_socket_left_behind_by_a_killed_server_is_no_server(start: Start) -> None:
    first = start()
    client: Any = connect(first.url)
    client.set("kept", "1")
    killed = pid_of(first)
    os.kill(killed, signal.SIGKILL)
    until(lambda: not first.alive(), within_s=5, what="the killed server is gone")
    assert first.socket.exists()
    second = start()
    assert second.pid != killed
    assert client.get("kept") == b"1", "a process kill loses nothing that the kernel had"
    client.close()


def test_socket_of_something_else_is_never_taken_for_ready(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("racing.store.embedded._START_S", 0.0)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(folder / "server.sock"))
        other.listen()
        with pytest.raises(StoreUnavailableError):
            EmbeddedServer(folder).start()
