"""Reading the chain: what counts as pending, mined, final, orphaned and taken, and what refusals mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from contracts.rpc import CallReverted, Receipt
from contracts.transactions.chain import look
from contracts.transactions.fees import Price
from contracts.transactions.observation import Observation
from contracts.transactions.preparing import judge_revert
from contracts.transactions.refusals import read_refusal
from contracts.transactions.signer import Signer
from contracts.transactions.steps import _watch
from contracts.transactions.values import (
    BroadcastState,
    Confirmation,
    Intent,
    Position,
    PreparedState,
    Requirement,
    SendingPolicy,
    Signed,
)
from tests.transactions_weather import (
    ALREADY_SUBMITTED,
    CHAIN_ID,
    GWEI,
    INVALID_ROOT,
    REGISTRY,
    UNAUTHORIZED,
    WeatherNode,
    refused,
)

SIGNER = Signer.from_key("0x" + "4c" * 32)


def sign(data: str = "0x01", nonce: int = 0, gwei: int = 3) -> Signed:
    intent = Intent(chain_id=CHAIN_ID, sender=SIGNER.address, to=REGISTRY, data_hex=data, logical_id=data)
    price = Price(max_fee_per_gas=gwei * GWEI, max_priority_fee_per_gas=gwei * GWEI)
    return SIGNER.sign(intent, nonce=nonce, gas=100_000, price=price)


async def position(node: WeatherNode, *signed: Signed, confirmations: int = 1) -> Position:
    hashes = [each.transaction_hash for each in signed]
    required = Requirement(confirmations=confirmations)
    return (await look(node, SIGNER.address, signed[0].nonce, hashes, required)).position


async def test_a_transaction_is_pending_then_mined_then_final() -> None:
    node, signed = WeatherNode(automine=False, finality_lag=3), sign()
    assert await position(node, signed) is Position.PENDING
    await node.send_raw(bytes.fromhex(signed.raw_hex[2:]))
    assert await position(node, signed) is Position.PENDING
    node.mine()
    assert await position(node, signed) is Position.MINED
    node.mine(2)
    assert await position(node, signed) is Position.MINED
    node.mine()
    assert await position(node, signed) is Position.FINAL


async def test_depth_counts_beside_finality() -> None:
    node, signed = WeatherNode(), sign()
    await node.send_raw(bytes.fromhex(signed.raw_hex[2:]))
    assert await position(node, signed, confirmations=2) is Position.MINED
    node.mine()
    assert await position(node, signed, confirmations=2) is Position.FINAL


async def test_an_orphaned_transaction_is_pending_again() -> None:
    node, signed = WeatherNode(automine=False, finality_lag=5), sign()
    await node.send_raw(bytes.fromhex(signed.raw_hex[2:]))
    node.mine(2)
    assert await position(node, signed) is Position.MINED
    node.orphan(2)
    assert await position(node, signed) is Position.PENDING
    node.mine(7)
    found = await look(node, SIGNER.address, 0, [signed.transaction_hash], Requirement())
    assert found.position is Position.FINAL
    assert found.block_hash == "0x" + node.blocks[found.block_number or 0].header.hash.hex()


class Forgetful(WeatherNode):
    """Another node answers for receipts than for blocks: `shown` is what becomes of each question."""

    shown: Sequence[str] = ()

    async def receipts(self, transaction_hashes: Sequence[bytes]) -> list[Receipt | None]:
        found = await super().receipts(transaction_hashes)
        said, self.shown = self.shown[0], self.shown[1:]
        if said == "missing":
            return [None] * len(found)
        other = bytes(32)
        return [replace(each, block_hash=other) if each and said == "elsewhere" else each for each in found]


@pytest.mark.parametrize(
    ("shown", "believed"),
    [
        (("there", "there"), Position.FINAL),
        (("elsewhere", "elsewhere"), Position.PENDING),
        (("there", "elsewhere"), Position.PENDING),
        (("there", "missing"), Position.PENDING),
    ],
)
async def test_a_receipt_counts_in_the_chains_own_block_and_if_it_is_still_there(
    shown: Sequence[str], believed: Position
) -> None:
    node, signed = Forgetful(), sign()
    await node.send_raw(bytes.fromhex(signed.raw_hex[2:]))
    node.shown = shown
    assert await position(node, signed) is believed


async def test_one_look_alone_tells_of_nobody_else_who_signs() -> None:
    class Once(Observation):
        async def look(self, *asked: object) -> Confirmation:
            return Confirmation(position=Position.TAKEN)

    seen = await _watch(Once(WeatherNode()), SIGNER.address, 0, ["0x"], SendingPolicy(watch_ms=0))
    assert seen.position is Position.PENDING
    policy = SendingPolicy(watch_ms=20, poll_ms=5)
    assert (await _watch(Once(WeatherNode()), SIGNER.address, 0, ["0x"], policy)).position is Position.TAKEN


TEXT = keccak(text="Error(string)")[:4] + encode(["string"], ["the DAO is asleep"])


@pytest.mark.parametrize(
    ("newest", "finalised", "state"),
    [
        (INVALID_ROOT, INVALID_ROOT, PreparedState.REFUSED),
        (ALREADY_SUBMITTED, UNAUTHORIZED, PreparedState.IN_DOUBT),
        (INVALID_ROOT, None, PreparedState.IN_DOUBT),
        (TEXT, TEXT, PreparedState.IN_DOUBT),
        (b"", b"", PreparedState.IN_DOUBT),
    ],
)
async def test_a_revert_is_believed_that_the_contract_defines_and_that_repeats(
    newest: bytes, finalised: bytes | None, state: PreparedState
) -> None:
    node = WeatherNode()
    node.refusing = finalised
    intent = Intent(chain_id=CHAIN_ID, sender=SIGNER.address, to=REGISTRY, data_hex="0x01", logical_id="one")
    judged = await judge_revert(node, intent, SendingPolicy(), CallReverted(REGISTRY, newest, "reverted"))
    assert judged.state is state


async def test_every_hash_of_a_nonce_is_looked_for() -> None:
    node, first, second = WeatherNode(), sign(), sign(gwei=4)
    await node.send_raw(bytes.fromhex(first.raw_hex[2:]))
    found = await look(
        node, SIGNER.address, 0, [first.transaction_hash, second.transaction_hash], Requirement()
    )
    assert (found.position, found.transaction_hash) == (Position.FINAL, first.transaction_hash)


async def test_a_nonce_is_taken_only_when_the_other_is_final() -> None:
    node, ours, other = WeatherNode(automine=False, finality_lag=2), sign("0x01"), sign("0x02")
    await node.send_raw(bytes.fromhex(other.raw_hex[2:]))
    node.mine()
    assert await position(node, ours) is Position.PENDING
    node.mine(2)
    assert await position(node, ours) is Position.TAKEN


async def test_a_revert_is_final_and_no_success() -> None:
    node = WeatherNode()
    for nonce in (0, 1):
        await node.send_raw(bytes.fromhex(sign(nonce=nonce).raw_hex[2:]))
    found = await look(node, SIGNER.address, 1, [sign(nonce=1).transaction_hash], Requirement())
    assert (found.position, found.succeeded) == (Position.FINAL, False)


@pytest.mark.parametrize(
    ("message", "state"),
    [
        ("nonce too low: next nonce 5, tx nonce 3", BroadcastState.NONCE_USED),
        ("Nonce too high. Expected nonce to be 3 but got 5.", BroadcastState.WAITS_FOR_EARLIER_NONCE),
        ("replacement transaction underpriced", BroadcastState.UNDERPRICED),
        ("insufficient funds for gas * price + value", BroadcastState.SHORT_OF_FUNDS),
        ("something nobody has ever read", BroadcastState.REFUSED),
    ],
)
def test_refusals_are_read_by_their_words(message: str, state: BroadcastState) -> None:
    assert read_refusal(refused(message)).state is state
