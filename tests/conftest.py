"""What tests of every kind share: logs in order, a PostgreSQL server of their own, a fresh database on it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
import structlog

from tests.postgres_server import WHY_ABSENT, Server, binaries, required, server


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """Undo what a command that ran in this process did to the logs of every test after it."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres_if_any() -> Iterator[Server | None]:
    """A running server, started by the first test that needs it; None where there is none to be started."""
    if binaries() is None:
        if required():
            pytest.fail(WHY_ABSENT)
        yield None
        return
    with server() as made:
        yield made


@pytest.fixture(scope="session")
def postgres(postgres_if_any: Server | None) -> Server:
    """The running server; without one its tests are skipped."""
    if postgres_if_any is None:
        pytest.skip(WHY_ABSENT)
    return postgres_if_any


@pytest.fixture(scope="session")
def database_numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture
def postgres_url(postgres: Server, database_numbers: Iterator[int]) -> str:
    """A database of this test's own, whose schema is up to date."""
    return postgres.fresh(f"test_{next(database_numbers)}")
