"""The machine against eth-tester's own way of mining: equal transactions give equal states and receipts."""

import random
from typing import Any

import pytest
from eth_tester.backends.pyevm.main import PyEVMBackend

from hardhat_free_chain import ChainSettings, LocalChain
from tests.chain_support import ACCOUNTS, PROBE, call_data, signed

BASE_TIMESTAMP = 1_700_000_000
START_BALANCE_WEI = 10_000 * 10**18
COMPARED = ("state_root", "receipt_root", "transaction_root", "gas_used", "bloom", "base_fee_per_gas")


def reference() -> Any:
    """eth-tester's backend with the same genesis. Its class fixes a chain id, so ours is set afterwards."""
    parameters = PyEVMBackend.generate_genesis_params(
        overrides={"timestamp": BASE_TIMESTAMP, "gas_limit": 30_000_000}
    )
    account = {"balance": START_BALANCE_WEI, "nonce": 0, "code": b"", "storage": {}}
    state = {bytes.fromhex(address[2:]): dict(account) for address, _ in ACCOUNTS}
    backend = PyEVMBackend(genesis_parameters=parameters, genesis_state=state)
    assert backend.chain is not None
    backend.chain.chain_id = 31337
    return backend


@pytest.mark.parametrize("seed", range(4))
def test_every_block_has_the_state_that_eth_tester_computes(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    backend = reference()
    chain = LocalChain(ChainSettings(auto_mine=False, base_timestamp=BASE_TIMESTAMP))
    nonces = [0] * 4
    probe = "0x5fbdb2315678afecb367f032d93f642f64180aa3"
    fields = {"to": None, "value": 0, "gas": 2_000_000, "data": PROBE["bytecode"]}
    batches = [[(0, fields)]] + [
        [(chance.randrange(4), random_fields(chance, probe)) for _ in range(chance.randrange(4))]
        for _ in range(15)
    ]
    timestamp = BASE_TIMESTAMP
    for number, batch in enumerate(batches, start=1):
        timestamp += chance.randint(1, 1_000)
        backend.chain.set_header_timestamp(timestamp)
        for index, fields in sorted(batch, key=lambda each: each[0]):
            raw = signed(index, nonce=nonces[index], **fields)
            nonces[index] += 1
            backend.send_raw_transaction(raw)
            chain.send_raw_transaction(raw)
        backend.mine_blocks()
        ours = chain.mine(timestamp).header
        theirs = backend.chain.get_canonical_block_header_by_number(number)
        for name in COMPARED:
            assert getattr(ours, name) == getattr(theirs, name), f"seed {seed}, block {number}: {name}"
        assert ours.timestamp == theirs.timestamp == timestamp
    assert chain.ledger.height == len(batches)


def random_fields(chance: random.Random, probe: str) -> dict[str, Any]:
    """A transfer, a call that works or one that fails."""
    calls = [
        call_data("note", chance.randrange(9), b"text"),
        call_data("tick", 0, chance.randrange(4)),
        call_data("write", chance.randrange(5)),
        call_data("failCustom", chance.randrange(20)),
        call_data("failPanic", 0),
        call_data("burn"),
    ]
    if chance.random() < 0.3:
        return {"value": chance.randrange(10**18)}
    return {"to": probe, "value": 0, "gas": 300_000, "data": chance.choice(calls)}
