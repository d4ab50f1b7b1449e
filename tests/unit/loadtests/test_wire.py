"""The load generator: what it reads in responses, and that its clock is the schedule's."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from itertools import pairwise, repeat

import pytest

from loadtests.bodies import request_bytes
from loadtests.wire import Address, Generator, Pace, Tally, position_in, response_bytes

ASK = request_bytes("GET", "/")
ANSWER = b'HTTP/1.1 202 Accepted\r\ncontent-length: 19\r\n\r\n{"position":"12-3"}'


class TestResponses:
    def test_an_incomplete_head_has_no_length_yet(self) -> None:
        assert response_bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n") is None

    @pytest.mark.parametrize("name", ["content-length", "Content-Length"])
    def test_the_length_is_head_and_body(self, name: str) -> None:
        head = f"HTTP/1.1 200 OK\r\n{name}: 5\r\nx: 9\r\n\r\n".encode()
        assert response_bytes(head + b"12") == len(head) + 5

    def test_not_modified_has_no_body_whatever_it_says(self) -> None:
        head = b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"
        assert response_bytes(head) == len(head)

    @pytest.mark.parametrize(
        ("body", "position"),
        [
            (b'{"position":"12-3"}', (12, 3)),
            (b'{"frame":1,"position":"9-0","x":1}', (9, 0)),
            (b'{"position":null}', None),
        ],
    )
    def test_positions_are_found_in_answers(self, body: bytes, position: tuple[int, int] | None) -> None:
        assert position_in(body) == position


@pytest.fixture
def answering() -> Iterator[Address]:
    """A server that answers everything with ANSWER, in two pieces."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threads: list[threading.Thread] = []

        def accept() -> None:
            while True:
                try:
                    connection = listening.accept()[0]
                except OSError:
                    return
                threads.append(threading.Thread(target=answer, args=(connection,)))
                threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        yield listening.getsockname()
        listening.shutdown(socket.SHUT_RDWR)
        accepting.join()
        for thread in threads:
            thread.join()


def answer(connection: socket.socket) -> None:
    with connection:
        while connection.recv(65536):
            connection.sendall(ANSWER[:30])
            connection.sendall(ANSWER[30:])


@pytest.fixture
def generator(answering: Address) -> Iterator[Generator]:
    made = Generator(answering, 3)
    yield made
    made.close()


def run(generator: Generator, pace: Pace) -> Tally:
    return generator.run(repeat(ASK), pace)


def test_a_closed_loop_asks_as_fast_as_it_is_answered(generator: Generator) -> None:
    tally = run(generator, Pace(0.1))
    assert tally.sent == tally.statuses[202] == len(tally.answered_s) > 3
    assert (tally.unanswered, tally.broken, tally.unsent) == (0, 0, 0)


def test_an_open_loop_keeps_its_schedule(generator: Generator) -> None:
    """Requests are due evenly, whenever they really left; latencies count from when they were due."""
    tally = run(generator, Pace(0.2, rate_per_s=100.0, positions=True))
    assert tally.sent + tally.unsent in {19, 20, 21}
    gaps = [later - due for due, later in pairwise(sorted(tally.scheduled_s))]
    assert gaps == pytest.approx([0.01] * len(gaps))
    assert set(tally.positions) == {(12, 3)}
    assert all(done >= due for due, done in zip(tally.scheduled_s, tally.answered_s, strict=True))


def test_figures_name_rate_and_percentiles(generator: Generator) -> None:
    figures = run(generator, Pace(0.05)).figures()
    assert figures["requests_per_s"] > 0
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
