"""The application: how its routes are run."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from api.app import create_app
from api.guard import routes_of
from racing.settings import Settings


def called(dependant: Dependant) -> Iterator[Any]:
    """A route's function and all that it depends on."""
    yield dependant.call
    for each in dependant.dependencies:
        yield from called(each)


def test_no_route_and_nothing_that_it_depends_on_waits_for_a_thread() -> None:
    """What is not async is run in one by FastAPI: that costs more than most answers, and the first time 0.2 s."""
    routes = [route for route in routes_of(create_app(Settings(), "redis://nowhere")) if isinstance(route, APIRoute)]
    calls = {call for route in routes for call in called(route.dependant)}
    assert len(calls) > len(routes) / 2
    assert [call for call in calls if not inspect.iscoroutinefunction(call)] == []
