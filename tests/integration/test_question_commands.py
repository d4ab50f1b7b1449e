"""`saima explain` and `saima preview` as an operator meets them: real processes over a deployment that runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.running import PLAIN_RULE, Running
from tests.stack import ROOT


def saima(service: Running, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "racing.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, "SAIMA_REDIS_URL": service.server.url, "COLUMNS": "140"},
    )


@pytest.fixture(scope="module")
def venue(service: Running) -> str:
    """p-2 has two orders, p-1 none."""
    made = service.made_venue("p-1", "p-2")
    sent = service.send(made, *[{"type": "order", "product": "p-2"}] * 2)
    service.folded(made, sent.json()["position"])
    return made


def test_explain_tells_place_terms_and_sums(service: Running, venue: str) -> None:
    done = saima(service, "explain", venue, "p-2")
    assert done.returncode == 0, done.stderr
    assert f"p-2 in {venue}: slot 1, standing 1 of 2, score 2.0" in done.stdout
    for words in ("order total", "pay_amount total", "contribution", "so far"):
        assert words in done.stdout
    document = json.loads(saima(service, "explain", venue, "p-2", "--json").stdout)
    assert document["summed"] == document["score"] == 2.0


def test_a_question_that_cannot_be_answered_is_one_line_and_a_failure(service: Running, venue: str) -> None:
    for words in (
        ("explain", venue, "p-9"),
        ("explain", "hall-none", "p-1"),
        ("explain", venue, "p-1", "--at-ms", "5"),
    ):
        done = saima(service, *words)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1


def test_preview_tells_who_would_move_and_by_what(service: Running, venue: str, tmp_path: Path) -> None:
    rule = tmp_path / "rule.json"
    turned = {**PLAIN_RULE, "terms": [{"metric": "order", "signal": "total", "weight": -1}]}
    rule.write_text(json.dumps(turned))
    done = saima(service, "preview", venue, str(rule))
    assert done.returncode == 0, done.stderr
    assert f"{venue}: 2 slots, 0 unmoved, overlap 100%" in done.stdout
    assert "order total -4" in done.stdout
    rule.write_text("{}")
    refused = saima(service, "preview", venue, str(rule))
    assert refused.returncode == 1
    assert "metrics: is required" in refused.stderr
