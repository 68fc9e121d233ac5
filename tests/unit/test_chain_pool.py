"""What a transaction is refused for, in go-ethereum's words, and what the pool keeps."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from eth_typing import Address

from hardhat_free_chain import ChainSettings, LocalChain
from hardhat_free_chain.calls import Call
from hardhat_free_chain.errors import TransactionRejected
from tests.chain_support import ACCOUNTS, CHAIN_ID, GWEI, call_data, deploy_on, legacy, signed


@pytest.fixture
def chain() -> LocalChain:
    return LocalChain(ChainSettings())


@pytest.fixture
def manual() -> LocalChain:
    return LocalChain(ChainSettings(auto_mine=False))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"chainId": 5}, f"invalid sender: invalid chain id for signer: have 5 want {CHAIN_ID}"),
        ({"gas": 20_000}, "intrinsic gas too low: gas 20000, minimum needed 21000"),
        ({"gas": 21_030, "data": "0x01"}, "intrinsic gas too low: gas 21030, minimum needed 21040"),
        ({"gas": 30_000_001}, "exceeds block gas limit"),
        ({"maxFeePerGas": 1, "maxPriorityFeePerGas": 1}, "max fee per gas less than block base fee"),
        ({"maxFeePerGas": GWEI, "maxPriorityFeePerGas": 2 * GWEI}, "max priority fee per gas higher than"),
        ({"value": 10_001 * 10**18}, "insufficient funds for gas [*] price [+] value: balance 1"),
        (
            {"to": None, "data": "0x" + "00" * 49_153, "gas": 3_000_000},
            "max initcode size exceeded: code size 49153",
        ),
    ],
)
def test_a_transaction_is_refused_as_go_ethereum_refuses_it(
    chain: LocalChain, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(TransactionRejected, match=message):
        chain.send_raw_transaction(signed(**fields))
    assert chain.ledger.height == 0
    assert len(chain.pool) == 0


@pytest.mark.parametrize("raw", [b"", b"\x00", b"\x02\xc0", b"\xc0", b"\x7f\x01", b"\x02" + b"\xff" * 40])
def test_bytes_that_are_no_transaction_are_refused(chain: LocalChain, raw: bytes) -> None:
    with pytest.raises(TransactionRejected, match="rlp: the transaction cannot be decoded"):
        chain.send_raw_transaction(raw)


@pytest.mark.parametrize("raw", [signed()[:-1], signed() + b"\x00"])
def test_cut_and_padded_transactions_are_refused(chain: LocalChain, raw: bytes) -> None:
    with pytest.raises(TransactionRejected):
        chain.send_raw_transaction(raw)
    assert chain.ledger.height == 0


def test_a_legacy_transaction_needs_the_chain_id(chain: LocalChain) -> None:
    with pytest.raises(TransactionRejected, match="only replay-protected"):
        chain.send_raw_transaction(legacy())
    with pytest.raises(TransactionRejected, match="have 1 want 31337"):
        chain.send_raw_transaction(legacy(chainId=1))
    chain.send_raw_transaction(legacy(chainId=CHAIN_ID))
    assert chain.ledger.height == 1


def test_a_gap_is_refused_where_gaps_are_not_held() -> None:
    chain = LocalChain(ChainSettings(hold_nonce_gaps=False))
    with pytest.raises(TransactionRejected, match="nonce too high: tx nonce 2, gapped nonce 0"):
        chain.send_raw_transaction(signed(nonce=2))
    assert len(chain.pool) == 0


@pytest.mark.parametrize("auto_mine", [True, False])
def test_what_stands_beyond_a_gap_waits_until_the_gap_is_filled(auto_mine: bool) -> None:
    chain = LocalChain(ChainSettings(auto_mine=auto_mine))
    sender = chain.accounts[0]
    late = [chain.send_raw_transaction(signed(nonce=nonce)) for nonce in (3, 1)]
    assert chain.nonce(sender, None) == 0
    assert chain.mine().transactions == ()
    chain.send_raw_transaction(signed())
    if not auto_mine:
        assert chain.nonce(sender, None) == 2
        chain.mine()
    assert [chain.ledger.transaction(each) is None for each in late] == [True, False]
    assert chain.nonce(sender, None) == 2
    chain.send_raw_transaction(signed(nonce=2))
    if not auto_mine:
        chain.mine()
    assert chain.nonce(sender, chain.head) == 4
    assert len(chain.pool) == 0


def test_of_too_many_beyond_a_gap_the_highest_nonces_are_forgotten() -> None:
    chain = LocalChain(ChainSettings(auto_mine=False, queued_per_sender=3))
    hashes = {nonce: chain.send_raw_transaction(signed(nonce=nonce)) for nonce in (9, 5, 6, 7, 8, 0)}
    assert [nonce for nonce, each in hashes.items() if chain.pool.get(each) is None] == [9, 8]


def test_a_sender_has_only_so_many_waiting() -> None:
    chain = LocalChain(ChainSettings(auto_mine=False, waiting_per_sender=2))
    for nonce in (0, 1):
        chain.send_raw_transaction(signed(nonce=nonce))
    with pytest.raises(TransactionRejected, match="txpool is full: 2 transactions of this sender wait"):
        chain.send_raw_transaction(signed(nonce=2))
    chain.send_raw_transaction(signed(1))
    chain.send_raw_transaction(signed(nonce=1, maxFeePerGas=4 * GWEI, maxPriorityFeePerGas=2 * GWEI))


def test_a_dropped_transaction_leaves_a_gap(manual: LocalChain) -> None:
    hashes = [manual.send_raw_transaction(signed(nonce=nonce)) for nonce in range(3)]
    assert manual.drop_transaction(hashes[1]) is True
    assert manual.drop_transaction(hashes[1]) is False
    assert manual.nonce(manual.accounts[0], None) == 1
    assert [each.source.nonce for each in manual.mine().transactions] == [0]
    assert manual.send_raw_transaction(signed(nonce=1)) == hashes[1]
    assert [each.source.nonce for each in manual.mine().transactions] == [1, 2]


def test_a_restarted_node_has_forgotten_what_waited(manual: LocalChain) -> None:
    sent = [manual.send_raw_transaction(signed(nonce=nonce)) for nonce in (0, 1, 5)]
    assert manual.restart() == 3
    assert manual.mine().transactions == ()
    assert manual.send_raw_transaction(signed()) == sent[0]


def test_the_best_paid_come_first_and_each_sender_in_order(manual: LocalChain) -> None:
    tips = {(0, 0): 1, (0, 1): 9, (1, 0): 3, (2, 0): 3, (1, 1): 2}
    for (index, nonce), tip in tips.items():
        fees = {"maxFeePerGas": 20 * GWEI, "maxPriorityFeePerGas": tip * GWEI}
        manual.send_raw_transaction(signed(index, nonce=nonce, **fees))
    places = {address: index for index, address in enumerate(manual.accounts)}
    mined = [(places[each.source.sender], each.source.nonce) for each in manual.mine().transactions]
    assert mined == [(1, 0), (2, 0), (1, 1), (0, 0), (0, 1)]


def test_what_follows_a_transaction_without_room_keeps_its_place() -> None:
    chain = LocalChain(ChainSettings(auto_mine=False, block_gas_limit=100_000))
    chain.send_raw_transaction(signed(1, maxFeePerGas=9 * GWEI, maxPriorityFeePerGas=2 * GWEI))
    chain.send_raw_transaction(signed(gas=90_000))
    chain.send_raw_transaction(signed(nonce=1))
    assert [len(chain.mine().transactions) for _ in range(3)] == [1, 2, 0]


def test_a_mined_nonce_is_too_low(chain: LocalChain) -> None:
    raw = signed()
    chain.send_raw_transaction(raw)
    with pytest.raises(TransactionRejected, match="nonce too low: next nonce 1, tx nonce 0"):
        chain.send_raw_transaction(raw)


def test_a_waiting_transaction_is_already_known(manual: LocalChain) -> None:
    manual.send_raw_transaction(signed())
    with pytest.raises(TransactionRejected, match=r"^already known$"):
        manual.send_raw_transaction(signed())


def test_a_replacement_must_pay_a_tenth_more_of_both_fees(manual: LocalChain) -> None:
    first = manual.send_raw_transaction(signed())
    for fees in (
        {"maxFeePerGas": 33 * GWEI // 10 - 1, "maxPriorityFeePerGas": 2 * GWEI},
        {"maxFeePerGas": 4 * GWEI, "maxPriorityFeePerGas": GWEI},
    ):
        with pytest.raises(TransactionRejected, match=r"^replacement transaction underpriced$"):
            manual.send_raw_transaction(signed(**fees))
    second = manual.send_raw_transaction(
        signed(maxFeePerGas=33 * GWEI // 10, maxPriorityFeePerGas=11 * GWEI // 10)
    )
    manual.mine()
    assert manual.ledger.transaction(first) is None
    assert manual.ledger.transaction(second) is not None


def test_waiting_transactions_are_mined_in_the_order_of_their_nonces(manual: LocalChain) -> None:
    hashes = [manual.send_raw_transaction(signed(nonce=nonce)) for nonce in range(5)]
    sender = manual.accounts[0]
    assert manual.nonce(sender, None) == 5
    assert manual.nonce(sender, manual.head) == 0
    block = manual.mine()
    assert [each.transaction["hash"] for each in block.transactions] == ["0x" + each.hex() for each in hashes]
    assert len(manual.pool) == 0


def test_funds_must_cover_everything_that_waits(manual: LocalChain) -> None:
    manual.send_raw_transaction(signed(value=6_000 * 10**18))
    with pytest.raises(TransactionRejected, match=r"insufficient funds.*queued cost 6000"):
        manual.send_raw_transaction(signed(nonce=1, value=6_000 * 10**18))


def test_a_fee_below_the_base_fee_waits_until_it_falls(manual: LocalChain) -> None:
    manual.send_raw_transaction(signed(maxFeePerGas=GWEI * 8 // 10, maxPriorityFeePerGas=1))
    assert manual.mine().transactions == ()
    assert len(manual.mine().transactions) == 1


def test_what_does_not_fit_one_block_comes_in_the_next() -> None:
    chain = LocalChain(ChainSettings(auto_mine=False, block_gas_limit=100_000))
    for nonce in range(6):
        chain.send_raw_transaction(signed(nonce=nonce))
    assert [len(chain.mine().transactions) for _ in range(3)] == [4, 2, 0]


def test_automine_also_takes_what_waited(manual: LocalChain) -> None:
    manual.send_raw_transaction(signed())
    manual.auto_mine = True
    mined = manual.ledger.transaction(manual.send_raw_transaction(signed(nonce=1)))
    assert mined is not None
    assert len(manual.head.transactions) == 2


def test_an_account_without_funds_is_refused_and_can_be_funded(chain: LocalChain) -> None:
    chain.alter_state(lambda state: state.set_balance(chain.accounts[0], 0))
    with pytest.raises(TransactionRejected, match="insufficient funds"):
        chain.send_raw_transaction(signed())
    chain.alter_state(lambda state: state.set_balance(chain.accounts[0], 10**18))
    chain.send_raw_transaction(signed())
    assert chain.ledger.height == 1
    assert ACCOUNTS[0][0].lower() == "0x" + chain.accounts[0].hex()


def test_threads_that_share_a_chain_do_not_disturb_each_other() -> None:
    """eth-tester itself fails most of such calls; the chain serialises them."""
    chain = LocalChain(ChainSettings())
    probe = Address(deploy_on(chain, 9))
    count = Call(sender=chain.accounts[0], to=probe, data=bytes.fromhex("06661abd"), value=0, gas=100_000)

    def work(index: int) -> list[int]:
        seen = []
        for nonce in range(10):
            raw = signed(
                index, nonce=nonce, to=probe, value=0, gas=90_000, data=call_data("note", nonce, b"")
            )
            chain.send_raw_transaction(raw)
            seen.append(int.from_bytes(chain.call(count, chain.head), "big"))
        return seen

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(work, range(4)))
    assert all(seen == sorted(set(seen)) for seen in results)
    assert int.from_bytes(chain.call(count, chain.head), "big") == 40
    assert chain.ledger.height == 41
