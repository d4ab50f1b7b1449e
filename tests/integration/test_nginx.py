"""The example of an nginx before Saima, as it stands in docs/front-ends.md: it caches, and is never empty."""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.integration.running import Running, running
from tests.waiting import free_port, until

NGINX = shutil.which("nginx")
PAGE = Path(__file__).parents[2] / "docs" / "front-ends.md"

pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx on the PATH (apt-get install nginx-light)")


def config_of(folder: Path, port: int, upstream: str) -> str:
    """The example with this port, server and folder in place of its own; what stands around it is nginx's own."""
    found = re.search(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    example = found[1]
    for theirs, ours in (
        ("/var/cache/nginx/saima", f"{folder}/cache"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port};"),
        ("10.0.0.11:8080", upstream),
        ("    server 10.0.0.12:8080 max_fails=2 fail_timeout=2s;\n", ""),
    ):
        assert theirs in example, theirs
        example = example.replace(theirs, ours)
    temporary = " ".join(f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy"))
    around = f"user {getpass.getuser()}; daemon off; pid {folder}/pid; error_log {folder}/log; events {{}}"
    return f"{around} http {{ access_log off; {temporary} {example} }}"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, httpx2.Client]]:
    """A deployment, and a client of the nginx before it."""
    assert NGINX is not None
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    with running(tmp_path_factory.mktemp("behind")) as service:
        config = folder / "nginx.conf"
        config.write_text(config_of(folder, port, service.url.removeprefix("http://")))
        process = subprocess.Popen([NGINX, "-e", str(folder / "log"), "-c", str(config)])
        try:
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as http:
                until(lambda: answers(http), within_s=10, what="nginx had started")
                yield service, http
        finally:
            process.terminate()
            process.wait()


def answers(http: httpx2.Client) -> bool:
    try:
        return bool(http.get("/healthz").status_code == 200)
    except httpx2.HTTPError:
        return False


def asked(http: httpx2.Client, venue: str, **headers: str) -> Any:
    return http.get(f"/v1/venues/{venue}/slots", headers=headers)


def test_shoppers_share_an_answer_and_see_the_race_within_two_seconds(front: tuple[Running, httpx2.Client]) -> None:
    """One variant for all who take gzip, however they say it, and one for the others; 304 for who has it."""
    service, http = front
    venue = service.made_venue("p-1", "p-2")
    until(lambda: len(service.slots(venue).json()["slots"]) == 2, within_s=5, what="all are on the board")
    first = asked(http, venue)
    assert (first.headers["x-cache"], first.headers["content-encoding"]) == ("MISS", "gzip")
    second = asked(http, venue, **{"Accept-Encoding": "br;q=1, gzip;q=0.5"})
    assert second.headers["x-cache"] != "MISS"
    assert second.content == first.content
    assert "content-encoding" not in asked(http, venue, **{"Accept-Encoding": "identity"}).headers
    assert asked(http, venue, **{"If-None-Match": first.headers["etag"]}).status_code == 304
    service.send(venue, {"type": "order", "product": "p-2"})
    until(lambda: asked(http, venue).json()["slots"][0]["product"] == "p-2", within_s=4, what="shoppers saw the race")


def test_keys_go_past_the_cache(front: tuple[Running, httpx2.Client]) -> None:
    """What they are shown is for them alone."""
    service, http = front
    venue = service.made_venue("p-1")
    asked(http, venue)
    assert asked(http, venue, Authorization="Bearer x").headers["x-cache"] == "BYPASS"


def test_shoppers_are_shown_the_last_answer_while_saima_is_away(front: tuple[Running, httpx2.Client]) -> None:
    service, http = front
    venue = service.made_venue("p-1")
    until(lambda: service.slots(venue).json()["slots"], within_s=5, what="it is on the board")
    before = asked(http, venue)
    service.ending()
    until(service.ended, within_s=10, what="the API had ended")
    until(lambda: asked(http, venue).headers["x-cache"] == "STALE", within_s=5, what="the answer grew old")
    assert asked(http, venue).content == before.content
