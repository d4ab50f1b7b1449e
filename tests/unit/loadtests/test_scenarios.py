"""What scenarios compute of what they measured."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtests import bench, table, wrk
from loadtests.measure import Snapshot, Stretch, figures_of, refused
from loadtests.processes import BenchError
from loadtests.rivals.contest import BOUNDARIES, Costs, surges
from loadtests.rivals.duckdb_buckets import Ranking, ndjson
from loadtests.scenarios.delay import delays_ms
from loadtests.scenarios.memory import even_events
from loadtests.scenarios.plan import outcome, ratios
from loadtests.stack import Cpu
from loadtests.traffic import KINDS, Traffic, product_of
from racing.store.commit import NO_COMMIT


class TestDelays:
    def test_a_batch_is_visible_with_the_first_frame_at_its_position_or_after(self) -> None:
        seen = [(10.0, (5, 0)), (10.1, (7, 2)), (10.3, (9, 0))]
        rows = [(9.9, 9.95, (5, 0)), (9.9, 9.95, (7, 0)), (9.9, 9.95, (7, 3))]
        assert delays_ms(rows, seen) == pytest.approx([100.0, 200.0, 400.0])

    def test_what_no_frame_showed_is_late_for_ever(self) -> None:
        assert delays_ms([(1.0, 1.1, (8, 0)), (1.0, 1.1, None)], [(2.0, (7, 9))]) == [math.inf, math.inf]


class TestRatios:
    def test_a_ratio_says_how_many_times_ours_is_better(self) -> None:
        rivals: dict[str, Any] = {"slow": {"cost": 8.0}, "absent": {"skipped": "not installed"}}
        assert ratios({"cost": 2.0}, rivals, "cost", more_is_better=False) == {"slow": 4.0}
        assert ratios({"rate": 6.0}, {"fast": {"rate": 8.0}}, "rate", more_is_better=True) == {"fast": 0.75}

    def test_without_a_figure_of_ours_there_is_none(self) -> None:
        assert ratios({"error": "415"}, {"slow": {"cost": 8.0}}, "cost", more_is_better=False) == {}


def snapshot(*, cpu: Cpu, counted: int, number: int, wall_s: float, epoch: int = 1) -> Snapshot:
    record = type(NO_COMMIT)(
        epoch=epoch,
        number=number,
        position="1-0",
        sets_position="1-0",
        frame=1,
        as_of_ms=0,
        counts={"counted": counted},
    )
    return Snapshot(cpu, record, wall_s, 0.0)


class TestStretch:
    before = snapshot(cpu=Cpu(1.0, 1.0, 1.0), counted=1_000, number=5, wall_s=99.0)

    def test_cpu_is_divided_by_what_was_committed(self) -> None:
        after = snapshot(cpu=Cpu(3.0, 2.0, 1.5), counted=501_000, number=105, wall_s=131.0)
        figures = figures_of(Stretch(self.before, after, 10))
        assert figures["cpu_us_per_event"] == pytest.approx(7.0)
        assert figures["parts_us_per_event"] == {"api": 4.0, "scorer": 2.0, "server": 1.0}
        assert (figures["boundaries"], figures["events_per_commit"]) == (4, 5_000.0)

    def test_several_stretches_count_as_one(self) -> None:
        """And what happened between them does not."""
        after = snapshot(cpu=Cpu(2.0, 1.0, 1.5), counted=101_000, number=15, wall_s=101.0)
        later = snapshot(cpu=Cpu(9.0, 9.0, 9.0), counted=901_000, number=99, wall_s=500.0)
        end = snapshot(cpu=Cpu(10.0, 9.5, 9.5), counted=1_201_000, number=109, wall_s=502.0)
        figures = figures_of(Stretch(self.before, after, 10), Stretch(later, end, 10))
        assert figures["parts_us_per_event"] == {"api": 5.0, "scorer": 1.25, "server": 2.5}
        assert (figures["boundaries"], figures["commits"], figures["seconds"]) == (1, 20, 4.0)

    def test_a_stretch_without_events_is_an_error(self) -> None:
        with pytest.raises(BenchError, match="no event"):
            figures_of(Stretch(self.before, self.before, 10))

    def test_a_new_owner_meanwhile_is_an_error(self) -> None:
        after = snapshot(cpu=Cpu(3.0, 2.0, 1.5), counted=501_000, number=3, wall_s=131.0, epoch=2)
        with pytest.raises(BenchError, match="fenced"):
            _ = Stretch(self.before, after, 10).commits


def test_refusals_are_told_with_what_the_service_said() -> None:
    told = {"statuses": {"202": 3, "415": 2}, "refusal": "send JSON", "broken": 0, "unanswered": 0}
    with pytest.raises(BenchError, match=r"415 \(2 times\): send JSON"):
        refused(told)


class TestRivals:
    def test_boundaries_weigh_by_the_events_of_a_bucket(self) -> None:
        class Clock:
            client_s, server_s = 0.5, 0.5
            total_s = 1.0

        costs: Any = Costs(Clock(), Clock(), events=1_000_000, boundaries=10)  # type: ignore[arg-type]  # only its times
        assert costs.figures(100_000)["cpu_us_per_event"] == pytest.approx(1.0 + 1.0)

    @pytest.mark.parametrize("source", ["ndjson", "arrays"])
    def test_duckdb_ranks_as_numpy_does(self, source: Any, tmp_path: Any) -> None:
        """Window against base over filled buckets and one that was loaded."""
        pytest.importorskip("duckdb")
        traffic = Traffic(100)
        filled, loaded = traffic.cells(300, purpose=1), traffic.draw(400, purpose=2)
        race = Ranking(None, source, buckets_per_window=4)
        race.fill([filled])
        if source == "ndjson":
            path = tmp_path / "batch.ndjson"
            path.write_bytes(ndjson(loaded))
            race.load(path)
        else:
            race.load(loaded)
        race.end_bucket()
        ranked = race.rank()
        race.close()

        window, base = np.zeros((100, len(KINDS))), np.zeros((100, len(KINDS)))
        np.add.at(window, (filled.runner, filled.kind), 3)
        np.add.at(window, (loaded.runner, loaded.kind), np.where(loaded.kind == 5, loaded.amount, 1))
        np.add.at(base, (filled.runner, filled.kind), 4)
        scores = surges(window, base)
        best = np.argsort(-scores, kind="stable")[: len(ranked)]
        named = [product_of(runner) for runner in best] if source == "ndjson" else best.tolist()
        assert [product for product, _ in ranked[:10]] == named[:10]
        assert [score for _, score in ranked] == pytest.approx(scores[best])

    def test_there_are_three_boundaries_at_least(self) -> None:
        assert BOUNDARIES >= 3


def test_even_events_are_as_many_for_every_runner() -> None:
    assert np.bincount(even_events(20, 50).runner).tolist() == [50] * 20


class TestWrk:
    REPORT = """Running 2s test @ http://127.0.0.1:1/
  Latency Distribution
     50%  540.00us
     75%    0.92ms
     90%    1.41ms
     99%    8.30ms
  243741 requests in 2.00s, 0.70GB read
Requests/sec: 121870.52
"""

    def test_its_report_is_read(self) -> None:
        expected = {"requests": 243741, "requests_per_s": 121870.52, "p50_ms": 0.54, "p99_ms": 8.3}
        assert wrk.figures_in(self.REPORT) == expected

    @pytest.mark.parametrize("line", ["  Non-2xx or 3xx responses: 12", "  Socket errors: connect 0, read 9"])
    def test_errors_in_it_are_errors(self, line: str) -> None:
        with pytest.raises(BenchError, match=line.split(maxsplit=1)[0]):
            wrk.figures_in(f"{self.REPORT}{line}\n")


class TestBench:
    def test_the_scenario_names_are_permanent(self) -> None:
        assert list(bench.SCENARIOS) == [
            "ingest_json_500",
            "ingest_packed",
            "ingest_single",
            "delay_half",
            "delay_ninety",
            "reads",
            "live",
            "growth",
            "memory",
            "recovery",
            "segments",
            "merchants",
        ]

    def test_an_unknown_scenario_is_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            bench.main(["no_such"])
        assert "there are ingest_json_500" in capsys.readouterr().err

    def test_results_come_as_json_and_as_table(self) -> None:
        good = outcome("reads", {"requests_per_s": 2.0}, {"nginx": {"requests_per_s": 4.0}}, "requests_per_s")
        bad = {"scenario": "memory", "error": "why", "ours": {}, "rivals": {}, "ratio": {}}
        assert json.loads(json.dumps(good))["ratio"] == {"nginx": 2.0}
        assert table.of([good, bad]).row_count == 2

    def test_what_was_measured_before_an_interruption_is_kept(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def run(name: str, *_: object) -> dict[str, Any]:
            if name == "live":
                raise KeyboardInterrupt
            return outcome(name, {"requests_per_s": 2.0}, {}, "requests_per_s")

        monkeypatch.setattr(bench, "run", run)
        monkeypatch.setattr(bench, "RESULTS", tmp_path / "results")
        assert bench.main(["reads", "live"]) == 130
        (kept,) = (tmp_path / "results").iterdir()
        assert [each["scenario"] for each in json.loads(kept.read_text())["scenarios"]] == ["reads"]
