"""bare_uvicorn: what one uvicorn worker can do at all, with the settings of our API and no framework.

``GET`` answers bytes that were read from a file at start, with the headers that ours has; ``POST`` reads the body
and answers 202. As a program it is that server: ``python -m loadtests.rivals.bare_uvicorn PORT [FILE]``.
"""

from __future__ import annotations

import contextlib
import http.client
import sys
from pathlib import Path
from typing import Any, Self

import uvicorn

from loadtests.processes import Processes, cpu_s, wait_until
from loadtests.stack import HOST, free_port

ETAG = '"1763740800000-48210"'
CACHE_CONTROL = "public, max-age=0, s-maxage=1, stale-while-revalidate=1, stale-if-error=60"
Headers = list[tuple[bytes, bytes]]


def app_of(body: bytes) -> Any:
    """The application: an ASGI callable."""
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"etag", ETAG.encode()),
        (b"cache-control", CACHE_CONTROL.encode()),
    ]
    taken: Headers = [(b"content-length", b"2"), (b"content-type", b"application/json")]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        status, answer, answer_headers = 200, body, headers
        if scope["method"] == "POST":
            status, answer, answer_headers = 202, b"{}", taken
            while (await receive()).get("more_body"):
                pass
        await send({"type": "http.response.start", "status": status, "headers": answer_headers})
        await send({"type": "http.response.body", "body": answer})

    return app


class BareUvicorn:
    """The server as a process. Use as a context."""

    def __init__(self, processes: Processes, body: bytes = b"{}") -> None:
        self._processes = processes
        self._file = processes.folder / f"bare-{len(body)}.json"
        self._file.write_bytes(body)
        self.port = free_port()

    def __enter__(self) -> Self:
        """Start; returns when it serves."""
        command = [sys.executable, "-m", "loadtests.rivals.bare_uvicorn", str(self.port), str(self._file)]
        self._process = self._processes.start("bare-uvicorn", command)
        wait_until(self._serves, within_s=10, what="the bare uvicorn application answered")
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.end(self._process)

    def _serves(self) -> bool:
        self._processes.check(self._process, "bare_uvicorn")
        return serves(self.port)

    def cpu_s(self) -> float:
        """CPU seconds so far."""
        return cpu_s(self._process.pid)


def serves(port: int) -> bool:
    """Whether a server answers GET / with 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    return False


def main() -> None:
    """Serve until ended."""
    body = Path(sys.argv[2]).read_bytes()
    uvicorn.run(app_of(body), host=HOST, port=int(sys.argv[1]), log_config=None, access_log=False, server_header=False)


if __name__ == "__main__":
    main()
