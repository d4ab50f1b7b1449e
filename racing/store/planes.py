"""Columns of whole numbers as bytes that deflate well: all first bytes first, for the high ones are alike."""

from __future__ import annotations

import numpy as np

from racing.model import IntArray


def planes(column: IntArray) -> bytes:
    """Whole numbers as u32, modulo 2^32, byte by byte: 4 n bytes, from the lowest byte of each on."""
    return column.astype(np.uint32).view(np.uint8).reshape(-1, 4).T.tobytes()


def columns(data: bytes, *counts: int) -> list[IntArray]:
    """Columns of so many numbers each that were written one after the other. Raises ValueError for another length."""
    if len(data) != 4 * sum(counts):
        raise ValueError(f"{len(data)} bytes for {sum(counts)} numbers")
    found, first = [], 0
    for count in counts:
        part = np.frombuffer(data, np.uint8, 4 * count, first).reshape(4, count)
        found.append(part.T.copy().view(np.uint32).reshape(count).astype(np.int64))
        first += 4 * count
    return found
