"""Fixtures for pytest: a chain for the whole run, put back after each test, and endpoints that misbehave.

Loaded by name: `pytest_plugins = ["hardhat_free_chain.plugin"]` in a conftest.py. They are plain functions
and serve plain and async tests alike. Nothing is imported before a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hardhat_free_chain import ChainSettings, Endpoint
    from hardhat_free_chain.accounts import DevelopmentAccount
    from hardhat_free_chain.running import RunningChain

    OpenEndpoint = Callable[..., Endpoint]


@pytest.fixture(scope="session")
def chain_settings() -> ChainSettings:
    """What the run's chain is told at its start; define a fixture of this name to choose."""
    from hardhat_free_chain import ChainSettings  # noqa: PLC0415 - see the module's docstring

    return ChainSettings()


@pytest.fixture(scope="session")
def chain_server(chain_settings: ChainSettings) -> Iterator[RunningChain]:
    """The run's chain, for fixtures of a wider scope: what they do to it is there for all tests after."""
    from hardhat_free_chain.running import running_chain  # noqa: PLC0415 - as above

    with running_chain(chain_settings) as chain:
        yield chain


@pytest.fixture
def chain(chain_server: RunningChain) -> Iterator[RunningChain]:
    """The run's chain; what the test does to it is undone when it ends."""
    with chain_server.isolated():
        yield chain_server


@pytest.fixture
def funded_accounts(chain: RunningChain) -> list[DevelopmentAccount]:
    """The accounts that have funds, each with `address` and `private_key`; always the same."""
    return chain.accounts


@pytest.fixture
def faulty_endpoint(chain: RunningChain) -> OpenEndpoint:
    """Opens endpoints under faults: `faulty_endpoint(StaleHead(blocks=3)).url`; closed with the test."""
    return chain.open_endpoint
