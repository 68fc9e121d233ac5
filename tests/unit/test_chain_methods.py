"""The methods that others' test helpers call, by the names and shapes of Hardhat, anvil and geth."""

import json
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data

from hardhat_free_chain import ChainSettings, LocalChain
from hardhat_free_chain.errors import InvalidParams, RpcError, TransactionRejected
from hardhat_free_chain.filters import FilterRegistry
from hardhat_free_chain.rpc.dispatch import METHODS, execute
from hardhat_free_chain.rpc.node import Node
from tests.chain_support import ACCOUNTS, CHAIN_ID, GWEI, call_data, deploy_on, signed

ADDRESS = ACCOUNTS[0][0]
OTHER = ACCOUNTS[1][0]
NOBODY = "0x" + "77" * 20


class Asker:
    """Runs methods without a network."""

    def __init__(self, settings: ChainSettings | None = None) -> None:
        self.chain = LocalChain(settings or ChainSettings())
        self.node = Node(chain=self.chain, filters=FilterRegistry(self.chain))

    def __call__(self, method: str, *arguments: Any) -> Any:
        return execute(self.node, method, list(arguments))

    def head(self) -> Any:
        return self("eth_getBlockByNumber", "latest", True)


@pytest.fixture
def ask() -> Asker:
    return Asker()


@pytest.fixture
def manual() -> Asker:
    return Asker(ChainSettings(auto_mine=False))


@pytest.mark.parametrize(
    "name",
    [
        *("setBalance", "setCode", "setNonce", "setStorageAt", "impersonateAccount"),
        *("stopImpersonatingAccount", "mine", "setNextBlockBaseFeePerGas", "dropTransaction", "reset"),
        *("setCoinbase", "setPrevRandao", "getAutomine", "metadata", "setLoggingEnabled"),
    ],
)
def test_hardhat_and_anvil_names_are_both_there(name: str) -> None:
    assert {f"hardhat_{name}", f"anvil_{name}"} <= set(METHODS)


@pytest.mark.parametrize(
    "name",
    [
        *("evm_mine", "evm_snapshot", "evm_revert", "evm_increaseTime", "evm_setNextBlockTimestamp"),
        *("evm_setAutomine", "evm_setIntervalMining", "evm_setBlockGasLimit", "evm_setTime"),
        *("anvil_reorg", "anvil_rollback", "anvil_setIntervalMining", "anvil_setBlockTimestampInterval"),
        *("anvil_dropAllTransactions", "anvil_removePoolTransactions", "anvil_autoImpersonateAccount"),
        *("anvil_nodeInfo", "anvil_setChainId", "anvil_increaseTime", "anvil_setNextBlockTimestamp"),
        *("eth_sign", "personal_sign", "eth_signTypedData_v4", "eth_coinbase"),
        *("txpool_content", "txpool_contentFrom", "txpool_status", "txpool_inspect"),
    ],
)
def test_other_names_are_there(name: str) -> None:
    assert name in METHODS


# -- the mempool ---------------------------------------------------------------------------------------


def test_the_mempool_shows_pending_and_queued(manual: Asker) -> None:
    for index, nonce in ((0, 0), (0, 1), (0, 4), (1, 2)):
        manual("eth_sendRawTransaction", "0x" + signed(index, nonce=nonce).hex())
    assert manual("txpool_status") == {"pending": "0x2", "queued": "0x2"}
    content = manual("txpool_content")
    assert {sender: list(held) for sender, held in content["pending"].items()} == {ADDRESS: ["0", "1"]}
    assert {sender: list(held) for sender, held in content["queued"].items()} == {
        ADDRESS: ["4"],
        OTHER: ["2"],
    }
    first = content["pending"][ADDRESS]["0"]
    assert first == manual("eth_getTransactionByHash", first["hash"])
    assert manual("txpool_contentFrom", OTHER) == {"pending": {}, "queued": content["queued"][OTHER]}
    line = f"{OTHER}: 1 wei + 21000 gas \N{MULTIPLICATION SIGN} 3000000000 wei"
    assert manual("txpool_inspect")["pending"][ADDRESS]["0"] == line
    assert len(manual("eth_pendingTransactions")) == 4
    assert manual("eth_getTransactionCount", ADDRESS, "pending") == "0x2"


def test_transactions_are_dropped_by_every_name(manual: Asker) -> None:
    sent = [manual("eth_sendRawTransaction", "0x" + signed(nonce=nonce).hex()) for nonce in range(4)]
    assert manual("anvil_dropTransaction", sent[0]) == sent[0]
    assert manual("anvil_dropTransaction", sent[0]) is None
    assert manual("hardhat_dropTransaction", sent[1]) is True
    assert manual("hardhat_dropTransaction", sent[1]) is False
    manual("eth_sendRawTransaction", "0x" + signed(1).hex())
    manual("anvil_removePoolTransactions", ADDRESS)
    assert list(manual("txpool_content")["pending"]) == [OTHER]
    manual("anvil_dropAllTransactions")
    assert manual("txpool_status") == {"pending": "0x0", "queued": "0x0"}


def test_a_restart_forgets_mempool_and_filters(manual: Asker) -> None:
    waiting = manual("eth_newPendingTransactionFilter")
    sent = manual("eth_sendRawTransaction", "0x" + signed().hex())
    assert manual("eth_getFilterChanges", waiting) == [sent]
    assert manual("eth_getFilterChanges", waiting) == []
    assert manual("hardhatfree_restart") == 1
    assert manual("eth_getTransactionByHash", sent) is None
    with pytest.raises(RpcError, match="filter not found"):
        manual("eth_getFilterChanges", waiting)


# -- accounts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("namespace", ["hardhat", "anvil"])
def test_an_impersonated_account_sends_without_a_key(ask: Asker, namespace: str) -> None:
    ask(f"{namespace}_setBalance", NOBODY, hex(10**18))
    transfer = {"from": NOBODY, "to": OTHER, "value": "0x5"}
    with pytest.raises(InvalidParams, match="unknown account"):
        ask("eth_sendTransaction", transfer)
    ask(f"{namespace}_impersonateAccount", NOBODY)
    sent = ask("eth_sendTransaction", transfer)
    receipt = ask("eth_getTransactionReceipt", sent)
    assert (receipt["status"], receipt["from"]) == ("0x1", NOBODY)
    assert ask("eth_getTransactionByHash", sent)["from"] == NOBODY
    assert ask("eth_getTransactionCount", NOBODY) == "0x1"
    ask(f"{namespace}_stopImpersonatingAccount", NOBODY)
    with pytest.raises(InvalidParams, match="unknown account"):
        ask("eth_sendTransaction", transfer)
    ask("anvil_autoImpersonateAccount", True)
    other = {**transfer, "from": "0x" + "78" * 20}
    ask("anvil_addBalance", other["from"], hex(10**18))
    assert ask("eth_sendTransaction", other) != sent


def test_a_contract_is_impersonated_too(ask: Asker) -> None:
    probe = "0x" + deploy_on(ask.chain, 9).hex()
    ask("hardhat_setBalance", probe, hex(10**18))
    ask("hardhat_impersonateAccount", probe)
    sent = ask("eth_sendTransaction", {"from": probe, "to": OTHER, "value": "0x1"})
    assert ask("eth_getTransactionReceipt", sent)["from"] == probe
    ask("anvil_reorg", 1, [])
    assert ask("eth_getTransactionReceipt", sent) is None


def test_a_transaction_is_signed_and_not_sent(ask: Asker) -> None:
    raw = ask("eth_signTransaction", {"from": ADDRESS, "to": OTHER, "value": "0x1"})["raw"]
    assert Account.recover_transaction(raw) == ADDRESS
    assert ask("eth_blockNumber") == "0x0"
    ask("eth_sendRawTransaction", raw)


def test_messages_are_signed_with_the_accounts_keys(ask: Asker) -> None:
    greeting = encode_defunct(text="hello")
    for method, arguments in (
        ("personal_sign", ("0x" + b"hello".hex(), ADDRESS)),
        ("eth_sign", (ADDRESS, "0x" + b"hello".hex())),
    ):
        assert Account.recover_message(greeting, signature=ask(method, *arguments)) == ADDRESS
    typed = {
        "types": {
            "EIP712Domain": [{"name": "chainId", "type": "uint256"}],
            "Mail": [{"name": "to", "type": "address"}, {"name": "contents", "type": "string"}],
        },
        "primaryType": "Mail",
        "domain": {"chainId": 31337},
        "message": {"to": OTHER, "contents": "hello"},
    }
    for given in (typed, json.dumps(typed)):
        signature = ask("eth_signTypedData_v4", ADDRESS, given)
        assert Account.recover_message(encode_typed_data(full_message=typed), signature=signature) == ADDRESS
    with pytest.raises(InvalidParams, match="holds no key"):
        ask("eth_signTypedData_v4", NOBODY, typed)
    with pytest.raises(InvalidParams, match="no EIP-712 message"):
        ask("eth_signTypedData_v4", ADDRESS, {**typed, "primaryType": "Letter"})


# -- blocks and time -----------------------------------------------------------------------------------


def test_the_next_block_is_shaped(ask: Asker) -> None:
    ask("hardhat_setNextBlockBaseFeePerGas", hex(50 * GWEI))
    ask("hardhat_setPrevRandao", "0x1234")
    ask("hardhat_setCoinbase", NOBODY)
    assert ask("eth_getBlockByNumber", "pending", False)["baseFeePerGas"] == hex(50 * GWEI)
    with pytest.raises(TransactionRejected, match="max fee per gas less than block base fee"):
        ask("eth_sendRawTransaction", "0x" + signed().hex())
    ask("eth_sendTransaction", {"from": ADDRESS, "to": OTHER})
    head = ask.head()
    assert (head["baseFeePerGas"], head["miner"]) == (hex(50 * GWEI), NOBODY)
    assert int(head["mixHash"], 16) == 0x1234
    assert int(ask("eth_getBalance", NOBODY), 16) == 21_000 * GWEI
    ask("evm_mine")
    assert 40 * GWEI < int(ask.head()["baseFeePerGas"], 16) < 50 * GWEI
    assert int(ask.head()["mixHash"], 16) != 0x1234
    ask("evm_setBlockGasLimit", hex(1_000_000))
    ask("evm_mine")
    ask("evm_mine")
    assert ask.head()["gasLimit"] == hex(1_000_000)
    with pytest.raises(InvalidParams, match="gas limit is 1"):
        ask("evm_setBlockGasLimit", "0x1")


def test_time_is_set_and_steps_by_an_interval(ask: Asker) -> None:
    ask("anvil_setBlockTimestampInterval", 30)
    times = []
    for _ in range(3):
        ask("evm_mine")
        times.append(int(ask.head()["timestamp"], 16))
    assert times == [times[0], times[0] + 30, times[0] + 60]
    assert ask("anvil_removeBlockTimestampInterval") is True
    ask("evm_setTime", times[-1] + 10_000)
    ask("evm_mine")
    assert 0 <= int(ask.head()["timestamp"], 16) - times[-1] - 10_000 <= 2


def test_intervals_are_milliseconds_for_hardhat_and_seconds_for_anvil(ask: Asker) -> None:
    ask("evm_setIntervalMining", 2_500)
    assert ask("anvil_getIntervalMining") == 2.5
    ask("anvil_setIntervalMining", 3)
    assert ask("anvil_getIntervalMining") == 3
    ask("evm_setIntervalMining", 0)
    assert ask("anvil_getIntervalMining") is None
    with pytest.raises(InvalidParams, match="too long"):
        ask("anvil_setIntervalMining", 86_400)


def test_another_chain_id_refuses_former_signatures(ask: Asker) -> None:
    probe = "0x" + deploy_on(ask.chain, 9).hex()
    ask("anvil_setChainId", 5)
    assert ask("eth_chainId") == "0x5"
    with pytest.raises(TransactionRejected, match=f"have {CHAIN_ID} want 5"):
        ask("eth_sendRawTransaction", "0x" + signed().hex())
    seen = ask("eth_call", {"to": probe, "data": call_data("context")}, "latest")
    assert int(seen[2 + 128 : 2 + 192], 16) == 5
    ask("eth_sendTransaction", {"from": ADDRESS, "to": OTHER})


def test_the_node_tells_of_itself(ask: Asker) -> None:
    ask("evm_mine")
    assert ask("anvil_nodeInfo")["currentBlockNumber"] == "0x1"
    assert ask("hardhat_metadata")["latestBlockHash"] == ask.head()["hash"]
    assert ask("anvil_metadata")["chainId"] == CHAIN_ID


# -- forks ---------------------------------------------------------------------------------------------


def test_anvil_reorg_forgets_and_adds(ask: Asker) -> None:
    sent = [ask("eth_sendRawTransaction", "0x" + signed(nonce=nonce).hex()) for nonce in range(3)]
    raw = "0x" + signed(nonce=1, value=9).hex()
    ask("anvil_reorg", 2, [[raw, 0], [{"from": OTHER, "to": ADDRESS, "value": "0x3"}, 1]])
    assert ask("eth_blockNumber") == "0x3"
    assert [ask("eth_getTransactionByHash", each) is None for each in sent] == [False, True, True]
    blocks = [ask("eth_getBlockByNumber", hex(height), True)["transactions"] for height in (2, 3)]
    assert [each["value"] for each in blocks[0]] == ["0x9"]
    assert [each["from"] for each in blocks[1]] == [OTHER.lower()]
    ask("anvil_reorg", {"depth": 1, "txBlockPairs": []})
    ask("anvil_rollback")
    assert ask("eth_blockNumber") == "0x2"


def test_a_reorganisation_with_every_choice(ask: Asker) -> None:
    sent = [ask("eth_sendRawTransaction", "0x" + signed(nonce=nonce).hex()) for nonce in range(4)]
    other = "0x" + signed(nonce=1, value=9).hex()
    hashes = ask(
        "hardhatfree_reorg",
        "0x3",
        {
            "length": 4,
            "fate": "included",
            "fates": {sent[3]: "pooled", sent[2]: "included"},
            "replacements": {sent[1]: other},
            "added": [["0x" + signed(1).hex(), 3]],
        },
    )
    blocks = [ask("eth_getBlockByHash", each, True) for each in hashes]
    assert [len(block["transactions"]) for block in blocks] == [1, 1, 0, 1]
    assert blocks[0]["transactions"][0]["value"] == "0x9"
    assert ask("txpool_status") == {"pending": "0x1", "queued": "0x0"}
    for options, message in [
        ({"fate": "lost"}, "invalid fate 'lost'"),
        ({"dept": 1}, "unknown option 'dept'"),
        ({"added": [["0x"]]}, "give pairs"),
        ({"added": 1}, "give an array"),
    ]:
        with pytest.raises(InvalidParams, match=message):
            ask("hardhatfree_reorg", 1, options)


def test_finality_is_controlled_from_outside(ask: Asker) -> None:
    ask("hardhat_mine", "0xa")
    ask("hardhatfree_setFinalityLag", 4, "finalized")
    ask("hardhatfree_setFinalityLag", 1, "safe")

    def tags() -> list[int]:
        names = ("safe", "finalized")
        return [int(ask("eth_getBlockByNumber", tag, False)["number"], 16) for tag in names]

    assert tags() == [9, 6]
    ask("hardhatfree_stallFinality")
    ask("hardhat_mine", "0x5")
    assert tags() == [9, 6]
    ask("hardhatfree_resumeFinality")
    assert tags() == [14, 11]
    ask("hardhatfree_setFinalityLag", 2)
    assert tags() == [13, 13]
    with pytest.raises(InvalidParams, match="invalid tag"):
        ask("hardhatfree_setFinalityLag", 2, "latest")


def test_a_reset_begins_again(ask: Asker) -> None:
    ask("hardhat_mine", "0x3")
    assert ask("hardhat_reset") is True
    assert ask("eth_blockNumber") == "0x0"
    with pytest.raises(InvalidParams, match="forking another chain is not supported"):
        ask("hardhat_reset", {"forking": {"jsonRpcUrl": "http://127.0.0.1"}})


def test_polled_filters_report_what_a_reorganisation_took(ask: Asker) -> None:
    probe = "0x" + deploy_on(ask.chain, 9).hex()
    logs = ask("eth_newFilter", {"address": probe})
    for nonce in range(3):
        data = call_data("tick", 2 * nonce, 2)
        raw = signed(nonce=nonce, to=probe, value=0, gas=200_000, data=data)
        ask("eth_sendRawTransaction", "0x" + raw.hex())
    seen = ask("eth_getFilterChanges", logs)
    assert [int(log["topics"][1], 16) for log in seen] == [0, 1, 2, 3, 4, 5]
    ask("anvil_reorg", 2, [])
    told = ask("eth_getFilterChanges", logs)
    assert told == [{**log, "removed": True} for log in reversed(seen[2:])]
    assert ask("eth_getFilterChanges", logs) == []
    assert len(ask("eth_getLogs", {"fromBlock": "0x0"})) == 2
