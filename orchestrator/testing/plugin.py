"""Fixtures for pytest: `virtual_clock` and `orchestrator`.

A `conftest.py` asks for them by `pytest_plugins = ["orchestrator.testing.plugin"]`; nothing else loads them.
They are plain functions: tests may be run by pytest-asyncio, by another plugin, or be plain functions that
call `virtual_clock.run(main())`. Nothing is imported before a test asks for a fixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from orchestrator.runtime import Orchestrator
    from orchestrator.testing.virtual_time import VirtualClock


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """Time that skips to the next timer whenever nothing else happens."""
    from orchestrator.testing.virtual_time import VirtualClock  # noqa: PLC0415 - see the module's docstring

    return VirtualClock()


@pytest.fixture
def orchestrator(virtual_clock: VirtualClock) -> Orchestrator:
    """An application of the test's own: in memory, under the test's virtual clock, not started yet."""
    from orchestrator.testing.local import local  # noqa: PLC0415 - see the module's docstring

    return local(clock=virtual_clock)
