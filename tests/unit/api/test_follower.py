"""The API's side of a follower: no question waits for longer than it may, whatever the process does."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from api.errors import ProblemError
from api.follower import WAITING_MAX, Follower
from racing.errors import DocumentError, GoneError
from racing.inquiries import AskExplain
from racing.settings import load_settings

QUESTION = AskExplain("hall-1", "p-1")
_TALK = """
import os, socket, sys, time
from racing.inquiries import LENGTH, Answer, decode_question, packed
line = socket.socket(fileno=0)
def question():
    head = line.recv(LENGTH.size, socket.MSG_WAITALL)
    return decode_question(line.recv(LENGTH.unpack(head)[0], socket.MSG_WAITALL)) if head else sys.exit()
def say(**given):
    line.sendall(packed(Answer(**given)))
"""


@asynccontextmanager
async def follower(program: str) -> AsyncIterator[Follower]:
    """A follower whose process runs this program."""
    made = Follower(load_settings(), "redis://nowhere", command=[sys.executable, "-c", _TALK + program])
    try:
        yield made
    finally:
        await made.stop()


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def pid_of(made: Follower) -> int:
    return int(await made.ask(QUESTION, within_s=10))


ECHO = "while True:\n q = question()\n say(json=str(os.getpid()).encode())"


async def test_it_is_started_by_the_first_question_and_answers_all() -> None:
    async with follower(ECHO) as made:
        assert made.starts == 0
        pids = {await pid_of(made) for _ in range(3)}
        assert (len(pids), made.starts) == (1, 1)


async def test_it_ends_with_the_service() -> None:
    async with follower(ECHO) as made:
        pid = await pid_of(made)
    assert is_gone(pid)


async def test_one_that_is_deaf_to_the_end_of_its_line_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.follower._END_S", 0.05)
    async with follower("q = question()\nsay(json=str(os.getpid()).encode())\ntime.sleep(60)") as made:
        pid = await pid_of(made)
    assert is_gone(pid)


async def test_one_that_ended_meanwhile_is_started_again_unseen() -> None:
    """As one does that nobody has asked for long, also just while it is asked."""
    async with follower("q = question()\nsay(json=str(os.getpid()).encode())") as made:
        first = await pid_of(made)
        assert await pid_of(made) != first
        assert made.starts == 2


async def test_one_that_ends_at_each_question_is_told_as_busy() -> None:
    async with follower("question()") as made:
        with pytest.raises(ProblemError, match="ended while it was asked") as busy:
            await made.ask(QUESTION, within_s=10)
        assert (busy.value.code, made.starts) == ("busy", 2)


async def test_one_that_takes_too_long_is_killed_and_the_next_question_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.follower._START_S", 0.5)
    slow = "while True:\n q = question()\n time.sleep(60 if q.product == 'slow' else 0)\n say(json=b'7')"
    async with follower(slow) as made:
        with pytest.raises(ProblemError, match=r"did not answer within 0.1 s") as busy:
            await made.ask(AskExplain("hall-1", "slow"), within_s=0.1)
        assert busy.value.code == "busy"
        assert busy.value.headers == {"Retry-After": "2"}
        assert await made.ask(QUESTION, within_s=10) == b"7"


async def test_an_answer_that_came_too_late_is_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller has gone; the next one gets its own."""
    echo = "while True:\n q = question()\n time.sleep(0.3 if q.product == 'a' else 0)\n say(json=q.product.encode())"
    async with follower(echo) as made:
        await made.ask(QUESTION, within_s=10)
        gone = asyncio.create_task(made.ask(AskExplain("hall-1", "a"), within_s=10))
        await asyncio.sleep(0)
        gone.cancel()
        assert await made.ask(AskExplain("hall-1", "b"), within_s=10) == b"b"


async def test_so_many_wait_and_no_more() -> None:
    async with follower("question()\ntime.sleep(60)") as made:
        waiting = [asyncio.create_task(made.ask(QUESTION, within_s=60)) for _ in range(WAITING_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(ProblemError, match=f"{WAITING_MAX} questions wait"):
            await made.ask(QUESTION, within_s=60)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_errors_are_raised_as_they_were() -> None:
    async with follower("question()\nsay(error='GoneError', text='no more')\nquestion()") as made:
        with pytest.raises(GoneError, match="no more"):
            await made.ask(QUESTION, within_s=10)
    wrong = "question()\nsay(error='DocumentError', text='at_ms: no', fields=(('at_ms', 'no', None),))\nquestion()"
    async with follower(wrong) as made:
        with pytest.raises(DocumentError) as refused:
            await made.ask(QUESTION, within_s=10)
        assert refused.value.fields == (("at_ms", "no", None),)


async def test_a_program_that_cannot_be_run_is_told_as_busy() -> None:
    made = Follower(load_settings(), "redis://nowhere", command=["/nowhere/saima"])
    with pytest.raises(ProblemError, match="ended while it was asked"):
        await made.ask(QUESTION, within_s=10)
