"""Server-sent events as bytes that can be written to any number of connections: each text is one chunk of HTTP/1.1.

(https://html.spec.whatwg.org/multipage/server-sent-events.html; chunks: RFC 9112, section 7.1)
"""

from __future__ import annotations

MEDIA_TYPE = "text/event-stream"


def chunk(text: bytes) -> bytes:
    """A part of a body whose length nobody knows beforehand. Not of nothing: that would be its end."""
    return b"%x\r\n%b\r\n" % (len(text), text)


def event(kind: bytes, data: bytes, *, name: str) -> bytes:
    """An event with the id by which a client that comes again says what it has. data: JSON, which has no newlines."""
    return chunk(b"event: %b\nid: %b\ndata: %b\n\n" % (kind, name.encode(), data))


def begin(retry_ms: int) -> bytes:
    """What a stream opens with: when to come again should it break."""
    return chunk(b"retry: %d\n\n" % retry_ms)


def bye(reason: str, retry_ms: int) -> bytes:
    """The last event of a stream, and its end."""
    return chunk(b'event: bye\nretry: %d\ndata: {"reason":"%b"}\n\n' % (retry_ms, reason.encode())) + _END


PING = chunk(b":\n\n")
"""A comment: keeps the connection open, and finds out that it is not."""
_END = b"0\r\n\r\n"
