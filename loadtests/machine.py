"""Where and of what a result was measured: commit, machine, versions."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from loadtests.processes import ROOT
from loadtests.rivals import nginx
from racing.errors import StoreError
from racing.store.embedded import server_binary

PACKAGES = ("saima", "numpy", "msgspec", "redis", "hiredis", "uvicorn", "uvloop", "httptools", "fastapi", "duckdb")


def about() -> dict[str, Any]:
    """All of it, for a file of results."""
    return {"commit": commit(), "machine": _machine(), "versions": _versions()}


def commit() -> str:
    """The commit that was measured, with ``-dirty`` where files differ from it."""
    head = _told(["git", "rev-parse", "HEAD"]) or "unknown"
    return f"{head}-dirty" if _told(["git", "status", "--porcelain"]) else head


def _told(command: list[str]) -> str:
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _machine() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_1_min": round(psutil.getloadavg()[0], 2),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.processor()


def _versions() -> dict[str, str | None]:
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "server": _server(),
        "nginx": nginx.version(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _server() -> str | None:
    try:
        return _told([server_binary(), "--version"])
    except StoreError:
        return None
