"""Rows of standings as CSV, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from operator import attrgetter

from api.merchants import Row

CSV = "text/csv"
_TEXTS, _FIRST = ("venue", "product", "merchant", "title"), ("slot", "standing", "rank", "of", "percentile", "score")
_MOVES, _SUMS, _LAST = ("one_min", "five_min", "since_start"), ("window", "base", "delta", "total"), ("stock", "price")
_texts, _first, _moves, _sums, _last = (attrgetter(*each) for each in (_TEXTS, _FIRST, _MOVES, _SUMS, _LAST))
_NO_SUMS = (None,) * len(_SUMS)
_RISKY = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula: a title is no place for one."""


def as_csv(rows: Sequence[Row]) -> str:
    """A header, and a line for each row: its plain fields, metrics as click_window and so on, badges joined by blanks.

    The metrics are those of all rows; a row of a venue without one has it empty. Lines end as RFC 4180 has it.
    """
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics.__struct_fields__))
    columns = [f"{metric}_{what}" for metric in metrics for what in _SUMS]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([*_TEXTS, *_FIRST, *(f"moved_{name}" for name in _MOVES), *columns, *_LAST, "badges"])
    for row in rows:
        sums = [getattr(row.metrics, metric, None) for metric in metrics]
        writer.writerow(
            [
                *map(_safe, _texts(row)),
                *_first(row),  # numbers; what is None becomes an empty cell
                *_moves(row.movement),
                *(each for told in sums for each in (_NO_SUMS if told is None else _sums(told))),
                *_last(row),
                " ".join(row.badges),
            ]
        )
    return out.getvalue()


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_RISKY) else text
