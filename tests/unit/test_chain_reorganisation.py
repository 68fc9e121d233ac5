"""Reorganisations: what becomes of blocks, transactions, snapshots and tags."""

from contextlib import suppress
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from hardhat_free_chain import ChainSettings, LocalChain
from hardhat_free_chain.calls import Call
from hardhat_free_chain.errors import InvalidParams, TransactionRejected
from hardhat_free_chain.ledger import Block
from hardhat_free_chain.reorganisation import Fate
from tests.chain_support import call_data, deploy_on, signed


def nonces(block: Block) -> list[int]:
    return [each.source.nonce for each in block.transactions]


@pytest.fixture
def chain() -> LocalChain:
    """Five blocks, one transfer of the first account in each."""
    made = LocalChain(ChainSettings(finality_lag=2))
    for nonce in range(5):
        made.send_raw_transaction(signed(nonce=nonce))
    return made


def hash_of(chain: LocalChain, height: int) -> bytes:
    return chain.ledger.at(height).transactions[0].source.hash


def assert_whole(chain: LocalChain) -> None:
    """Every block stands on its parent, and every look-up agrees."""
    blocks = [chain.ledger.at(height) for height in range(chain.ledger.height + 1)]
    for parent, child in pairwise(blocks):
        assert child.header.parent_hash == parent.hash
        assert child.header.timestamp > parent.header.timestamp
    for block in blocks:
        assert chain.ledger.by_hash(block.hash) is block
        for mined in block.transactions:
            assert chain.ledger.transaction(mined.source.hash) is mined
            assert mined.receipt["blockHash"] == "0x" + block.hash.hex()


def test_the_same_transactions_stand_in_other_blocks(chain: LocalChain) -> None:
    before = [chain.ledger.at(height) for height in range(6)]
    new = chain.reorg(3)
    assert [block.number for block in new] == [3, 4, 5]
    assert [nonces(block) for block in new] == [[2], [3], [4]]
    for height in range(6):
        assert (chain.ledger.at(height).hash == before[height].hash) is (height <= 2)
        assert chain.ledger.at(height).header.timestamp == before[height].header.timestamp
    assert all(chain.ledger.by_hash(block.hash) is None for block in before[3:])
    assert_whole(chain)


def test_a_second_reorganisation_gives_other_blocks_again(chain: LocalChain) -> None:
    hashes = {chain.head.hash}
    for _ in range(3):
        chain.reorg(1)
        hashes.add(chain.head.hash)
    assert len(hashes) == 4


@pytest.mark.parametrize(("length", "expected"), [(1, [[2, 3, 4]]), (5, [[2], [3], [4], [], []])])
def test_the_new_branch_is_shorter_or_longer(
    chain: LocalChain, length: int, expected: list[list[int]]
) -> None:
    assert [nonces(block) for block in chain.reorg(3, length=length)] == expected
    assert_whole(chain)


def test_a_branch_without_blocks_returns_everything_to_the_mempool(chain: LocalChain) -> None:
    chain.reorg(2, length=0)
    assert chain.ledger.height == 3
    assert len(chain.pool) == 2
    assert nonces(chain.mine()) == [3, 4]


def test_transactions_return_to_the_mempool_or_are_forgotten(chain: LocalChain) -> None:
    fates = {hash_of(chain, 4): Fate.DROPPED}
    new = chain.reorg(3, fate=Fate.POOLED, fates=fates)
    assert [nonces(block) for block in new] == [[], [], []]
    assert sorted(each.nonce for each in chain.pool) == [2, 4]
    assert chain.nonce(chain.accounts[0], None) == 3, "the forgotten one leaves a gap"
    assert nonces(chain.mine()) == [2]


def test_what_cannot_stand_without_a_dropped_one_waits(chain: LocalChain) -> None:
    new = chain.reorg(3, fates={hash_of(chain, 3): Fate.DROPPED})
    assert [nonces(block) for block in new] == [[], [], []]
    assert sorted(each.nonce for each in chain.pool) == [3, 4]


def test_a_transaction_is_replaced(chain: LocalChain) -> None:
    old = hash_of(chain, 4)
    other = signed(nonce=3, value=77)
    chain.reorg(2, replacements={old: other})
    assert chain.ledger.transaction(old) is None
    assert chain.ledger.at(4).transactions[0].source.value == 77
    assert nonces(chain.ledger.at(5)) == [4]
    assert len(chain.pool) == 0


def test_transactions_are_added(chain: LocalChain) -> None:
    new = chain.reorg(2, added=[(signed(1), 1)])
    assert [len(block.transactions) for block in new] == [1, 2]


def test_a_reorganisation_that_fails_changes_nothing(chain: LocalChain) -> None:
    head = chain.head
    for choices, error in [
        ({"depth": 0}, "depth is 0; give 1 to 5"),
        ({"depth": 6}, "depth is 6; give 1 to 5"),
        ({"depth": 1, "length": -1}, "length is -1"),
        ({"depth": 2, "added": [(signed(1), 2)]}, "block 2 is outside the new branch of 2 blocks"),
    ]:
        with pytest.raises(InvalidParams, match=error):
            chain.reorg(**choices)  # type: ignore[arg-type]
    with pytest.raises(TransactionRejected, match="invalid chain id"):
        chain.reorg(2, added=[(signed(1, chainId=9), 0)])
    with pytest.raises(TransactionRejected, match="cannot be decoded"):
        chain.reorg(2, replacements={hash_of(chain, 5): b"\x02"})
    assert chain.head is head


def test_final_blocks_may_be_replaced_but_the_tag_never_moves_back(chain: LocalChain) -> None:
    assert chain.height_of("finalized") == 3
    final = chain.ledger.at(3).hash
    chain.reorg(4, length=3)
    assert chain.ledger.height == 4
    assert chain.height_of("finalized") == 3
    assert chain.ledger.at(3).hash != final, "beyond finality"
    chain.reorg(2, length=0)
    assert chain.height_of("finalized") == chain.height_of("latest") == 2


def test_safe_has_a_lag_of_its_own_and_finality_stalls(chain: LocalChain) -> None:
    chain.finality.set_lag("safe", 1)
    assert (chain.height_of("safe"), chain.height_of("finalized")) == (4, 3)
    chain.finality.stall(chain.ledger.height)
    chain.mine()
    chain.mine()
    assert (chain.height_of("safe"), chain.height_of("finalized")) == (4, 3)
    chain.finality.resume()
    assert (chain.height_of("safe"), chain.height_of("finalized")) == (6, 5)
    settings = ChainSettings(finality_lag=5, safe_lag=1)
    other = LocalChain(settings)
    for _ in range(6):
        other.mine()
    assert (other.height_of("safe"), other.height_of("finalized")) == (5, 1)


def test_a_snapshot_survives_the_reorganisation_of_its_blocks(chain: LocalChain) -> None:
    chain.alter_state(lambda state: state.set_balance(b"\x77" * 20, 9))
    blocks = [chain.ledger.at(height).hash for height in range(6)]
    first = chain.snapshot()
    chain.reorg(2)
    second = chain.snapshot()
    chain.reorg(4, length=6)
    chain.mine()
    assert chain.revert(second) is True
    same = [chain.ledger.at(height).hash == blocks[height] for height in range(6)]
    assert same == [True] * 4 + [False] * 2
    assert_whole(chain)
    assert chain.revert(first) is True
    assert [chain.ledger.at(height).hash for height in range(chain.ledger.height + 1)] == blocks
    assert chain.state(chain.head).get_balance(b"\x77" * 20) == 9
    assert_whole(chain)


def test_a_rollback_takes_blocks_away(chain: LocalChain) -> None:
    chain.rollback(2)
    assert chain.ledger.height == 3
    assert len(chain.pool) == 0
    with pytest.raises(InvalidParams, match="depth is 4; give 1 to 3"):
        chain.rollback(4)


def test_a_reset_chain_is_as_new(chain: LocalChain) -> None:
    genesis = chain.ledger.at(0).hash
    chain.alter_state(lambda state: state.set_balance(b"\x77" * 20, 9))
    chain.clock.increase(1_000)
    snapshot = chain.snapshot()
    chain.reset()
    assert (chain.ledger.height, chain.head.hash) == (0, genesis)
    assert chain.state(chain.head).get_balance(b"\x77" * 20) == 0
    assert chain.clock.offset_s == 0
    chain.send_raw_transaction(signed())
    assert chain.revert(snapshot) is True
    assert chain.ledger.height == 5
    assert chain.state(chain.head).get_balance(b"\x77" * 20) == 9
    assert chain.clock.offset_s >= 1_000


@pytest.mark.parametrize("seed", range(12))
def test_random_histories_stay_whole(seed: int) -> None:
    """The chain hangs together whatever is done, and a snapshot brings back what was."""
    chance = Random(seed)  # noqa: S311
    chain = LocalChain(ChainSettings(auto_mine=False, finality_lag=3))
    probe = deploy_on_manual(chain)
    saved: dict[int, list[bytes]] = {}
    final = 0
    for _ in range(60):
        action = chance.randrange(6)
        if action <= 1:
            index = chance.randrange(3)
            nonce = chain.nonce(chain.accounts[index], None) + chance.choice((0, 0, 0, 1))
            data = call_data("note", nonce, b"x")
            raw = signed(index, nonce=nonce, to=probe, value=0, gas=100_000, data=data)
            try_to_send(chain, raw)
        elif action == 2:
            chain.mine()
        elif action == 3 and chain.ledger.height > 1:
            depth = chance.randint(1, min(6, chain.ledger.height - 1))
            chain.reorg(depth, length=chance.randint(0, 7), fate=chance.choice(list(Fate)))
        elif action == 4:
            saved[chain.snapshot()] = hashes(chain)
        elif saved and chance.random() < 0.5:
            number = chance.choice(list(saved))
            assert chain.revert(number), f"seed {seed}"
            assert hashes(chain) == saved[number], f"seed {seed}"
            saved = {key: value for key, value in saved.items() if key < number}
            final = 0
        assert_whole(chain)
        assert chain.height_of("finalized") >= min(final, chain.ledger.height), f"seed {seed}"
        final = chain.height_of("finalized")


def hashes(chain: LocalChain) -> list[bytes]:
    return [chain.ledger.at(height).hash for height in range(chain.ledger.height + 1)]


def deploy_on_manual(chain: LocalChain) -> bytes:
    chain.auto_mine = True
    address = deploy_on(chain, 9)
    chain.auto_mine = False
    return address


def try_to_send(chain: LocalChain, raw: bytes) -> None:
    with suppress(TransactionRejected):
        chain.send_raw_transaction(raw)


def test_contracts_may_see_another_block_number_than_the_rpc() -> None:
    chain = LocalChain(ChainSettings(contract_blocks_from=1_000, blocks_per_contract_block=4))
    probe = deploy_on(chain, 9)
    seen: list[Any] = []

    for _ in range(8):
        chain.mine()
        call = Call(
            sender=chain.accounts[0],
            to=probe,  # type: ignore[arg-type]
            data=bytes.fromhex(call_data("context")[2:]),
            value=0,
            gas=100_000,
        )
        seen.append(int.from_bytes(chain.call(call, chain.head)[:32], "big"))
    assert seen == [1_000 + number // 4 for number in range(2, 10)]
