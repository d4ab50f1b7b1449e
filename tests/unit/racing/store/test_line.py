"""A line gives each asker the replies to its own commands, or what broke the connection; nothing is asked twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import hiredis
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from racing.errors import StoreError, StoreUnavailableError
from racing.store.line import Asking, Command, Line, Pipeline, line_over


class FakeTransport:
    """What is written to a server, which answers when it is told to."""

    def __init__(self) -> None:
        self.protocol: Any = None
        self.written = b""
        self.aborted = False

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True


class FakeConnection:
    """A connection as redis-py makes it; only its transport is used."""

    def __init__(self) -> None:
        self.transport = FakeTransport()
        self._writer: Any = self
        self._reader: Any = None

    async def connect(self) -> None:
        await asyncio.sleep(0)


class FakeClient:
    """Makes connections, and remembers them."""

    def __init__(self) -> None:
        self.connection_pool = self
        self.made: list[FakeConnection] = []

    def make_connection(self) -> FakeConnection:
        self.made.append(FakeConnection())
        return self.made[-1]


class Asked:
    """A line over a server that answers what a test says, and those who ask."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.line = Line(client)

    @property
    def transport(self) -> FakeTransport:
        found: FakeTransport = self.client.made[-1].transport
        return found

    async def asking(self, *commands: Command, line: Asking | None = None) -> asyncio.Task[list[Any]]:
        """Who asks, and waits for the replies."""
        task = asyncio.create_task((line or self.line).ask(commands))
        for _ in range(5):
            await asyncio.sleep(0)
        return task

    def answer(self, data: bytes) -> None:
        self.transport.protocol.data_received(data)


@pytest.fixture
def asked() -> Asked:
    return Asked(FakeClient())


async def test_an_error_reply_stands_in_its_own_place_and_the_others_in_theirs(asked: Asked) -> None:
    task = await asked.asking(("A",), ("B",), ("C",))
    asked.answer(b"+1\r\n-ERR wrong\r\n:3\r\n")
    first, second, third = await task
    assert (first, third) == (b"1", 3)
    assert isinstance(second, StoreError)
    assert "wrong" in str(second)
    assert not asked.transport.aborted


@pytest.mark.parametrize("broken", ["lost", "late", "closed", "no reply of Redis"])
async def test_what_breaks_the_connection_is_told_to_all_who_wait(asked: Asked, broken: str) -> None:
    tasks = [await asked.asking(("A",)), await asked.asking(("B",))]
    if broken == "lost":
        asked.transport.protocol.connection_lost(None)
    elif broken == "late":
        asked.transport.protocol._late()
    elif broken == "closed":
        asked.line.close()
    else:
        asked.answer(b"HTTP/1.1 400 Bad Request\r\n")
    for task in tasks:
        with pytest.raises(StoreUnavailableError):
            await task
    assert asked.transport.aborted


async def test_after_it_broke_the_next_has_another_connection_and_nothing_is_asked_again(asked: Asked) -> None:
    task = await asked.asking(("A",))
    asked.line.doubt()
    with pytest.raises(StoreUnavailableError, match="in doubt"):
        await task
    task = await asked.asking(("B",))
    asked.answer(b"+b\r\n")
    assert await task == [b"b"]
    assert [each.transport.written for each in asked.client.made] == [hiredis.pack_command((name,)) for name in "AB"]


async def test_replies_that_come_after_the_connection_was_given_up_belong_to_nobody(asked: Asked) -> None:
    task = await asked.asking(("A",))
    old = asked.transport
    asked.line.close()
    with pytest.raises(StoreUnavailableError):
        await task
    task = await asked.asking(("B",))
    old.protocol.data_received(b"+a\r\n")
    assert not task.done()
    asked.answer(b"+b\r\n")
    assert await task == [b"b"]


async def test_who_goes_before_the_reply_comes_leaves_it_to_nobody_else(asked: Asked) -> None:
    gone, waiting = await asked.asking(("A",), ("A",)), await asked.asking(("B",))
    gone.cancel()
    asked.answer(b"+a1\r\n+a2\r\n+b\r\n")
    assert await waiting == [b"b"]


async def test_a_line_that_was_never_used_is_closed_without_more_ado(asked: Asked) -> None:
    asked.line.close()
    asked.line.doubt()
    assert asked.client.made == []


async def test_all_who_ask_at_once_share_one_connection_and_their_commands_go_out_in_order(asked: Asked) -> None:
    tasks = [await asked.asking((name,)) for name in "ABC"]
    assert len(asked.client.made) == 1
    assert asked.transport.written == b"".join(hiredis.pack_command((name,)) for name in "ABC")
    asked.answer(b"+a\r\n+b\r\n+c\r\n")
    assert [await task for task in tasks] == [[b"a"], [b"b"], [b"c"]]


@settings(max_examples=30)
@given(sizes=st.lists(st.integers(1, 3), min_size=1, max_size=4), cuts=st.sets(st.integers(1, 60), max_size=6))
def test_replies_are_told_apart_however_the_bytes_come(sizes: list[int], cuts: set[int]) -> None:
    async def run() -> None:
        asked = Asked(FakeClient())
        tasks = [await asked.asking(*[("A",)] * size) for size in sizes]
        data = b"".join(b"$2\r\n%02d\r\n" % number for number in range(sum(sizes)))
        edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
        for start, end in pairwise(edges):
            asked.answer(data[start:end])
        found = [await task for task in tasks]
        assert [len(replies) for replies in found] == sizes
        assert [reply for replies in found for reply in replies] == [b"%02d" % number for number in range(sum(sizes))]

    asyncio.run(run())


class Doubling:
    """A line that promises more: here, to ask all twice."""

    def __init__(self, line: Asking) -> None:
        self._line = line

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        return await self._line.ask([*commands, *commands])


async def test_a_promise_stands_between_the_asker_and_the_line(asked: Asked) -> None:
    line = line_over(asked.client, Doubling)
    task = await asked.asking(("A",), line=line)
    assert asked.transport.written == 2 * hiredis.pack_command(("A",))
    line.close()
    with pytest.raises(StoreUnavailableError):
        await task


class FakePipeline:
    """redis-py's pipeline, whose server refuses what it is told to."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def pipeline(self, *, transaction: bool) -> FakePipeline:
        assert not transaction
        return self

    def execute_command(self, *command: Any) -> None:
        self.commands.append(command)

    async def execute(self, *, raise_on_error: bool) -> list[Any]:
        assert not raise_on_error
        wrong = redis.exceptions.ResponseError("wrong")
        return [wrong if name == "B" else name for (name,) in self.commands]


async def test_a_pipeline_tells_errors_in_their_places_as_a_line_does() -> None:
    client: Any = FakePipeline()
    first, second = await Pipeline(client).ask([("A",), ("B",)])
    assert first == "A"
    assert isinstance(second, StoreError)
