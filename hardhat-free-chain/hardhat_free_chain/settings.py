"""What one local chain is told at its start.

Owns the values and their checks, nothing else; imports no part of the chain.
"""

from dataclasses import dataclass

from hardhat_free_chain.accounts import DEV_MNEMONIC

WEI_PER_ETHER = 10**18
DEFAULT_BALANCE_WEI = 10_000 * WEI_PER_ETHER
DEFAULT_CHAIN_ID = 31337


class SettingsError(ValueError):
    """A setting has a value that the chain cannot work with; the message names the setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSettings:
    """Everything that decides how a local chain behaves.

    `base_timestamp` (seconds) is the genesis block's; without it the chain starts now. Either way the
    chain's clock then runs on with the wall clock. `finality_lag` (blocks) is how far `safe` and
    `finalized` stand behind the head, `safe` at a distance of its own if `safe_lag` is given; below that
    height both are block 0. `block_interval_s` mines a
    block at every interval, beside the blocks of `auto_mine`. `log_range_max` is the widest
    `eth_getLogs` range in blocks, unlimited if None.

    With `hold_nonce_gaps` a transaction beyond a gap waits, as go-ethereum holds it, at most
    `queued_per_sender` of a sender; else it is refused. `waiting_per_sender` bounds what one sender has in
    the mempool at all. With `contract_blocks_from`, contracts see another block number than the RPC, as on
    many L2s: that number at genesis, and one more every `blocks_per_contract_block` blocks.
    """

    chain_id: int = DEFAULT_CHAIN_ID
    accounts: int = 10
    balance_wei: int = DEFAULT_BALANCE_WEI
    mnemonic: str = DEV_MNEMONIC
    finality_lag: int = 0
    safe_lag: int | None = None
    base_timestamp: int | None = None
    auto_mine: bool = True
    block_interval_s: float | None = None
    block_gas_limit: int = 30_000_000
    log_range_max: int | None = None
    hold_nonce_gaps: bool = True
    queued_per_sender: int = 64
    waiting_per_sender: int | None = None
    contract_blocks_from: int | None = None
    blocks_per_contract_block: int = 1
    body_bytes_max: int = 5 * 1024 * 1024
    batch_max: int = 1_000
    waiting_requests_max: int = 10_000

    def __post_init__(self) -> None:
        self._check("chain_id", self.chain_id, 1, 2**63)
        self._check("accounts", self.accounts, 0, 1_000)
        self._check("balance_wei", self.balance_wei, 0, 2**255)
        self._check("finality_lag", self.finality_lag, 0, 2**63)
        for name in ("safe_lag", "contract_blocks_from"):
            self._check(name, getattr(self, name) or 0, 0, 2**63)
        self._check("queued_per_sender", self.queued_per_sender, 0, 2**40)
        if self.waiting_per_sender is not None:
            self._check("waiting_per_sender", self.waiting_per_sender, 1, 2**40)
        self._check("blocks_per_contract_block", self.blocks_per_contract_block, 1, 2**40)
        self._check("block_gas_limit", self.block_gas_limit, 100_000, 2**53)
        for name in ("body_bytes_max", "batch_max", "waiting_requests_max"):
            self._check(name, getattr(self, name), 1, 2**40)
        if self.base_timestamp is not None:
            self._check("base_timestamp", self.base_timestamp, 1, 2**53)
        if self.log_range_max is not None:
            self._check("log_range_max", self.log_range_max, 1, 2**63)
        if self.block_interval_s is not None and not 0 < self.block_interval_s < 86_400:
            raise SettingsError(f"block_interval_s is {self.block_interval_s}; give seconds in (0, 86400)")

    def contract_block(self, number: int) -> int:
        """What contracts see as block.number in the block of this number."""
        return (self.contract_blocks_from or 0) + number // self.blocks_per_contract_block

    @staticmethod
    def _check(name: str, value: int, least: int, below: int) -> None:
        if not least <= value < below:
            raise SettingsError(f"{name} is {value}; give a value from {least} to {below - 1}")
