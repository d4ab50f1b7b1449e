"""Who runs on which processors, and what others take of the machine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.faults.parts import Parts

_PINS = hasattr(os, "sched_setaffinity")
"""Whether this system lets a process choose its processors; elsewhere all parts compete."""


def halves() -> tuple[set[int], set[int]]:
    """The processors of what is overloaded, and those of everybody else; the same where there is only one."""
    here = sorted(os.sched_getaffinity(0)) if _PINS else []
    half = len(here) // 2
    return set(here[:half] or here), set(here[half:])


@contextmanager
def on(processors: set[int]) -> Iterator[None]:
    """Run on these, with whatever is started meanwhile, for as long as that lives."""
    if not _PINS:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Others:
    """The share of the machine that others use, from now on."""

    def __init__(self, parts: Parts) -> None:
        """parts: ours too, beside this process and all that it has started."""
        self._ours = [psutil.Process(), *psutil.Process().children(recursive=True)]
        server = parts.server.pid
        self._ours += [psutil.Process(server)] if server is not None else []
        self._begun = self._spent()

    def _spent(self) -> tuple[float, float, float]:
        """(processor seconds of all, of ours, moment)."""
        whole = psutil.cpu_times()
        busy = sum(whole) - whole.idle - getattr(whole, "iowait", 0.0) - getattr(whole, "guest", 0.0)
        ours = sum(sum(each.cpu_times()[:2]) for each in set(self._ours) if each.is_running())
        return busy, ours, time.monotonic()

    def share(self) -> float:
        """0 to 1."""
        busy, ours, at_s = (after - before for after, before in zip(self._spent(), self._begun, strict=True))
        return round(max(0.0, busy - ours) / (at_s * (os.cpu_count() or 1)), 2)
