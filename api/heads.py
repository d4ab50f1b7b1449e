"""The heads that a process has parsed, remembered by their bytes: the same bytes ask the same, whoever sends them.

A client sends the same head again and again, but for the length of the body. So the digits of Content-Length are left
out of what is remembered, and read anew.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

HEADS_MAX, REMEMBERED_MAX_BYTES = 4_096, 1_024
"""Heads of a generation, and the longest of them. What was parsed holds texts of them too: at worst, two generations of
2 KiB each, 16 MiB, a few with usual clients. So callers' keys are in memory for longer than their connections."""
_END = b"\r\n\r\n"
_LENGTHS = (b"\r\nContent-Length: ", b"\r\ncontent-length: ")
"""As clients write it; one who writes it otherwise is parsed each time."""
_DIGITS_MAX = 10
T = TypeVar("T")


class Head(NamedTuple):
    """The beginning of a message: its head without the digits of its body's length, and where that body lies in it."""

    shape: bytes
    size: int
    length: int


def head_of(data: bytes) -> Head | None:
    """What a message begins with; None where the head is not whole, or it tells no length of a body that it has."""
    size = data.find(_END) + len(_END)
    if size < len(_END):
        return None
    if data.startswith(b"GET "):
        return Head(data[:size], size, 0)
    for name in _LENGTHS:
        at = data.find(name, 0, size)
        if at >= 0:
            begin = at + len(name)
            end = data.index(b"\r\n", begin)
            digits = data[begin:end]
            if len(digits) > _DIGITS_MAX or not digits.isdigit():
                return None
            return Head(data[:begin] + data[end:size], size, int(digits))
    return None


class Heads(Generic[T]):
    """What the heads asked that were parsed. Bound: two generations of HEADS_MAX, those asked for least lately go.

    So who sends heads that nobody sends again, a trace or another ETag in each, puts out nobody else's.
    """

    def __init__(self) -> None:
        self._asked: dict[bytes, T] = {}
        self._before: dict[bytes, T] = {}

    def __len__(self) -> int:
        return len(self._asked.keys() | self._before.keys())

    def get(self, head: Head) -> T | None:
        """What a head asks that differs from a remembered one in the length of its body at most."""
        found = self._asked.get(head.shape)
        if found is None and (found := self._before.get(head.shape)) is not None:
            self._keep(head.shape, found)
        return found

    def _keep(self, shape: bytes, asked: T) -> None:
        if len(self._asked) >= HEADS_MAX:
            self._before, self._asked = self._asked, {}
        self._asked[shape] = asked

    def remember(self, data: bytes, headers: int, asked: T) -> None:
        """Keep what was parsed of a GET or POST at the beginning of data, each header of its own name.

        Only where these are surely its bytes: as many lines as there were headers.
        """
        head = head_of(data)
        if head is None or not data.startswith((b"GET ", b"POST ")) or len(head.shape) > REMEMBERED_MAX_BYTES:
            return
        if head.shape.count(b"\n") != headers + 2:
            return
        self._keep(head.shape, asked)
