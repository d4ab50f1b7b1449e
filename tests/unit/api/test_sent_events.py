"""What is published of an event is what the decoder and the door check."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
from hypothesis import given
from hypothesis import strategies as st

from api.ingest import decode
from api.sent_events import AMOUNT_MAX, EventIn, batch_schemas
from api.taken import MalformedBatchError
from tests.unit.api.batches import decoded, sorted_out

_EDGES: list[Any] = [
    *(None, True, -1, 0, 1, 10_000, 10_001, 10**9, 10**9 + 1, AMOUNT_MAX, AMOUNT_MAX + 1, 2**53, 2**53 + 1, 0.5),
    *("", "a", "a" * 32, "a" * 33, "a" * 64, "a" * 65, "a" * 128, "a" * 129, "a{b", "a\n", "赛", "-._"),
    *([], {}, ["a"]),
]
_VALIDATOR = jsonschema_rs.validator_for(
    {
        "$ref": "#/components/schemas/BatchIn",
        "components": {"schemas": batch_schemas("#/components/schemas/{name}", events_max=3)},
    }
)


@given(
    st.lists(
        st.dictionaries(st.sampled_from([*EventIn.__struct_fields__, "x"]), st.sampled_from(_EDGES), max_size=4)
        | st.fixed_dictionaries(
            {"type": st.just("click"), "product": st.just("p") | st.sampled_from(_EDGES)},
            optional={name: st.sampled_from(_EDGES) for name in EventIn.__struct_fields__[2:]},
        ),
        max_size=4,
    )
)
def test_the_published_schema_takes_what_is_not_refused_as_invalid(events: list[dict[str, Any]]) -> None:
    """And nothing else: decoder and schema are made of one class, and the door knows the form of a product."""
    try:
        _, refused = sorted_out(decode(json.dumps({"events": events}).encode(), events_max=3))
        taken = all(each.code != "invalid" for each in refused)
    except MalformedBatchError:
        taken = False
    assert _VALIDATOR.is_valid({"events": events}) == taken


def test_every_field_of_an_event_says_what_it_must_be() -> None:
    """The words of the reasons come from the same bounds as the schema."""
    fields = batch_schemas("{name}", events_max=1)["EventIn"]["properties"]
    assert list(fields) == list(EventIn.__struct_fields__)
    for name in fields:
        _, (refused,) = sorted_out(decoded({"type": "click", "product": "p-1", name: []}))
        assert refused.reason.startswith(f"{name}: must be ")
