"""The admin key of an embedded deployment: made on first start, in a file of the data folder only its owner reads.

The commands on the same machine find it there; whoever can read it could read the embedded server's socket too.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from racing.apikeys import KeyRecord, digest_of, id_of, mint
from racing.errors import RacingError
from racing.settings import on_loopback
from racing.store import keyring
from racing.store.protocol import SyncClient

FILE = "admin.key"
NAME = "admin"
VARIABLE = "SAIMA_KEY"
"""Where commands look for a key first."""


class AdminKeyError(RacingError):
    """The file of the admin key cannot be read or written."""


def path_in(data_dir: Path) -> Path:
    """The file of the admin key."""
    return data_dir / FILE


def read(data_dir: Path) -> str | None:
    """The key in the file; None without a file. Raises AdminKeyError."""
    path = path_in(data_dir)
    try:
        return path.read_text("ascii").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as exc:
        raise AdminKeyError(f"the admin key file {str(path)!r} cannot be read: {exc}") from exc


def readable_by_others(data_dir: Path) -> bool:
    """Whether the file lets anyone but its owner read it."""
    try:
        return bool(path_in(data_dir).stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except FileNotFoundError:
        return False


def ensure(client: SyncClient, data_dir: Path, *, now_ms: int) -> Path | None:
    """The file of a working admin key, made where the deployment has none yet; None where there is no file to show.

    A key that was revoked stays revoked, and a file that was taken away stays away while another admin key works.
    A server that has lost its keys learns the one in the file again. Raises AdminKeyError, StoreError.
    """
    known = keyring.read_keys(client)
    key = read(data_dir)
    wanted = KeyRecord("", NAME, "admin", now_ms)
    if key is not None:
        record = known.get(digest_of(key))
        if record is None and id_of(key) is not None:
            keyring.create(client, wanted, who="serve", now_ms=now_ms, key=key)
        return path_in(data_dir) if record is None or record.state(now_ms) == "active" else None
    if _administered(known, now_ms):
        return None
    key = mint()
    _write(path_in(data_dir), key)  # before it works: a key that nobody could read again would be of no use
    keyring.create(client, wanted, who="serve", now_ms=now_ms, key=key)
    return path_in(data_dir)


def exists(client: SyncClient, *, now_ms: int) -> bool:
    """Whether any admin key works. Raises StoreError."""
    return _administered(keyring.read_keys(client), now_ms)


def _administered(known: dict[str, KeyRecord], now_ms: int) -> bool:
    return any(record.role == "admin" and record.state(now_ms) == "active" for record in known.values())


def _write(path: Path, key: str) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(key + "\n")
    except OSError as exc:
        raise AdminKeyError(f"the admin key file {str(path)!r} cannot be written: {exc.strerror}") from exc


def headers_for(url: str, data_dir: Path) -> dict[str, str]:
    """What a command sends to this service: the key in SAIMA_KEY, else, on this machine, the one in the data folder."""
    key = os.environ.get(VARIABLE)
    if key is None and on_loopback(urlsplit(url).hostname or ""):
        key = read(data_dir)
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def await_headers(
    url: str, data_dir: Path, wait: Callable[[float], bool], *, clock: Callable[[], float] = time.monotonic
) -> dict[str, str]:
    """As headers_for, for a service that is just starting: waits for its file, at most 15 s.

    wait: sleeps so many seconds and says whether to give up.
    """
    until_s = clock() + 15
    while not (found := headers_for(url, data_dir)) and clock() < until_s and not wait(0.05):
        pass
    return found
