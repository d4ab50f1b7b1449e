"""duckdb_buckets: the best batch rival. DuckDB, with the ranking queried at the end of each bucket.

No service around it, and not live: a board every bucket, none in between. Events come as NDJSON text or as numpy
arrays with numbered products, and are loaded 500 at a time, as every sender's batch must be before it is
acknowledged; at the bucket's end they are grouped into cells (bucket, product, kind), and one query ranks window
against base. With the append-only file on for the others, its database is a file that is committed once a second;
else it is in memory. All its threads are counted.

``whole_buckets``: each bucket is loaded in one go when it is over. That is far cheaper, but nothing is
acknowledged for a whole bucket's time; it is reported beside the other, not as the rival.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import msgspec

from loadtests.measure import RivalClock
from loadtests.processes import BenchError
from loadtests.rivals.contest import BATCH, BOUNDARIES, PAY, PRIOR, WEIGHTS, Contest, Costs
from loadtests.traffic import KINDS, Events, product_of

Source = Literal["ndjson", "arrays"]

_BATCHES = 100
_WHOLE_EVENTS_MAX = 500_000
_TYPES = {"ndjson": "VARCHAR", "arrays": "INTEGER"}
_COLUMNS = {"ndjson": "type AS kind, product, amount", "arrays": "kind, product, amount"}


class Ranking:
    """The tables of one venue and their queries."""

    def __init__(self, path: Path | None, source: Source, *, buckets_per_window: int) -> None:
        try:
            import duckdb  # noqa: PLC0415  # of the dev extra: absent where only the service is installed
        except ImportError as exc:
            raise BenchError("duckdb is not installed: pip install duckdb") from exc
        self._db = duckdb.connect(str(path) if path else ":memory:")
        self._source = source
        self._length = buckets_per_window
        self._committed_s = time.monotonic()
        self.bucket = 1_000
        kind = _TYPES[source]
        self._pay = "'pay'" if source == "ndjson" else str(PAY)
        self._db.execute(f"CREATE TABLE running (kind {kind}, product {kind}, amount BIGINT)")
        self._db.execute(f"CREATE TABLE cells (bucket INTEGER, product {kind}, kind {kind}, n BIGINT)")
        self._db.execute(f"CREATE TABLE weights (kind {kind}, weight DOUBLE)")
        names: list[Any] = list(KINDS) if source == "ndjson" else list(range(len(KINDS)))
        self._db.executemany("INSERT INTO weights VALUES (?, ?)", list(zip(names, WEIGHTS, strict=True)))
        self._db.begin()

    def load(self, batch: Path | Events) -> None:
        """Take events into the running bucket; durable within a second."""
        if isinstance(batch, Path):
            self._db.execute(
                f"INSERT INTO running SELECT {_COLUMNS['ndjson']} FROM read_json(?, format = 'newline_delimited',"  # noqa: S608  # our own words
                " columns = {type: 'VARCHAR', product: 'VARCHAR', amount: 'BIGINT'})",
                [str(batch)],
            )
        else:
            self._db.register("batch", {"product": batch.runner, "kind": batch.kind, "amount": batch.amount})
            self._db.execute(f"INSERT INTO running SELECT {_COLUMNS['arrays']} FROM batch")  # noqa: S608  # our own words
            self._db.unregister("batch")
        if time.monotonic() - self._committed_s > 1:
            self._commit()

    def _commit(self) -> None:
        self._db.commit()
        self._db.begin()
        self._committed_s = time.monotonic()

    def end_bucket(self) -> None:
        """Group the running bucket's events into cells."""
        self._db.execute(
            f"INSERT INTO cells SELECT ?, product, kind, sum(CASE WHEN kind = {self._pay} THEN amount ELSE 1 END)"  # noqa: S608  # our own words
            " FROM running GROUP BY product, kind",
            [self.bucket],
        )
        self._db.execute("DELETE FROM running")
        self._commit()

    def rank(self) -> list[Any]:
        """The ranking as the bucket ends; then the oldest cells go, and the next bucket runs."""
        base_from, window_from = self.bucket - 2 * self._length, self.bucket - self._length
        rows: list[Any] = self._db.execute(
            "WITH sums AS (SELECT product, kind, coalesce(sum(n) FILTER (bucket > $1), 0) c,"
            "  coalesce(sum(n) FILTER (bucket <= $1), 0) p FROM cells WHERE bucket > $2 GROUP BY product, kind)"
            " SELECT product, sum(weight * (c - p) / sqrt(c + p + $3)) AS score FROM sums JOIN weights USING (kind)"
            " GROUP BY product ORDER BY score DESC, product LIMIT 50",
            [window_from, base_from, PRIOR],
        ).fetchall()
        self._db.execute("DELETE FROM cells WHERE bucket <= ?", [base_from])
        self._commit()
        self.bucket += 1
        return rows

    def fill(self, variants: list[Events]) -> None:
        """Window and base as if every bucket held one of these in turn."""
        kinds = ", ".join(f"'{kind}'" for kind in KINDS)
        named = f"format('p-{{:07d}}', product), [{kinds}][kind + 1]"
        columns = named if self._source == "ndjson" else "product, kind"
        for index, events in enumerate(variants):
            ages = [age for age in range(1, 2 * self._length) if age % len(variants) == index]
            self._db.register("filling", {"product": events.runner, "kind": events.kind})
            self._db.execute(
                f"INSERT INTO cells SELECT ? - age, {columns}, 1 FROM filling, unnest(?) AS ages(age)",  # noqa: S608  # our own words
                [self.bucket, ages],
            )
            self._db.unregister("filling")

    def close(self) -> None:
        """Close the database."""
        self._db.close()


def run(contest: Contest, source: Source, *, whole_buckets: bool = False) -> dict[str, Any]:
    """CPU per event of loading, grouping and ranking."""
    path = contest.processes.folder / f"cells-{source}-{whole_buckets}.duckdb" if contest.aof else None
    race = Ranking(path, source, buckets_per_window=contest.buckets)
    try:
        race.fill(contest.variants())
        size = min(contest.events_per_bucket, _WHOLE_EVENTS_MAX) if whole_buckets else BATCH
        batches = _batches(contest, source, size, count=1 if whole_buckets else _BATCHES)
        warm, costs = Costs(RivalClock(), RivalClock()), Costs(RivalClock(), RivalClock())
        _bucket(race, batches, size, warm, contest.seconds / 10)
        for _ in range(BOUNDARIES):
            _bucket(race, batches, size, costs, contest.seconds / BOUNDARIES)
        return {**costs.figures(contest.events_per_bucket), "from": source, "events_per_load": size}
    finally:
        race.close()


def _bucket(race: Ranking, batches: Sequence[Path | Events], size: int, costs: Costs, seconds: float) -> None:
    """One bucket: events for so long, one load at least; then the ranking."""
    until_s = time.monotonic() + seconds
    with costs.work:
        for batch in cycle(batches):
            race.load(batch)
            costs.events += size
            if time.monotonic() > until_s:
                break
        race.end_bucket()
    with costs.boundary:
        ranked = race.rank()
    costs.boundaries += 1
    if len(ranked) < 50:
        raise BenchError(f"duckdb ranked {len(ranked)} products")


def _batches(contest: Contest, source: Source, size: int, *, count: int) -> Sequence[Path | Events]:
    """What is loaded, as its sender made it: its making is not counted."""
    events = contest.traffic.draw(size * count, purpose=330)
    parts = [events.part(start, start + size) for start in range(0, len(events), size)]
    if source == "arrays":
        return parts
    paths = [contest.processes.folder / f"batch-{size}-{index}.ndjson" for index in range(count)]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(ndjson(part))
    return paths


def ndjson(events: Events) -> bytes:
    """Events as the lines that a sender would write."""
    encode = msgspec.json.Encoder().encode
    columns = (events.kind.tolist(), events.runner.tolist(), events.amount.tolist())
    return b"\n".join(
        encode({"type": KINDS[kind], "product": product_of(runner), **({"amount": amount} if amount else {})})
        for kind, runner, amount in zip(*columns, strict=True)
    )
