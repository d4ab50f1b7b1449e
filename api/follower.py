"""The API's side of a follower: started by the first question, asked one at a time, killed when it takes too long.

The event loop of the API never folds: it hands a question over a socket pair, and relays the JSON that comes back.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress

import structlog

from api.errors import ProblemError
from racing.errors import CorruptRecordError
from racing.inquiries import LENGTH, MESSAGE_MAX, Answer, Question, decode_answer, packed
from racing.settings import Settings
from racing.supervisor import command_of, environment_of

log = structlog.get_logger("saima.api")

WAITING_MAX = 8
"""Questions that wait for one follower; further ones are answered at once that it is busy."""
_START_S = 20.0
"""Until a new process must have answered its first question, beside the question's own time."""
_END_S = 2.0


class Follower:
    """One follower process of this API process, which is there only while it is asked."""

    def __init__(self, settings: Settings, url: str, *, command: Sequence[str] | None = None) -> None:
        self._command = list(command or command_of("follower"))
        self._environment = environment_of(settings, url)
        self._process: subprocess.Popen[bytes] | None = None
        self._line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0
        self.starts = 0
        """How often a process was started."""

    async def ask(self, question: Question, *, within_s: float) -> bytes:
        """The answer, as JSON. Raises ProblemError (503) where there is none in time, RacingError as it is answered."""
        if self._waiting >= WAITING_MAX:
            raise _busy(f"{self._waiting} questions wait for the follower")
        self._waiting += 1
        try:
            async with asyncio.timeout(within_s + (0 if self._lives() else _START_S)), self._turn:
                answer = await self._answered(question)
        except TimeoutError as exc:
            raise _busy(f"the follower did not answer within {within_s:g} s") from exc
        finally:
            self._waiting -= 1
        return answer.found()

    async def _answered(self, question: Question) -> Answer:
        """The answer of this process, or, where it has just ended, of the next one: asking twice changes nothing."""
        with suppress(EOFError, OSError):
            return await self._asked(question)
        try:
            return await self._asked(question)
        except (EOFError, OSError) as exc:
            raise _busy("the follower ended while it was asked") from exc

    async def _asked(self, question: Question) -> Answer:
        whole = False
        try:
            if not self._lives() or self._line is None:
                await self._start()
            assert self._line is not None, "a process that was started has a line"
            reader, writer = self._line
            writer.write(packed(question))
            await writer.drain()
            size = LENGTH.unpack(await reader.readexactly(LENGTH.size))[0]
            if size > MESSAGE_MAX:
                raise CorruptRecordError(f"an answer of {size} bytes from the follower")
            answer = decode_answer(await reader.readexactly(size))
            whole = True
        finally:
            if not whole:  # what may still come would be taken for the next answer
                self._kill()
        return answer

    def _lives(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def _start(self) -> None:
        self._kill()
        ours, theirs = socket.socketpair()
        with theirs:
            ours.settimeout(0)  # the loop's own
            self._line = await asyncio.open_connection(sock=ours)
            self._process = await asyncio.to_thread(self._spawn, theirs)
        self.starts += 1
        log.info("follower started", pid=self._process.pid)

    def _spawn(self, line: socket.socket) -> subprocess.Popen[bytes]:
        # its own standard output is no part of the talk
        return subprocess.Popen(  # noqa: S603  # our own program
            self._command, env=self._environment, stdin=line.fileno(), stdout=subprocess.DEVNULL
        )

    def _kill(self) -> None:
        if self._line is not None:
            self._line[1].close()
            self._line = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def stop(self) -> None:
        """End the process: at the end of its line it goes by itself."""
        if self._line is not None:
            self._line[1].close()
            self._line = None
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, _END_S)
        self._kill()


class Followers:
    """The followers of an API process: one for questions about now, one for those that fold a stretch of the past."""

    def __init__(self, settings: Settings, url: str) -> None:
        self.now, self.past = Follower(settings, url), Follower(settings, url)

    async def stop(self) -> None:
        """End both."""
        await asyncio.gather(self.now.stop(), self.past.stop())


def _busy(detail: str) -> ProblemError:
    return ProblemError("busy", f"{detail}: ask again", headers={"Retry-After": "2"})
