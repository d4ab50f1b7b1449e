"""The rule document: what is refused, in which words, and what a good one says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from racing.errors import RuleError
from racing.model import EVENT_KINDS
from racing.rule import BUCKETS_MAX, Rule, parse_rule
from racing.stated import STATED_KINDS
from tests.laws.logs import law, rules

_TERM: dict[str, Any] = {"metric": "click", "signal": "surge", "weight": 1}
_RULE: dict[str, Any] = {"metrics": {"click": {"event": "click"}, "order": {"event": "order"}}, "terms": [_TERM]}


def _refusal(document: Any) -> str:
    with pytest.raises(RuleError) as refused:
        parse_rule(document)
    return str(refused.value)


def _term(**fields: Any) -> dict[str, Any]:
    return {**_RULE, "terms": [_TERM, {**_TERM, **fields}]}


def _metric(**fields: Any) -> dict[str, Any]:
    return {**_RULE, "metrics": {**_RULE["metrics"], "click": {"event": "click", **fields}}}


def _ratio(**fields: Any) -> dict[str, Any]:
    return {**_RULE, "terms": [{"ratio": ["order", "click"], "signal": "rate", "weight": 1, **fields}]}


# each wrong field: the document, the field, what would be right, and the value as shown
_WRONG: list[tuple[dict[str, Any], str, str, str]] = [
    ({**_RULE, "window_s": 0}, "window_s", "at least 1", "0"),
    ({**_RULE, "window_s": 86_401}, "window_s", "at most 86400", "86401"),
    ({**_RULE, "window_s": "300"}, "window_s", "a whole number", '"300"'),
    ({**_RULE, "window_s": 300.5}, "window_s", "a whole number", "300.5"),
    ({**_RULE, "window_s": True}, "window_s", "a whole number", "true"),
    ({**_RULE, "window_s": None}, "window_s", "a whole number", "null"),
    ({**_RULE, "bucket_s": 0}, "bucket_s", "at least 1", "0"),
    ({**_RULE, "bucket_s": 3601}, "bucket_s", "at most 3600", "3601"),
    ({**_RULE, "bucket_s": 7}, "bucket_s", "divide window_s = 300, for example 30, 60, 300", "7"),
    ({**_RULE, "window_s": 45}, "bucket_s", "divide window_s = 45", "10"),  # the default does not fit
    ({**_RULE, "window_s": 4}, "bucket_s", "divide window_s = 4", "10"),
    ({**_RULE, "window_s": 86_400}, "bucket_s", f"at most {BUCKETS_MAX}", "10"),
    ({**_RULE, "window_s": 60, "bucket_s": 120}, "bucket_s", "divide window_s = 60", "120"),
    ({**_RULE, "window_s": 86_400, "bucket_s": 1}, "bucket_s", f"at most {BUCKETS_MAX}", "1"),
    ({**_RULE, "lateness_s": -1}, "lateness_s", "at least 0", "-1"),
    ({**_RULE, "lateness_s": 601}, "lateness_s", "at most two windows = 600", "601"),
    ({**_RULE, "clock_skew_s": -1}, "clock_skew_s", "at least 0", "-1"),
    ({**_RULE, "clock_skew_s": 3601}, "clock_skew_s", "at most 3600", "3601"),
    ({**_RULE, "metrics": {}}, "metrics", "1 or more entries", ""),
    ({**_RULE, "metrics": [1]}, "metrics", "an object", "a list"),
    ({**_RULE, "metrics": {"Click!": {"event": "click"}}}, "metrics.Click!", "out of a-z 0-9 _", '"Click!"'),
    ({**_RULE, "metrics": {"click": {"event": "pv"}}}, "metrics.click.event", "'click'", "pv"),
    ({**_RULE, "metrics": {"click": {"event": "Click"}}}, "metrics.click.event", "out of a-z 0-9 _", '"Click"'),
    ({**_RULE, "metrics": {"click": {"event": 5}}}, "metrics.click.event", "a text", "5"),
    (_metric(sum="mean"), "metrics.click.sum", "'count' or 'amount'", '"mean"'),
    ({**_RULE, "metrics": {"click": {}}}, "metrics.click.event", "is required", ""),
    ({**_RULE, "terms": []}, "terms", "1 or more entries", "a list of 0"),
    ({**_RULE, "terms": "click"}, "terms", "a list", '"click"'),
    ({**_RULE, "terms": ["click"]}, "terms[0]", "an object", '"click"'),
    ({**_RULE, "terms": [None]}, "terms[0]", "an object", "null"),
    (_term(metric="clicks"), "terms[1].metric", "metrics, which has click, order", "'clicks'"),
    (_term(metric=3), "terms[1].metric", "a text", "3"),
    (_term(signal="levle"), "terms[1].signal", "'level', 'root', 'total', 'uplift'", '"levle"'),
    (_term(signal="rate"), "terms[1].signal", "'growth' or 'surge'", '"rate"'),
    (_term(weight="1"), "terms[1].weight", "a number", '"1"'),
    (_term(weight=float("nan")), "terms[1].weight", "a finite number", "NaN"),
    (_term(weight=float("inf")), "terms[1].weight", "a finite number", "Infinity"),
    (_term(weight=1e7), "terms[1].weight", "at most 1000000", "10000000.0"),
    (_term(weight=-1e7), "terms[1].weight", "at least -1000000", "-10000000.0"),
    (_term(prior=0), "terms[1].prior", "more than 0", "0"),
    (_term(prior=-5), "terms[1].prior", "more than 0", "-5"),
    (_term(signal="level", prior=5), "terms[1].prior", "leave it out, or use growth or surge", "level"),
    (_term(signal="root", tide=True), "terms[1].tide", "leave it out, or use uplift, growth or surge", "root"),
    (_term(tide="yes"), "terms[1].tide", "true or false", '"yes"'),
    (_ratio(ratio=["order"]), "terms[0].ratio", "2 or more entries", "a list of 1"),
    (_ratio(ratio=["order", "click", "pay"]), "terms[0].ratio", "at most 2 entries", "a list of 3"),
    (_ratio(ratio=["order", "klick"]), "terms[0].ratio", "metrics, which has click, order", "'klick'"),
    (_ratio(signal="surge"), "terms[0].signal", "'rate' or 'rate_uplift'", '"surge"'),
    (_ratio(tide=True), "terms[0].tide", "there are ratio, signal, weight, prior", ""),
    ({**_RULE, "terms": [{"attribute": "a b", "weight": 1}]}, "terms[0].attribute", "a-z 0-9 . _ -", '"a b"'),
    ({**_RULE, "terms": [{"attribute": "margin"}]}, "terms[0].weight", "is required", ""),
    ({**_RULE, "board": {"slots": 0}}, "board.slots", "at least 1", "0"),
    ({**_RULE, "board": {"slots": 1001}}, "board.slots", "at most 1000", "1001"),
    ({**_RULE, "board": {"slotz": 5}}, "board.slotz", "there are slots", ""),
    ({**_RULE, "window": 5}, "window", "there are window_s, bucket_s", ""),
    (_term(wieght=5), "terms[1].wieght", "there are metric, signal, weight, prior, tide", ""),
    ({"terms": [_TERM]}, "metrics", "is required", ""),
]


@pytest.mark.parametrize(("document", "field", "right", "value"), _WRONG, ids=[f"{w[1]} {w[3]}" for w in _WRONG])
def test_a_wrong_field_is_refused_with_its_name_what_would_be_right_and_its_value(
    document: dict[str, Any], field: str, right: str, value: str
) -> None:
    """Where the field itself is wrong, what it holds is not shown."""
    named, _, said = _refusal(document).partition(": ")

    assert field == named
    assert right in said
    assert value in said


def test_every_wrong_field_is_named_at_once() -> None:
    refusal = _refusal({**_RULE, "window_s": 0, "clock_skew_s": -1, "board": {"slots": 0}})

    assert ["window_s", "clock_skew_s", "board.slots"] == [each.split(":")[0] for each in refusal.split("; ")]


@pytest.mark.parametrize("document", [None, 5, "", "{", "[]", "null", b"\xff", [], "5"], ids=repr)
def test_what_is_no_document_is_refused_as_a_whole(document: Any) -> None:
    assert _refusal(document).startswith("document: ")


def test_too_many_terms_are_refused() -> None:
    """Bounds keep a bucket boundary's work known."""
    assert "terms" in _refusal({**_RULE, "terms": [_TERM] * 33})


def test_a_long_wrong_value_is_shown_in_part() -> None:
    assert len(_refusal({**_RULE, "terms": "x" * 10_000})) < 200


@law(60)
@given(rules())
def test_a_rule_read_back_from_its_document_is_the_same(document: dict[str, Any]) -> None:
    rule = parse_rule(document)

    assert rule == parse_rule(rule.model_dump(mode="json"))
    assert rule == parse_rule(rule.model_dump(mode="json", exclude_none=True))
    assert rule == parse_rule(json.dumps(document))
    assert rule == parse_rule(json.dumps(document).encode())


def test_an_operators_document_is_read_as_it_stands() -> None:
    """Whole numbers serve as weights and priors; what is left out has its default."""
    example = """
    {"window_s": 300, "bucket_s": 10,
     "metrics": {"click": {"event": "click"}, "order": {"event": "order"},
                 "pay_amount": {"event": "pay", "sum": "amount"}},
     "terms": [{"metric": "click", "signal": "surge", "weight": 1, "prior": 10, "tide": true},
               {"metric": "order", "signal": "root", "weight": 0.3},
               {"metric": "pay_amount", "signal": "surge", "weight": 2, "prior": 10, "tide": true},
               {"ratio": ["order", "click"], "signal": "rate", "weight": 20, "prior": 50}],
     "board": {"slots": 50}}
    """

    rule = parse_rule(example)

    assert ["click surge", "order root", "pay_amount surge", "order/click rate"] == [term.name for term in rule.terms]
    assert (300_000, 10_000, 600_000, 900_000) == (rule.window_ms, rule.bucket_ms, rule.lateness_ms, rule.id_memory_ms)


def test_a_rule_is_complete_with_metrics_and_terms_alone() -> None:
    rule = parse_rule(_RULE)

    assert (300_000, 10_000, 600_000, 300) == (rule.window_ms, rule.bucket_ms, rule.lateness_ms, rule.clock_skew_s)
    assert 50 == rule.board.slots


@pytest.mark.parametrize(("lateness_s", "lateness_ms"), [(None, 600_000), (0, 0), (30, 30_000), (600, 600_000)])
def test_events_are_late_after_two_windows_or_what_the_rule_says(lateness_s: int | None, lateness_ms: int) -> None:
    assert lateness_ms == parse_rule({**_RULE, "lateness_s": lateness_s}).lateness_ms


@pytest.mark.parametrize(("window_s", "memory_s"), [(60, 900), (450, 900), (460, 920), (3600, 7200)])
def test_ids_are_remembered_for_the_longer_of_two_windows_and_a_quarter_of_an_hour(
    window_s: int, memory_s: int
) -> None:
    assert 1000 * memory_s == parse_rule({**_RULE, "window_s": window_s}).id_memory_ms


def test_a_venue_takes_the_usual_kinds_and_those_its_rule_names() -> None:
    metrics = {**_RULE["metrics"], "look": {"event": "image_click"}}

    assert {*EVENT_KINDS, *STATED_KINDS, "image_click"} == parse_rule({**_RULE, "metrics": metrics}).kinds()


@pytest.mark.parametrize(
    ("term", "name"),
    [
        (_TERM, "click surge"),
        ({"ratio": ["order", "click"], "signal": "rate", "weight": 1}, "order/click rate"),
        ({"attribute": "entry_score", "weight": 1}, "entry_score"),
    ],
    ids=str,
)
def test_a_term_is_shown_by_what_it_measures(term: dict[str, Any], name: str) -> None:
    assert [name] == [each.name for each in parse_rule({**_RULE, "terms": [term]}).terms]


def test_a_rule_cannot_be_changed_in_place() -> None:
    """Every change is a new version."""
    with pytest.raises(ValueError, match="frozen"):
        parse_rule(_RULE).window_s = 5  # type: ignore[misc]  # what the test is about


def test_the_schema_names_every_field_of_a_rule() -> None:
    schema = Rule.model_json_schema()

    assert {"window_s", "bucket_s", "lateness_s", "clock_skew_s", "metrics", "terms", "board"} <= set(
        schema["properties"]
    )
    assert not schema["additionalProperties"]
