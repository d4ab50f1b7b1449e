"""A server that stops answering in the middle of a commit, and goes on later: told as what it is, and all resumes."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from racing.errors import FencedError
from racing.model import START
from racing.store.client import connect
from racing.store.commit import Batch, Committer
from racing.store.embedded import EmbeddedServer
from racing.store.keys import VenueKeys


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with tempfile.TemporaryDirectory(prefix="saima-") as name:
        made = EmbeddedServer(Path(name))
        made.start()
        yield made
        made.stop()


def test_commit_whose_reply_does_not_come_from_a_paused_server_is_fenced(server: EmbeddedServer) -> None:
    """Not an error of the client's own; and the next owner finds either all of it or nothing."""
    keys = VenueKeys("hall-1")
    client = connect(server.url)
    committer = Committer(client, keys)
    taken = committer.take_over()
    committer.begin()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(FencedError, match="reply was lost and Redis is away"):
            committer.commit(Batch(position=START, sets_position=START, as_of_ms=1))
    finally:
        os.kill(server.pid, signal.SIGCONT)
    other = connect(server.url)
    after = Committer(other, keys).take_over()
    assert after.epoch > taken.epoch
    assert after.as_of_ms in {0, 1}
    client.close()
    other.close()
