"""The browser's module as a file: small, whole, and in need of nothing else."""

from __future__ import annotations

import gzip
import re
from importlib.resources import files

SOURCE = files("api").joinpath("pages", "saima-client.js").read_text("utf-8")


def test_the_module_is_smaller_than_four_kilobytes_compressed() -> None:
    assert len(gzip.compress(SOURCE.encode(), 6)) < 4096


def test_the_module_depends_on_nothing() -> None:
    assert re.search(r"^\s*import\b|\bimport\(|require\(", SOURCE, re.MULTILINE) is None


def test_the_module_holds_no_other_address_than_its_own() -> None:
    assert re.findall(r"https?:", SOURCE) == []
