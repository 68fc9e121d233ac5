"""The fixtures for pytest, and the chain in a thread that they are made of."""

import socket
from dataclasses import replace
from typing import Any

import pytest

from hardhat_free_chain import ListenError, RunningChain, running_chain
from hardhat_free_chain.faults import Latency, StaleHead
from tests.chain_support import ACCOUNTS, signed

ADDRESS = ACCOUNTS[0][0]


@pytest.fixture(scope="module")
def running() -> Any:
    with running_chain() as chain:
        yield chain


def torment(chain: RunningChain) -> None:
    """Change whatever can be changed."""
    chain.request("hardhat_reset")
    chain.request("eth_sendRawTransaction", "0x" + signed().hex())
    chain.request("evm_setAutomine", False)
    chain.request("eth_sendRawTransaction", "0x" + signed(nonce=1).hex())
    chain.request("hardhat_setBalance", ADDRESS, "0x5")
    chain.request("evm_increaseTime", 10_000)
    chain.request("anvil_setBlockTimestampInterval", 7)
    chain.request("hardhat_mine", "0x3")
    chain.request("anvil_setChainId", 5)
    chain.request("evm_setBlockGasLimit", hex(10**6))
    chain.request("hardhat_setNextBlockBaseFeePerGas", "0x77")
    chain.request("anvil_setIntervalMining", 1_000)
    chain.request("hardhatfree_setFinalityLag", 2)
    chain.request("hardhatfree_stallFinality")
    chain.request("anvil_autoImpersonateAccount", True)
    chain.weather.replace(StaleHead(blocks=2))
    chain.open_endpoint(Latency(seconds=1))
    chain.chain.reorg(2)


def photograph(chain: RunningChain) -> list[Any]:
    """All that a test could find changed; the clock to the second."""
    return [
        chain.request("eth_getBlockByNumber", "latest", True),
        chain.request("eth_getBlockByNumber", "finalized", False),
        chain.request("eth_getBalance", ADDRESS),
        chain.request("eth_getBlockByNumber", "pending", False)["baseFeePerGas"],
        chain.request("eth_getBlockByNumber", "pending", False)["gasLimit"],
        chain.request("txpool_content"),
        chain.request("eth_chainId"),
        chain.request("hardhatfree_listFaults"),
        chain.request("hardhatfree_listEndpoints"),
        replace(chain.chain.controls),
        chain.chain.clock.state(),
    ]


def test_whatever_a_test_does_is_undone(running: RunningChain) -> None:
    running.request("evm_mine")
    before = photograph(running)
    with running.isolated():
        torment(running)
        assert sum(old != new for old, new in zip(before, photograph(running), strict=True)) >= 9
    assert photograph(running) == before
    with running.isolated():
        running.request("eth_sendRawTransaction", "0x" + signed().hex())
    assert photograph(running) == before


def test_it_is_undone_after_a_failure_too(running: RunningChain) -> None:
    before = photograph(running)

    def fail() -> None:
        with running.isolated():
            torment(running)
            raise ValueError("the test failed")

    with pytest.raises(ValueError, match="the test failed"):
        fail()
    assert photograph(running) == before


def test_a_snapshot_that_the_test_used_up_is_told(running: RunningChain) -> None:
    earlier = running.chain.snapshot()

    def use_up() -> None:
        with running.isolated():
            running.chain.revert(earlier)

    with pytest.raises(RuntimeError, match="revert only to snapshots that the test itself has taken"):
        use_up()


def test_a_port_that_is_taken_is_told_where_the_chain_was_asked_for() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        def start() -> None:
            with running_chain(port=taken.getsockname()[1]):
                pytest.fail("it cannot start")

        with pytest.raises(ListenError, match="choose another address or port"):
            start()


async def test_it_serves_async_tests_from_its_own_thread(running: RunningChain) -> None:
    with running.isolated():
        assert running.request("evm_mine") == "0x0"
