"""The operators' frequent commands, against a running service."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from racing.cli import app
from racing.cli_desk import times
from racing.cli_service import DeskError
from tests.integration.running import PLAIN_RULE, Running


def run(*args: str) -> tuple[Result, str]:
    """What became of a command, and what it printed: in a file of its own, as other threads log to the output."""
    with pytest.MonkeyPatch.context() as patch:
        printed = io.StringIO()
        patch.setattr("racing.cli_desk.out", Console(file=printed, width=200))
        return CliRunner().invoke(app, args), printed.getvalue()


def saima(service: Running, *args: str, code: int = 0) -> Any:
    """What a command prints as JSON."""
    done, printed = run(*args, "--url", service.url, "--json")
    assert done.exit_code == code, done.exception
    return json.loads(printed)


def told(service: Running, *args: str, code: int = 0) -> str:
    done, printed = run(*args, "--url", service.url)
    assert done.exit_code == code, done.exception
    return printed


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("pin", "hall-none", "1", "p-1"), "there is no venue 'hall-none'"),
        (("thaw", "{venue}"), "there is no order 'freeze'"),
        (("pin", "{venue}", "99", "p-1"), "slot: must be at most 50"),
        (("boost", "{venue}", "2"), "exactly one of product, merchant, category and tag"),
        (("undo", "{venue}", "5-5"), "there is no decision '5-5'"),
    ],
)
def test_what_the_service_refuses_is_told_in_its_words(service: Running, args: tuple[str, ...], words: str) -> None:
    venue = service.made_venue("p-1")
    done = CliRunner().invoke(app, [*(arg.format(venue=venue) for arg in args), "--url", service.url])
    assert done.exit_code == 1
    assert isinstance(done.exception, DeskError)
    assert words in str(done.exception)


def test_a_service_that_is_away_is_told_by_its_address() -> None:
    done = CliRunner().invoke(app, ["orders", "hall-1", "--url", "http://127.0.0.1:1"])
    assert isinstance(done.exception, DeskError)
    assert "http://127.0.0.1:1" in str(done.exception)


def test_an_end_is_a_moment_or_so_long_from_now() -> None:
    assert times(None, None, now_ms=5) == {}
    assert times("2025-11-11T00:00:00+08:00", "30m", now_ms=5) == {"start_ms": 1_762_790_400_000, "end_ms": 1_800_005}
    for text in ("tomorrow", "2025-11-11T00:00:00"):
        with pytest.raises(typer.BadParameter, match="offset"):
            times(None, text, now_ms=5)


def test_a_venue_is_steered_and_every_step_taken_back(service: Running) -> None:
    venue = service.made_venue("p-1", "p-2", "p-3")
    saima(service, "pin", venue, "1", "p-3", "--end", "2h", "--note", "sold")
    saima(service, "boost", venue, "2", "--product", "p-2")
    saima(service, "exclude", venue, "recall", "--product", "p-1")
    saima(service, "freeze", venue, "--slots", "2")
    kinds = [each["kind"] for each in saima(service, "orders", venue, "--state", "in force")]
    assert sorted(kinds) == ["boost", "exclude", "freeze", "pin"]
    assert "freeze withdrawn: shown from frame" in told(service, "thaw", venue)
    decisions = saima(service, "audit", venue, "--what", "orders")
    assert [each["changes"][0]["of"].partition(".")[0] for each in decisions] == [
        "freeze",
        "freeze",
        "exclude",
        "boost",
        "pin",
    ]
    for decision in decisions:
        saima(service, "undo", venue, decision["entry"])
    assert saima(service, "orders", venue) == []
    assert "undoes" in told(service, "audit", venue)


def test_orders_are_shown_and_withdrawn_by_id(service: Running) -> None:
    venue = service.made_venue("p-1")
    body = {"title": "Burst", "rule": PLAIN_RULE, "start": "2036-11-11T00:00:00+08:00"}
    service.http.put(f"/v1/venues/{venue}/phases/burst", json=body)
    saima(service, "pin", venue, "1", "p-1", "--soft")
    assert [each["id"] for each in saima(service, "phases", venue)] == ["burst"]
    shown = told(service, "orders", venue)
    assert "burst" in shown
    assert "pin.1" in shown
    done = saima(service, "orders", venue, "--withdraw", "pin.1", "--withdraw", "burst")
    assert done["withdrawn"] == ["pin.1", "burst"]


def test_a_file_is_enrolled_and_its_wrong_rows_told(service: Running, tmp_path: Path) -> None:
    venue = service.made_venue()
    file = tmp_path / "goods.csv"
    file.write_text("product,merchant,title,stock\np-1,m-1,One,5\np-2,m-1,Two,-5\n")
    found = saima(service, "enrol", venue, str(file), code=1)
    assert [each["product"] for each in found["runners"]] == ["p-1"]
    assert "row 3 (p-2): stock: must be at least 0, not -5" in told(service, "enrol", venue, str(file), code=1)
    missing = CliRunner().invoke(app, ["enrol", venue, str(tmp_path / "none.csv"), "--url", service.url])
    assert isinstance(missing.exception, DeskError)
