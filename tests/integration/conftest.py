"""What the tests of a running service share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.running import Running, running


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A deployment that runs for the whole session; each test makes its own venues."""
    with running(tmp_path_factory.mktemp("service")) as made:
        yield made
