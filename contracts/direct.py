"""Sending at once, without durability: for deployments and for scenarios on a local chain.

Nothing here survives a crash. What must happen exactly once goes through `contracts.transactions`.
"""

from __future__ import annotations

import asyncio

from contracts import artifacts, bindings
from contracts.rpc import CallReverted, Node, Receipt
from contracts.transactions import Signer

RECEIPT_TIMEOUT_S = 120.0
RECEIPT_INTERVAL_S = 0.05
GAS_MARGIN_PERCENT = 120


class DirectSender:
    """One account that signs and sends in order; it must be the account's only sender."""

    def __init__(self, node: Node, signer: Signer, chain_id: int) -> None:
        self._signer = signer
        self._node = node
        self._chain_id = chain_id
        self._nonce: int | None = None
        self.address = signer.address

    def __repr__(self) -> str:
        """Show the address, never the key."""
        return f"DirectSender({self.address})"

    def sign(self, nonce: int, to: str | None, data: bytes, *, gas: int, fee: int, value: int = 0) -> bytes:
        """Return the raw bytes of one EIP-1559 transaction; `fee` is the most wei a gas may cost."""
        fields = {
            "chainId": self._chain_id,
            "nonce": nonce,
            "value": value,
            "data": data,
            "gas": gas,
            "maxFeePerGas": fee,
            "maxPriorityFeePerGas": min(fee, 10**9),
        }
        if to is not None:
            fields["to"] = to
        return self._signer.sign_fields(fields)[1]

    async def send(self, to: str | None, data: bytes, *, gas: int | None = None, value: int = 0) -> Receipt:
        """Send one transaction, with `value` wei, and wait until it is mined.

        Raises CallReverted when it would revert or did, TimeoutError when it was not mined in time.
        """
        if gas is None:
            estimate = await self._node.estimate_gas(self.address, to, data, value)
            gas = estimate * GAS_MARGIN_PERCENT // 100
        if self._nonce is None:
            self._nonce = await self._node.nonce(self.address, "pending")
        fees = await self._node.fees()
        fee = 2 * fees.base_fee + fees.priority_fee + 10**9
        raw = self.sign(self._nonce, to, data, gas=gas, fee=fee, value=value)
        self._nonce += 1
        receipt = await self._mined(await self._node.send_raw(raw))
        if receipt.status != 1:
            raise CallReverted(to or "being created", b"", "the transaction was mined and reverted")
        return receipt

    async def deploy(self, name: str, *arguments: object) -> Receipt:
        """Deploy a compiled contract; the receipt's `contract_address` is where it stands."""
        return await self.send(None, bindings.deploy_data(artifacts.load(name), *arguments))

    async def _mined(self, transaction_hash: bytes) -> Receipt:
        async with asyncio.timeout(RECEIPT_TIMEOUT_S):
            while True:
                receipt = await self._node.receipt(transaction_hash)
                if receipt is not None:
                    return receipt
                await asyncio.sleep(RECEIPT_INTERVAL_S)
