"""A running service, as commands ask it over HTTP, with the key of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from racing import admin_key
from racing.errors import RacingError
from racing.settings import load_settings

if TYPE_CHECKING:
    import httpx2  # at run time commands import what they need: --help stays quick

_TIMEOUT_S = 15.0


class DeskError(RacingError):
    """The service cannot be reached, or refuses what was asked, with its reason."""


@dataclass(frozen=True, slots=True)
class Service:
    """A running service and the key to it."""

    http: httpx2.Client

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The JSON of an answer. Raises DeskError, with the reason that the service gives."""
        given = {name: value for name, value in query.items() if value not in {None, ""}}
        return self._answer(method, path, json=body, params=given)

    def send(self, path: str, body: bytes, media_type: str) -> Any:
        """The JSON of an answer to a file."""
        return self._answer("POST", path, content=body, headers={"Content-Type": media_type})

    def _answer(self, method: str, path: str, **request: Any) -> Any:
        from httpx2 import HTTPError  # as above

        try:
            answer = self.http.request(method, f"/v1/venues/{path}", **request)
        except HTTPError as exc:
            raise DeskError(f"{self.http.base_url} does not answer: {exc}") from exc
        if not answer.is_success:
            raise DeskError(_reason(answer))
        return answer.json()


def _reason(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the service answers {answer.status_code}"


@contextmanager
def service(url: str, data_dir: Path | None) -> Iterator[Service]:
    """The service at an address, with the key of this machine."""
    from httpx2 import Client  # as above

    given = {} if data_dir is None else {"data_dir": data_dir}
    headers = admin_key.headers_for(url, load_settings(**given).data_dir)
    with Client(base_url=url, headers=headers, timeout=_TIMEOUT_S) as http:
        yield Service(http)
