"""The application: how its routes are run."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from api.app import create_app
from racing.settings import Settings


def called(dependant: Dependant) -> Iterator[Any]:
    """A route's function and all that it depends on."""
    yield dependant.call
    for each in dependant.dependencies:
        yield from called(each)


def test_nothing_waits_for_a_thread() -> None:
    """What is not async is run in one by FastAPI: that costs more than most answers, and the first time 0.2 s."""
    included = create_app(Settings(), "redis://127.0.0.1:1").routes
    routers = [router for route in included if (router := getattr(route, "original_router", None)) is not None]
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    assert len(routes) > len(routers) > 0
    calls = {call for route in routes for call in called(route.dependant)}
    assert [call for call in calls if not inspect.iscoroutinefunction(call)] == []
