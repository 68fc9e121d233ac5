"""What the integration tests of the engine share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.engine_world import STORES, World, store_url, world


@pytest.fixture(params=STORES)
async def w(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """An engine with its clock, on every store in turn."""
    async with world(store_url(request)) as made:
        yield made
