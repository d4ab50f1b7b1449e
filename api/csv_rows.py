"""Rows of standings as CSV, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

CSV = "text/csv"
_FIRST = ("venue", "product", "merchant", "title", "slot", "standing", "rank", "of", "percentile", "score")
_MOVES = ("one_min", "five_min", "since_start")
_LAST = ("stock", "price")
_RISKY = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula: a title is no place for one."""


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """A header, and a line for each row: its plain fields, metrics as click_window and so on, badges joined by blanks.

    The metrics are those of all rows; a row of a venue without one has it empty. Lines end as RFC 4180 has it.
    """
    metrics = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
    columns = [f"{metric}_{what}" for metric in metrics for what in ("window", "base", "delta", "total")]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([*_FIRST, *(f"moved_{name}" for name in _MOVES), *columns, *_LAST, "badges"])
    for row in rows:
        sums = [getattr(row["metrics"].get(metric), what, "") for metric in metrics for what in _WHATS]
        moves = [getattr(row["movement"], name) for name in _MOVES]
        cells = [
            *(row[name] for name in _FIRST),
            *moves,
            *sums,
            *(row[name] for name in _LAST),
            " ".join(row["badges"]),
        ]
        writer.writerow([_safe(cell) for cell in cells])
    return out.getvalue()


_WHATS = ("window", "base", "delta", "total")


def _safe(cell: Any) -> Any:  # any value of a row
    if isinstance(cell, str) and cell.startswith(_RISKY):
        return f"'{cell}"
    return "" if cell is None else cell
