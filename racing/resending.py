"""Requests to a running service, sent again, unchanged, until they are answered."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TypeVar

import httpx2
import msgspec

from racing.errors import RacingError

_RETRY_S = (0.2, 5.0)
"""Shortest and longest own wait before a request is sent again; Retry-After may ask for more."""
_AGAIN = {429, 502, 503, 504}

Clock = Callable[[], float]
"""Seconds since 1970."""
Shape = TypeVar("Shape", bound=msgspec.Struct)


class ReplayError(RacingError):
    """The service cannot be reached, or refuses what sending it again would not mend."""


def steady_clock() -> Clock:
    """A clock of seconds since 1970 that never jumps, whatever is done to the machine's own."""
    offset_s = time.time() - time.monotonic()
    return lambda: offset_s + time.monotonic()


class Line:
    """The connection to a service: asks until there is an answer, or it has been asked for give_up_after_s in vain."""

    def __init__(
        self, client: httpx2.Client, give_up_after_s: float, clock: Clock, sleep: Callable[[float], object]
    ) -> None:
        self.clock, self.sleep = clock, sleep
        self.retries = 0
        self._client, self._give_up_after_s = client, give_up_after_s
        self._reached = False

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, key: str | None = None, fine: int | None = None
    ) -> httpx2.Response:
        """The answer, a good one or one of status ``fine``. Raises ReplayError."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        headers |= {} if key is None else {"Idempotency-Key": key}
        begun_s, wait_s = self.clock(), _RETRY_S[0]
        while True:
            response, trouble = self._once(method, path, body, headers)
            if response is not None and response.status_code not in _AGAIN:
                break
            pause_s = max(wait_s, _retry_after_s(response))
            if self.clock() + pause_s - begun_s > self._give_up_after_s:
                raise ReplayError(
                    f"{self._client.base_url} did not take {method} {path} within {self._give_up_after_s:g} s:"
                    f" {trouble}. What it answered before is counted; see its logs, or `saima doctor`"
                )
            self.sleep(pause_s)
            self.retries += 1
            wait_s = min(2 * wait_s, _RETRY_S[1])
        if not response.is_success and response.status_code != fine:
            raise ReplayError(f"{self._client.base_url} refuses {method} {path}: {_told(response)}")
        return response

    def _once(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[httpx2.Response | None, str]:
        """(answer if there is one, what is wrong with it). Raises ReplayError if nothing was ever reached."""
        try:
            response = self._client.request(method, path, content=body, headers=headers)
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL) as exc:
            raise ReplayError(
                f"{self._client.base_url} is no address of a service: give one like http://127.0.0.1:8080"
            ) from exc
        except httpx2.TransportError as exc:
            if not self._reached:
                raise ReplayError(
                    f"no service answers at {self._client.base_url} ({exc}):"
                    " start one with `saima serve`, or give the address of a running one with --url"
                ) from exc
            return None, str(exc) or type(exc).__name__
        self._reached = True
        return response, _told(response)

    def read(self, response: httpx2.Response, shape: type[Shape]) -> Shape:
        """The answer's body. Raises ReplayError if it has another shape."""
        try:
            return msgspec.json.decode(response.content, type=shape)
        except msgspec.DecodeError as exc:
            raise ReplayError(
                f"{response.url} answered {response.status_code} with something else ({exc}): is a Saima running there?"
            ) from exc


def _told(response: httpx2.Response) -> str:
    """Status and reason of an error answer: problem+json's detail, or the beginning of the text."""
    if response.is_success:
        return str(response.status_code)
    try:
        document = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        document = None
    detail = document.get("detail") if isinstance(document, dict) else response.text[:300]
    return f"{response.status_code} {detail or response.reason_phrase}"


def _retry_after_s(response: httpx2.Response | None) -> float:
    """The seconds that Retry-After asks for; 0 where it gives none, or a date."""
    asked = "" if response is None else response.headers.get("Retry-After", "")
    return float(asked) if re.fullmatch("[0-9]{1,9}", asked) else 0.0
