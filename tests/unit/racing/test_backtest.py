"""A backtest writes the board just before every boundary; what it says of the scores is a law of its own."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from racing.backtest import LINES_MAX, Line, backtest, boundaries
from racing.board_settings import Stability
from racing.entries import Enrolment, Entry, RuleChange, Runner, Tick
from racing.errors import RacingError
from racing.events import EventBatch
from racing.model import Position
from racing.race import Race
from racing.recorded import Recorded, read_recorded
from racing.rule import DEFAULT_RULE, Rule, parse_rule

Record = Callable[..., Recorded]

RULE = parse_rule(
    {
        "window_s": 10,
        "bucket_s": 5,
        "metrics": {"click": {"event": "click"}, "spent": {"event": "pay", "sum": "amount"}},
        "terms": [
            {"metric": "click", "signal": "uplift", "weight": 1.0},
            {"metric": "spent", "signal": "total", "weight": 0.01},
        ],
        "board": {"slots": 2},
    }
)


@pytest.fixture
def record(tmp_path: Path) -> Record:
    def make(*rows: str) -> Recorded:
        path = tmp_path / "events.csv"
        path.write_text("\n".join(["ts_ms,type,product,user,category,price,position", *rows]))
        return read_recorded(path)

    return make


def shown(lines: list[Line]) -> list[tuple[int, list[tuple[str, float]]]]:
    return [(line.at_ms, [(slot.product, slot.score) for slot in line.slots]) for line in lines]


# -- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every_ms", [0, -1000])
def test_a_board_every_no_time_is_refused(every_ms: int, record: Record) -> None:
    with pytest.raises(RacingError, match="give at least 1 ms"):
        backtest(record("1,click,p,,,,"), RULE, every_ms)


def test_a_time_that_is_wrong_by_years_is_told_instead_of_filling_the_disk(record: Record) -> None:
    recorded = record("1700000000000,click,p,,,,", "1700000000,click,p,,,,")
    with pytest.raises(RacingError, match=r"between ts_ms 1700000000 and 1700000000000.*is a time wrong"):
        backtest(recorded, RULE, 10_000)
    assert len(boundaries(recorded, 100_000)) < LINES_MAX


# -- edges -----------------------------------------------------------------------------------------------


def test_a_file_without_events_has_no_line(record: Record) -> None:
    run = backtest(record("1,wink,p,,,,"), RULE, 1000)
    assert (list(run), len(run)) == ([], 0)


@pytest.mark.parametrize(
    ("first_ms", "last_ms", "expected"),
    [
        (0, 0, [1000]),
        (999, 999, [1000]),
        (1000, 1000, [2000]),
        (1, 3000, [1000, 2000, 3000, 4000]),
        (1, 2999, [1000, 2000, 3000]),
    ],
)
def test_lines_run_from_the_boundary_after_the_first_event_to_the_one_after_the_last(
    first_ms: int, last_ms: int, expected: list[int], record: Record
) -> None:
    recorded = record(f"{last_ms},click,p,,,,", f"{first_ms},click,p,,,,")
    assert [line.at_ms for line in backtest(recorded, RULE, 1000)] == expected


def test_an_event_at_a_boundary_belongs_to_the_next_line(record: Record) -> None:
    run = backtest(record("500,click,p,,,,", "1000,click,p,,,,"), RULE, 1000)
    assert shown(list(run)) == [(1000, [("p", 1.0)]), (2000, [("p", 2.0)])]


def test_a_board_has_at_most_the_rule_s_slots_and_at_most_one_per_product(record: Record) -> None:
    run = backtest(record("1,click,a,,,,", "2,click,b,,,,", "3,click,c,,,,"), RULE, 1000)
    assert shown(list(run)) == [(1000, [("a", 1.0), ("b", 1.0)])]
    assert shown(list(backtest(record("1,click,a,,,,"), RULE, 1000))) == [(1000, [("a", 1.0)])]


def test_ties_go_to_the_product_that_the_file_names_first_even_in_a_row_that_is_refused(record: Record) -> None:
    run = backtest(record("9,click,b,,,,", "1,wink,c,,,,", "1,click,a,,,,"), RULE, 1000)
    assert shown(list(run)) == [(1000, [("b", 1.0), ("a", 1.0)])]


def test_silence_longer_than_two_windows_keeps_its_lines_and_the_totals(record: Record) -> None:
    """Clicks rise, fall and are forgotten; what was spent stays. The second event finds an empty window again."""
    run = backtest(record("1,click,a,,,,", "2,pay,b,,,0.5,", "59000,click,a,,,,"), RULE, 5000)
    a, b, gone = [("a", 1.0), ("b", 0.5)], [("b", 0.5), ("a", -1.0)], [("b", 0.5), ("a", 0.0)]
    assert shown(list(run)) == [
        (5000, a),
        (10_000, a),
        (15_000, b),
        (20_000, b),
        *((at_ms, gone) for at_ms in range(25_000, 60_000, 5000)),
        (60_000, a),
    ]


def test_a_run_can_be_iterated_again_and_counts_what_it_folded(record: Record) -> None:
    run = backtest(record("1,click,a,,,,", "4000,click,b,,,,"), RULE, 1000)
    first = list(run)
    assert list(run) == first
    assert len(run) == len(first) == 5
    assert run.counts.counted == 2


def test_a_line_is_written_as_the_design_shows_it(record: Record) -> None:
    (line,) = backtest(record("1,pay,a,,,1.50,"), RULE, 1000)
    assert line.json() == b'{"at_ms":1000,"slots":[{"slot":1,"product":"a","score":1.5}]}'
    assert json.loads(line.json())["slots"][0]["slot"] == 1


# -- the log that is folded ------------------------------------------------------------------------------


def random_rows(seed: int) -> list[str]:
    chance = random.Random(seed)
    at_ms, rows = 1_700_000_000_123, []
    for _ in range(400):
        at_ms += chance.choice((0, 0, 3, 40, 500, 4000))
        kind = chance.choice(("click", "order", "pay"))
        rows.append(f"{at_ms},{kind},p{chance.randrange(9)},,,{chance.choice(('', '3.99'))},")
    return rows


def one_by_one(recorded: Recorded, rule: Rule, every_ms: int) -> list[list[tuple[str, float]]]:
    """The boards when every row is an entry of its own."""
    race = Race()
    begun_ms = int(recorded.ts_ms[0])
    runners = [(number, Runner(product, "m", product)) for number, product in enumerate(recorded.products)]
    document: dict[str, Any] = rule.model_dump(mode="json", exclude_none=True)
    race.apply(
        [Entry(Position(begun_ms, 0), RuleChange(1, document)), Entry(Position(begun_ms, 1), Enrolment(runners))]
    )
    boards, row = [], 0
    for at_ms in boundaries(recorded, every_ms):
        while row < len(recorded) and recorded.ts_ms[row] < at_ms:
            one = slice(row, row + 1)
            batch = EventBatch(
                kinds=recorded.kinds,
                kind=recorded.kind[one],
                runner=recorded.product[one],
                time_ms=recorded.ts_ms[one],
                amount=recorded.amount[one],
            )
            race.apply([Entry(Position(int(recorded.ts_ms[row]), 2 + row), batch)])
            row += 1
        race.apply([Entry(Position(at_ms - 1, 2 + row), Tick())])
        boards.append([(slot.product, slot.score) for slot in race.slots()])
    return boards


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("lateness_s", [None, 0, 1])
def test_grouped_entries_give_the_bits_that_single_ones_give(seed: int, lateness_s: int | None, record: Record) -> None:
    """Also where the rule takes no late event: rows of one group must not make each other late."""
    rule = DEFAULT_RULE.model_copy(update={"window_s": 120, "bucket_s": 40, "lateness_s": lateness_s})
    recorded = record(*random_rows(seed))
    run = backtest(recorded, rule, 7000)
    assert [board for _, board in shown(list(run))] == one_by_one(recorded, rule, 7000)
    assert (run.counts.counted, run.counts.late) == (400, 0)


@pytest.mark.parametrize("seed", range(2))
def test_a_steady_board_of_a_file_is_that_of_single_entries(seed: int, record: Record) -> None:
    """Steps of the board that remember look between the rows of what would else be one entry."""
    board = DEFAULT_RULE.board.model_copy(update={"slots": 3, "stability": Stability(margin=0.5, lead_s=2)})
    rule = DEFAULT_RULE.model_copy(update={"window_s": 120, "bucket_s": 40, "board": board})
    recorded = record(*random_rows(seed))
    steady = [slots for _, slots in shown(list(backtest(recorded, rule, 7000)))]

    assert steady == one_by_one(recorded, rule, 7000)
    plain = rule.model_copy(update={"board": DEFAULT_RULE.board.model_copy(update={"slots": 3})})
    assert steady != [slots for _, slots in shown(list(backtest(recorded, plain, 7000)))]


def test_fifty_thousand_products_of_one_file_enrol_and_race(record: Record) -> None:
    """As many as recorded files have, in about a second: room for them is made by doubling."""
    rows = [f"{number // 100},click,p{number},,,," for number in range(50_000)]
    (line,) = backtest(record(*rows), RULE, 1000)
    assert [slot.product for slot in line.slots] == ["p0", "p1"]
