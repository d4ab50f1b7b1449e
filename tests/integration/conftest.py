"""What the tests of a running service share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.keyed import Keyed, keyed
from tests.integration.running import Running, running


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A deployment that runs for the whole session."""
    with running(tmp_path_factory.mktemp("service")) as made:
        yield made


@pytest.fixture(scope="module")
def service(deployment: Running) -> Iterator[Running]:
    """That deployment; the venues that tests make end with their module: an idle one costs 0.4 % of a core."""
    yield deployment
    deployment.clear()


@pytest.fixture(scope="session")
def keyed_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """A deployment with keys in force that runs for the whole session."""
    with keyed(tmp_path_factory.mktemp("keyed")) as made:
        yield made
