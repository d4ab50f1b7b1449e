"""Ends what a bench leaves behind when it is killed without a chance to clean up.

Told on standard input ``+ PID``, ``- PID`` and ``folder PATH``; when the input ends, which it also does when the
bench dies, whatever is still named is ended and the folder removed. psutil knows a process by pid and start
time, so that a pid that was given to somebody else meanwhile is left alone.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path

import psutil

_POLITE_S = 2.0


def main() -> None:
    """Watch until the input ends, then clean up."""
    watched: dict[int, psutil.Process] = {}
    folder: Path | None = None
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        if word == "folder":
            folder = Path(rest)
        elif word == "+":
            with contextlib.suppress(psutil.NoSuchProcess):
                watched[int(rest)] = psutil.Process(int(rest))
        elif word == "-":
            watched.pop(int(rest), None)
    end(list(watched.values()))
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def end(processes: list[psutil.Process]) -> None:
    """Ask these processes to end, and kill those that have not after 2 s."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, stubborn = psutil.wait_procs(processes, timeout=_POLITE_S)
    for process in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


if __name__ == "__main__":
    main()
