"""Requests to servers of this machine, none of which speaks TLS.

Where no context is given, httpx reads all certificates of the machine for each client: 50 ms of CPU. Who asks again and
again whether something is ready takes a core from what is to become ready.
"""

from __future__ import annotations

import contextlib
import ssl
from functools import partial

import httpx2

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""To be given to a client as ``verify``: it trusts nobody."""

get, post = partial(httpx2.get, verify=NO_TLS), partial(httpx2.post, verify=NO_TLS)
request = partial(httpx2.request, verify=NO_TLS)


def is_ready(base: str) -> bool:
    """Whether an API process answers, and says that Redis does."""
    with contextlib.suppress(httpx2.HTTPError):
        return bool(get(f"{base}/readyz", timeout=1).status_code == 200)
    return False
