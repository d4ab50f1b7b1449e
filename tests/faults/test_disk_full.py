"""The short form of the full disk: python -m tests.faults disk_full runs the long one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.disk_full import run, small_disk


def test_nothing_is_lost_on_a_full_disk_and_all_resumes_once_there_is_room(tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "disk"):
            pass
    except PermissionError as exc:
        if os.environ.get("SAIMA_CI"):
            raise
        pytest.skip(str(exc))
    result = run(1)
    assert result.holds, result
    assert result.server_ends == 1, "in safe mode the server ends rather than answer what it could not sync"
