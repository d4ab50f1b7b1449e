"""The disk fills up under load: writers hear of it, readers keep their frame, all resumes by itself once there is room.

The data folder is a file system of its own, in memory and small (a tmpfs: this needs the right to mount), and a file
beside the server's data fills it to the last byte. In fast mode the server refuses writes then (MISCONF); in safe mode
it ends rather than answer what it could not sync, and is started again.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx2

from racing.store.client import connect
from tests.faults.bounds import at_least, at_most
from tests.faults.counting import Counted, count_again
from tests.faults.exercise import Tell, run_from_command_line, silent
from tests.faults.parts import VENUE, open_venue, sending
from tests.faults.probes import Probes, Refusals
from tests.faults.senders import Journal
from tests.stack import Stack
from tests.waiting import until

ROUNDS = 10
QUICK_ROUNDS = 1
_DISK_MB = 64
_FULL_S = 3.0
_SENDERS = 3
_CHUNK_BYTES = 65_536

Mode = Literal["fast", "safe"]


@dataclass
class Result(Counted, Refusals):
    """Nothing acknowledged may be lost, nor by a kill of the server after it."""

    rounds: int = 0
    modes: dict[str, int] = field(default_factory=dict)
    reads: int = at_least(1)
    reads_failed: int = at_most(0)
    resumed_s_max: float = at_most(5.0)
    server_ends: int = 0
    seconds: float = 0.0


def run(rounds: int, *, seed: int = 1, tell: Tell = silent) -> Result:
    """Fill the disk so many times in each mode."""
    begun_s = time.monotonic()
    modes: dict[Mode, Result] = {mode: _in_mode(mode, rounds, seed, tell) for mode in ("fast", "safe")}
    result = Result.of_all(list(modes.values()))
    result.modes = {mode: one.acknowledged for mode, one in modes.items()}
    result.seconds = round(time.monotonic() - begun_s, 1)
    return result


def _in_mode(mode: Mode, rounds: int, seed: int, tell: Tell) -> Result:
    result, journal = Result(rounds=rounds), Journal()
    with tempfile.TemporaryDirectory(prefix="saima-") as folder, small_disk(Path(folder) / "data") as disk:
        stack = Stack(Path(folder), SAIMA_DURABILITY=mode, SAIMA_LEASE_MS="1000")
        stack.serve()
        try:
            stack.wait_ready()
            open_venue(stack.base)
            with Probes(stack.base) as probes:
                probes.open()
                with sending(stack.base, journal, senders=_SENDERS, seed=seed):
                    for number in range(rounds):
                        _round(stack, disk, probes, result)
                        tell(f"{mode} {number + 1} of {rounds}: resumed after {result.resumed_s_max:.2f} s at most")
            time.sleep(2.0)  # in fast mode the last second may be gone with the server: that is promised
            stack.kill("server")
            until(stack.ready, within_s=30, what="the API is ready after the server was killed")
            count_again(stack.redis_url, VENUE, journal, result)
            client = connect(stack.redis_url)
            until(lambda: probes.lost(client) == 0, within_s=10, what="what looks were acknowledged for is counted too")
            client.close()
        except BaseException:
            tell(stack.said())
            raise
        finally:
            stack.stop()
    return result


def _round(stack: Stack, disk: Path, probes: Probes, result: Result) -> None:
    until(lambda: probes.taken() and probes.fresh(), within_s=30, what="the board moves before the disk is full")
    server = stack.pid("server")
    ballast = disk / "ballast"
    _fill(ballast)
    until(lambda: not probes.taken(), within_s=10, what="writes are refused on a full disk")
    full_s = time.monotonic()
    while time.monotonic() - full_s < _FULL_S:
        _fill(ballast)  # what a server that ended gave back
        probes.refused(result, may_fit=True)  # a server that could not write gives back what it had begun
        result.reads += 1
        result.reads_failed += not probes.served()
        time.sleep(0.02)
    ballast.unlink()
    room_s = time.monotonic()
    until(lambda: _well(probes), within_s=30, what="all resumes once there is room")
    result.resumed_s_max = max(result.resumed_s_max, round(time.monotonic() - room_s, 3))
    result.server_ends += stack.pid("server") != server


def _well(probes: Probes) -> bool:
    with suppress(httpx2.HTTPError):
        return probes.taken() and probes.fresh()
    return False


def _fill(ballast: Path) -> None:
    """Write until not a byte fits."""
    size = _CHUNK_BYTES
    with ballast.open("ab", buffering=0) as out:
        while size:
            try:
                out.write(bytes(size))
            except OSError:
                size //= 2


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own in a new folder. Raises PermissionError where mounting is not allowed."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise PermissionError(f"cannot mount a small file system: {made.stderr.strip()}; run this as root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def main(arguments: Sequence[str]) -> int:
    """The exercise from the command line."""
    return run_from_command_line("disk_full", run, arguments, rounds=ROUNDS, about=__doc__, quick=QUICK_ROUNDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
