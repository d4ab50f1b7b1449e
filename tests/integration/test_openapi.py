"""The OpenAPI document is complete, and the running service is as it says."""

from __future__ import annotations

import itertools
import json
import os
import re
from functools import cache
from typing import Any

import jsonschema_rs
import msgspec
import numpy as np
import pytest
import schemathesis
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import HTTPBearer
from hypothesis import HealthCheck, reject, settings
from hypothesis import strategies as st
from schemathesis.checks import load_all_checks
from schemathesis.core import NotSet
from schemathesis.core.errors import InvalidSchema
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.transport.serialization import Binary

from api.app import create_app
from api.bodies import NDJSON, TEXT
from api.packed import MEDIA_TYPE
from racing.settings import load_settings
from tests.integration.keyed import Keyed
from tests.integration.running import Running

DOCUMENT: dict[str, Any] = create_app(load_settings(), "redis://nowhere").openapi()
OPERATIONS = {operation["operationId"]: operation for path in DOCUMENT["paths"].values() for operation in path.values()}
ERRORS = {"400", "401", "403", "404", "405", "409", "410", "412", "413", "415", "422", "429", "431", "500", "503"}
OWN_503 = {"readyz"}
"""Answers 503 with the same document as 200: what is not ready stands in it."""


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """A node of the document, followed to where it is written."""
    while "$ref" in node:
        found: Any = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


@cache
def _validator(schema: str) -> Any:
    """Made once for each schema: with all components beside it that takes a tenth of a second."""
    return jsonschema_rs.validator_for({**json.loads(schema), "components": DOCUMENT["components"]})


def is_valid(schema: dict[str, Any], value: object) -> bool:
    return bool(_validator(json.dumps(schema, sort_keys=True)).is_valid(value))


def json_bodies(operation: dict[str, Any]) -> list[dict[str, Any]]:
    """The JSON bodies of an operation that are no errors: of its request and its answers."""
    holders = [operation.get("requestBody", {}), *map(resolved, operation["responses"].values())]
    return [
        holder["content"]["application/json"] for holder in holders if "application/json" in holder.get("content", {})
    ]


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_declares_every_error_in_the_one_shape(name: str) -> None:
    """As problem+json and as nothing else, with an example of each code that has this status."""
    answers = OPERATIONS[name]["responses"]
    assert answers.keys() >= ERRORS
    for status in ERRORS - ({"503"} if name in OWN_503 else set()):
        content = resolved(answers[status])["content"]
        assert list(content) == ["application/problem+json"]
        body = content["application/problem+json"]
        assert body["schema"] == {"$ref": "#/components/schemas/Problem"}
        for code, example in body["examples"].items():
            assert is_valid(body["schema"], example["value"])
            assert (example["value"]["code"], example["value"]["status"]) == (code, int(status))


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_has_a_stable_name_and_says_what_it_does(name: str) -> None:
    """The name is chosen, not made of function and path, so that generated clients stay as they are."""
    operation = OPERATIONS[name]
    assert re.fullmatch("[a-z]+([A-Z][a-z]+)*", name)
    assert operation["summary"]
    assert operation["description"].partition("\n")[0].endswith((".", ":"))
    assert len(operation["tags"]) == 1


def test_no_name_of_a_schema_tells_of_our_modules() -> None:
    """FastAPI tells two models of one name apart by their modules, and clients are generated from these names."""
    assert [name for name in DOCUMENT["components"]["schemas"] if "__" in name] == []


OPERATION_IDS = [
    "createVenue",
    "listVenues",
    "readVenue",
    "enrolRunner",
    "enrolRunners",
    "listRunners",
    "readRule",
    "putRule",
    "previewRule",
    "whatIfRule",
    "explainRunner",
    "explainSlot",
    "adviseRunner",
    "readAccess",
    "putAccess",
    "readRunner",
    "changeRunner",
    "listStandings",
    "lookUpStandings",
    "readStanding",
    "readAlerts",
    "followStandings",
    "readHistory",
    "keepHistory",
    "endHistory",
    "apply",
    "listOwnApplications",
    "readOwnApplication",
    "readEntry",
    "putEntry",
    "readRuleWords",
    "listApplications",
    "readApplication",
    "decideApplication",
    "listOrders",
    "changeOrders",
    "readOrder",
    "putOrder",
    "withdrawOrder",
    "pinSlot",
    "unpinSlot",
    "boost",
    "exclude",
    "freeze",
    "thaw",
    "emergency",
    "endEmergency",
    "listPhases",
    "putPhase",
    "withdrawPhase",
    "deleteVenue",
    "listRuleVersions",
    "readRuleVersion",
    "compareRules",
    "restoreRule",
    "listPlans",
    "readPlan",
    "savePlan",
    "deletePlan",
    "applyPlan",
    "withdrawPlan",
    "readTargets",
    "listStockAlerts",
    "putTargets",
    "readConditions",
    "putConditions",
    "withdrawRunner",
    "restoreRunner",
    "swapRunner",
    "readState",
    "putState",
    "cloneVenue",
    "takeFinalists",
    "excludeEverywhere",
    "restoreEverywhere",
    "sendEventsEverywhere",
    "listDecisions",
    "exportDecisions",
    "undoDecision",
    "issueTicket",
    "sendEvents",
    "sendBeacons",
    "readSlots",
    "followSlots",
    "readChanges",
    "headSlots",
    "readManySlots",
    "listScorers",
    "healthz",
    "readyz",
    "metrics",
    "readRuleSchema",
    "readProblem",
]
"""Clients are generated from these names."""


def test_no_operation_was_lost_or_renamed() -> None:
    assert sorted(OPERATIONS) == sorted(OPERATION_IDS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_body_has_an_example_that_its_schema_takes(name: str) -> None:
    for body in json_bodies(OPERATIONS[name]):
        assert body["example"]
        assert is_valid(body["schema"], body["example"])


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_field_and_parameter_of_an_operation_has_bounds_or_a_description(name: str) -> None:
    for parameter in OPERATIONS[name].get("parameters", ()):
        assert parameter["schema"]["type"] in {"string", "integer", "boolean"}
        assert parameter.get("description") or parameter["schema"].get("examples")


def test_the_schema_of_a_batch_carries_the_bound_that_is_in_force() -> None:
    """It is a setting."""
    document = create_app(load_settings(batch_max_events=7), "redis://nowhere").openapi()
    assert document["components"]["schemas"]["BatchIn"]["properties"]["events"]["maxItems"] == 7


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if "requestBody" in operation])
def test_the_example_of_every_request_is_taken_as_it_stands(service: Running, name: str) -> None:
    """Sent to the running service, in an order in which each finds what it needs."""
    path, method = next(
        (path, method)
        for path, operations in DOCUMENT["paths"].items()
        for method, operation in operations.items()
        if operation["operationId"] == name
    )
    example = json_bodies(OPERATIONS[name])[0]["example"]
    if name == "createVenue":
        example = {**example, "venue": "hall-of-examples"}
    venue = service.made_venue("p-1001")
    entry = service.http.get(f"/v1/venues/{venue}/audit").json()["decisions"][0]["entry"]
    application = {"venue": venue, "products": [{"product": "p-1", "title": "One"}]}
    applied = service.http.post("/v1/merchants/m-7/applications", json=application).json()["application"]
    if name == "apply":
        example = {**example, "venue": venue}
    names = {"product": "p-1001", "order": "hero", "slot": 1, "plan": "rain", "entry": entry, "merchant": "m-7"}
    names["application"] = applied["application"]
    _prepare(service, venue, name)
    given = {"Idempotency-Key": "orders-2025-11-11-000123"} if path.endswith("/events") else {}
    answer = service.http.request(method, path.format(venue=venue, **names), json=example, headers=given)
    assert answer.is_success, answer.text


def _prepare(service: Running, venue: str, name: str) -> None:
    """Make what an operation needs to find."""
    if name == "takeFinalists":
        service.http.post("/v1/venues", json={"venue": f"{venue}-heat", "parent": venue})
    if name in {"applyPlan", "withdrawPlan"}:
        pin = {"kind": "pin", "id": "spare", "product": "p-1001", "slot": 1}
        service.http.put(f"/v1/venues/{venue}/plans/rain", json={"put": [pin]})
    if name == "withdrawPlan":
        service.http.post(f"/v1/venues/{venue}/plans/rain/apply", json={})


def test_the_document_and_its_reader_are_served(service: Running) -> None:
    assert service.http.get("/openapi.json").json() == DOCUMENT
    assert service.http.get("/docs").status_code == 200


VENUE, PRODUCT, MERCHANT = "hall-1", "p-1001", "m-7"
"""As the examples of the document have them."""
TAKEN = ["2xx", "304", "404", "409", "410"]
REFUSED = ["400", "401", "404", "405", "409", "410", "412", "413", "415", "422", "431"]
_CASES_MIN = 10
CASES = int(os.environ.get("OPENAPI_CASES", _CASES_MIN))
"""Of each of some 130 operations, beside the examples; python -m tests.faults fuzz tries 2,000."""
CONFIG: dict[str, Any] = {
    "seed": 1,
    "generation": {
        "max-examples": CASES,
        "with-security-parameters": False,  # the key is given to each case
        "deterministic": True,
        "database": "none",
    },
    "checks": {
        "positive_data_acceptance": {"expected-statuses": TAKEN},
        "negative_data_rejection": {"expected-statuses": REFUSED},
    },
    "operations": [
        {
            # What no schema says: terms name metrics of the rule, bucket_s divides window_s, a bulk names a product
            # once, a change changes something, a deletion is confirmed by the id. And 5.0, an integer in JSON Schema:
            # as an amount it is a price in the wrong unit.
            "include-operation-id": [
                "createVenue",
                "deleteVenue",
                "putRule",
                "restoreRule",
                "enrolRunner",
                "changeRunner",
                "apply",
                "putEntry",
                "decideApplication",
            ],
            "checks": {"positive_data_acceptance": {"expected-statuses": [*TAKEN, "422"]}},
        },
        {
            # As these: an order names products that are enrolled, one aim, a slot of the board, a time to come.
            "include-operation-id": [
                "savePlan",
                "swapRunner",
                "putConditions",
                "excludeEverywhere",
                "restoreEverywhere",
                "changeOrders",
                "putOrder",
                "pinSlot",
                "boost",
                "exclude",
                "freeze",
                "emergency",
                "putPhase",
            ],
            "checks": {"positive_data_acceptance": {"expected-statuses": [*TAKEN, "422"]}},
        },
        {
            # As these; and a product may be called bulk: what Allow names there is of two paths of the document.
            "include-operation-id": ["enrolRunners"],
            "checks": {
                "positive_data_acceptance": {"expected-statuses": [*TAKEN, "422"]},
                "allow_header_conformance": {"enabled": False},
            },
        },
        {
            # As these; and orders have ids of their own, which come once.
            "include-operation-id": ["previewRule", "whatIfRule"],
            "checks": {"positive_data_acceptance": {"expected-statuses": [*TAKEN, "422"]}},
        },
        {
            # A past is kept for so long; of two ways to name it, or a place, one is to be given; advice has its pace.
            "include-operation-id": ["explainRunner", "explainSlot", "adviseRunner"],
            "checks": {"positive_data_acceptance": {"expected-statuses": [*TAKEN, "422", "429"]}},
        },
        {
            # A cursor is of an answer that came before.
            "include-operation-id": ["listStandings"],
            "checks": {"positive_data_acceptance": {"expected-statuses": [*TAKEN, "422"]}},
        },
        {
            # Every bound of a rule is tried at putRule, of an order at changeOrders: elsewhere in the long form alone.
            "include-operation-id": ["previewRule", "whatIfRule", "savePlan", "createVenue", "putOrder"],
            "phases": {"coverage": {"enabled": CASES > _CASES_MIN}},
        },
        {
            # Refuses events one by one and takes the others: 202 is the answer to a batch with a wrong event.
            "include-operation-id": ["sendEvents", "sendEventsEverywhere", "sendBeacons"],
            "checks": {"negative_data_rejection": {"enabled": False}},
        },
    ],
}


@schemathesis.serializer(NDJSON)
def as_lines(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """What was generated, as the product of one event: any text makes a line, few make one that is taken."""
    return json.dumps({"type": "click", "product": value}).encode()


@schemathesis.serializer("text/csv")
def as_rows(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """A text, as the title of a product in a file; of another type, which no cell could show, as the file itself."""
    if not isinstance(value, str):
        return json.dumps(value).encode()
    title = value.replace('"', '""').encode(errors="replace").decode()
    return f'product,merchant,title\r\np-1001,m-7,"{title}"\r\n'.encode()


@schemathesis.serializer(TEXT)
def as_text(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """What was generated, as JSON: a page sends it under this name."""
    return json.dumps(value).encode()


@schemathesis.serializer(MEDIA_TYPE)
def as_msgpack(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """What was generated, as msgpack with its binary texts as bytes; the columns of a right batch fit each other.

    They are made to fit here and not in aim(): a case whose binary body was changed is taken for a wrong one.
    """
    meta = context.case.meta
    right = meta is not None and meta.generation.mode.is_positive
    return _encode(fitted(plain(value)) if right else plain(value))


def plain(value: Any) -> Any:
    """A generated value made of what msgpack has."""
    match value:
        case Binary():
            return value.data
        case dict():
            return {str(name): plain(each) for name, each in value.items()}
        case list():
            return [plain(each) for each in value]
        case int() if not -(2**63) <= value < 2**64:
            return float(value)
        case _:
            return value


def fitted(batch: dict[str, Any]) -> dict[str, Any]:
    """A generated batch with its columns of one length and its indexes within their tables, as no schema says."""
    size = max(1, len(batch["kind"]))
    kind = np.resize(np.frombuffer(batch["kind"] or b"\0", "u1"), size) % len(batch["kinds"])
    product = np.resize(np.frombuffer(batch["product"] or b"\0", "u1"), size) % len(batch["products"])
    made: dict[str, Any] = {
        **batch,
        "kind": kind.astype("u1").tobytes(),
        "product": product.astype("<u4").tobytes(),
    }
    for name in ("ts_ms", "amount"):
        if batch.get(name) is not None:
            made[name] = (batch[name] * 8 * size)[: 8 * size].ljust(8 * size, b"\0")
    for name in ("ids", "users"):
        if batch.get(name) is not None:
            made[name] = ([*batch[name], None] * size)[:size]
    return made


_encode = msgspec.msgpack.Encoder().encode
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT, config=schemathesis.Config.from_dict(CONFIG))

load_all_checks()


@SCHEMA.hook
def before_generate_body(context: schemathesis.HookContext, strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Bodies less those that schemathesis (4.32) gives up on: it may turn a schema into one that nothing meets."""

    @st.composite
    def bodies(draw: st.DrawFn) -> Any:
        try:
            return draw(strategy)
        except InvalidSchema:
            reject()

    return bodies()


_venues = itertools.cycle(["made-1", "made-2", "made-3"])
"""Names of new venues: hundreds would race on beside all other cases. test_bounds has the longest name."""
_keys = (f"key-{number}" for number in itertools.count(1))


@pytest.fixture(scope="module")
def exemplary(keyed_service: Keyed) -> Keyed:
    """A service with keys in force, with the venue and the product of which the examples speak."""
    assert keyed_service.ask("admin", "POST", "/v1/venues", {"venue": VENUE}).status_code in {201, 409}
    runner = {"product": PRODUCT, "merchant": MERCHANT, "title": "One"}
    assert keyed_service.ask("admin", "POST", f"/v1/venues/{VENUE}/runners", runner).status_code == 201
    return keyed_service


def whole(value: Any) -> Any:
    """A body with 5.0 as 5: an integer in JSON Schema, and refused here, where it may be a price in the wrong unit."""
    match value:
        case dict():
            return {name: whole(each) for name, each in value.items()}
        case list():
            return [whole(each) for each in value]
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case _:
            return value


def aim(case: schemathesis.Case[Any]) -> None:
    """Send a right case to the venue that there is, under a key of its own and to the current rule."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    names_what_there_is(case)
    if isinstance(case.body, NotSet):  # may be left out, and is taken for wrong where anything else was changed here
        case.meta.generation.mode = GenerationMode.POSITIVE


def names_what_there_is(case: schemathesis.Case[Any]) -> None:
    """Name in a right case what there is."""
    case.body = whole(case.body)
    there = {"venue": VENUE, "product": PRODUCT, "merchant": MERCHANT}
    case.path_parameters.update({name: there[name] for name in there.keys() & case.path_parameters.keys()})
    if case.path.endswith(("/advice", "/alerts", "/history")):
        case.query["venue"] = VENUE
    case.query.pop("segment", None)  # this venue declares none
    if "slots" in case.path:  # only answers make cursors, and one frame is named in one way; rules=off names none
        out = {"cursor", "at_ms"}
        if "rules" in case.query:
            out |= case.query.keys() - {"rules", "limit", "fields"}
        case.query = {name: value for name, value in case.query.items() if name not in out}
    if "idempotency-key" in case.headers:
        case.headers["idempotency-key"] = next(_keys)
    if "order" in case.path_parameters:
        case.headers.pop("if-match", None)  # of an order that there may not be
    if "if-match" in case.headers:
        case.headers["if-match"] = "*"
    if case.operation.definition.raw["operationId"] in {"createVenue", "cloneVenue"} and isinstance(case.body, dict):
        case.body["venue"] = next(_venues)
    if isinstance(case.body, dict) and "batch" in case.body:
        case.body["batch"] = next(_keys)


@SCHEMA.exclude(  # have no end: test_live and test_live_standings hold them to the document
    operation_id=["followSlots", "followStandings"]
).parametrize()
@settings(suppress_health_check=list(HealthCheck))
def test_the_service_is_as_its_document_says(case: schemathesis.Case[Any], exemplary: Keyed) -> None:
    """Whatever is sent: no 5xx, only declared statuses, types, headers and shapes, and nothing wrong is taken.

    As an admin; what needs a key is refused without one and with a wrong one.
    """
    aim(case)
    case.call_and_validate(base_url=exemplary.service.url, headers=exemplary.headers("admin"))


@pytest.mark.parametrize(("enforced", "title"), [(False, "API accepts requests without authentication"), (True, None)])
def test_a_route_that_does_not_ask_for_keys_would_be_found(enforced: bool, title: str | None) -> None:
    """Schemathesis sends each case that was taken again without its key, also where it makes up no keys itself."""
    app = FastAPI()
    responses: dict[int | str, dict[str, Any]] = {401: {"description": "no key"}}

    @app.get("/told", responses=responses, dependencies=[Depends(HTTPBearer(auto_error=enforced))])
    async def told(request: Request) -> str:
        if enforced and request.headers["authorization"] != "Bearer right":
            raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
        return "told"

    config = {name: value for name, value in CONFIG.items() if name != "operations"}
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=schemathesis.Config.from_dict(config))
    case = schema["/told"]["GET"].Case()
    if title is None:
        case.call_and_validate(headers={"Authorization": "Bearer right"})
    else:
        with pytest.raises(FailureGroup) as found:
            case.call_and_validate(headers={"Authorization": "Bearer right"})
        assert [failure.title for failure in found.value.exceptions] == [title]
