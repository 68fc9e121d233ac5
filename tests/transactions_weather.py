"""A node of which a test decides everything: its mempool, its blocks, its finality and its weather.

It follows geth's rules: a nonce below the account's is too low, a replacement pays a tenth more, a gap waits
or is refused. One contract lives on it, which takes each call data once and reverts the second time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from eth_abi.abi import encode
from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from eth_utils.crypto import keccak
from hexbytes import HexBytes

from contracts.rpc import (
    BlockHeader,
    BlockMissing,
    CallReverted,
    Fees,
    Node,
    NodeUnavailable,
    Receipt,
    RpcRefused,
)

CHAIN_ID = 1337
ONCE = ("eth_sendRawTransaction", "answer of eth_sendRawTransaction")
READ_TRIES = 3
WRONG_REFUSALS = (
    "nonce too low: next nonce 9, tx nonce 3",
    "replacement transaction underpriced",
    "insufficient funds for gas * price + value",
    "something nobody has ever read",
)
REGISTRY = "0x" + "5c" * 20
GWEI = 10**9
ALREADY_SUBMITTED = keccak(text="AlreadySubmitted(uint256,address,uint32,uint8,int32,bytes32)")[:4] + encode(
    ["uint256", "address", "uint32", "uint8", "int32", "bytes32"], [1, REGISTRY, 1, 1, 0, bytes(32)]
)
UNAUTHORIZED = keccak(text="AccessControlUnauthorizedAccount(address,bytes32)")[:4] + encode(
    ["address", "bytes32"], [REGISTRY, bytes(32)]
)
INVALID_ROOT = keccak(text="InvalidRoot()")[:4]


@dataclass(frozen=True, kw_only=True)
class Transaction:
    raw: bytes
    hash: bytes
    sender: str
    nonce: int
    data: bytes
    to: str
    fee: int
    tip: int


@dataclass(kw_only=True)
class Block:
    header: BlockHeader
    transactions: list[tuple[Transaction, int]] = field(default_factory=list)


def transaction_of(raw: bytes) -> Transaction:
    fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    return Transaction(
        raw=raw,
        hash=keccak(raw),
        sender=str(Account.recover_transaction(raw)).lower(),
        nonce=int(fields["nonce"]),
        data=bytes(fields["data"]),
        to="0x" + bytes(fields["to"]).hex(),
        fee=int(fields["maxFeePerGas"]),
        tip=int(fields["maxPriorityFeePerGas"]),
    )


class WeatherNode(Node):
    """The node and the chain behind it.

    Chances, each between 0 and 1: `storm` that a request or its answer is lost, `drops` that a transaction
    is accepted and forgotten, `delays` that it reaches the pool only with a later block, `lies` that an
    answer is wrong (a count or a receipt as of some blocks ago, a refusal of what was taken, a revert that
    is none).
    """

    def __init__(self, *, automine: bool = True, finality_lag: int = 0, gaps: bool = True) -> None:
        super().__init__("http://node.invalid")
        self.automine = automine
        self.finality_lag = finality_lag
        self.gaps = gaps
        self.base_fee = GWEI
        self.served_chain = CHAIN_ID
        self.balances: dict[str, int] = {}
        self.pool: dict[tuple[str, int], Transaction] = {}
        self.broadcasts: list[Transaction] = []
        self.refusal: RpcRefused | None = None
        self.refusing: bytes | None = None
        self.minable = True
        self.moments = 0
        self.crash_at = 0
        self.crashed = asyncio.Event()
        self.storm = 0.0
        self.drops = 0.0
        self.delays = 0.0
        self.lies = 0.0
        self.late: list[Transaction] = []
        self.mines = 0.0
        self.random = Random(0)  # noqa: S311 - weather, not cryptography
        self._salt = 0
        self.blocks = [self._block(0, bytes(32))]

    @property
    def endpoint(self) -> str:
        """The name that its errors give; the pool here is one of transactions."""
        return "http://node.invalid"

    # -- what a test does to it

    def mine(self, count: int = 1) -> None:
        for _ in range(count):
            self._arrive()
            block = self._block(len(self.blocks), self.blocks[-1].header.hash)
            self.blocks.append(block)
            for transaction in self._minable():
                refused = transaction.to == REGISTRY and self.refusing is not None
                status = int(not (refused or self._reverts(transaction.data, transaction.to)))
                block.transactions.append((transaction, status))
                del self.pool[transaction.sender, transaction.nonce]

    def orphan(self, depth: int, *, forget: bool = False) -> None:
        """Replace the last blocks by others; their transactions return to the pool, or are forgotten."""
        removed, self.blocks = self.blocks[-depth:], self.blocks[:-depth]
        self._salt += 1
        for block in removed:
            for transaction, _ in block.transactions:
                if not forget:
                    self.pool.setdefault((transaction.sender, transaction.nonce), transaction)
        minable, self.minable = self.minable, False
        self.mine(depth + 1)
        self.minable = minable

    def restart(self) -> None:
        """Forget whatever is not mined."""
        self.pool.clear()
        self.late.clear()

    def mined(self) -> list[tuple[Transaction, int]]:
        return [each for block in self.blocks for each in block.transactions]

    def succeeded(self) -> list[Transaction]:
        return [
            transaction for transaction, status in self.mined() if status == 1 and transaction.to == REGISTRY
        ]

    # -- the node

    async def chain_id(self) -> int:
        return self.served_chain

    async def header(self, block: int | str | bytes) -> BlockHeader:
        await self._weather("eth_getBlockByNumber")
        if self.random.random() < self.mines:
            self.mine()
        number = self._number(block)
        if not 0 <= number < len(self.blocks):
            raise BlockMissing(str(block))
        return self.blocks[number].header

    async def nonce(self, address: str, block: int | str | bytes = "latest") -> int:
        await self._weather("eth_getTransactionCount")
        number = self._number(block)
        if block == "latest" and self._lies():
            # Another node behind the same address, some blocks behind.
            number = max(number - self.random.randrange(1, 4), 0)
        return self._count(address, number)

    async def balance(self, address: str, block: int | str | bytes = "latest") -> int:
        await self._weather("eth_getBalance")
        return self.balances.get(address, 10**21)

    async def fees(self) -> Fees:
        await self._weather("eth_feeHistory")
        return Fees(base_fee=self.base_fee, priority_fee=GWEI)

    async def estimate_gas(self, sender: str, to: str | None, data: bytes, value: int = 0) -> int:
        await self._weather("eth_estimateGas")
        if self._lies():
            raise CallReverted(str(to), self.random.choice([b"", ALREADY_SUBMITTED]), "execution reverted")
        if self.refusing is not None:
            raise CallReverted(str(to), self.refusing, "execution reverted")
        if self._reverts(data, str(to)):
            raise CallReverted(str(to), ALREADY_SUBMITTED, "execution reverted")
        return 100_000

    async def send_raw(self, raw: bytes) -> bytes:
        await self._weather("eth_sendRawTransaction")
        transaction = transaction_of(raw)
        self.broadcasts.append(transaction)
        if self.random.random() < self.drops:
            return transaction.hash
        if self.random.random() < self.delays:
            self.late.append(transaction)
            return transaction.hash
        self._accept(transaction)
        if self.automine:
            self.mine()
        if self._lies():
            raise refused(self.random.choice(WRONG_REFUSALS))
        await self._weather("answer of eth_sendRawTransaction")
        return transaction.hash

    async def receipt(self, tx_hash: bytes) -> Receipt | None:
        return (await self.receipts([tx_hash]))[0]

    def _receipt(self, tx_hash: bytes) -> Receipt | None:
        for block in self.blocks:
            for transaction, status in block.transactions:
                if transaction.hash == tx_hash:
                    return Receipt(
                        transaction_hash=tx_hash,
                        block_number=block.header.number,
                        block_hash=block.header.hash,
                        status=status,
                        gas_used=90_000,
                        contract_address=None,
                        logs=(),
                    )
        return None

    async def receipts(self, transaction_hashes: Sequence[bytes]) -> list[Receipt | None]:
        await self._weather("eth_getTransactionReceipt")
        if self._lies():
            return [None] * len(transaction_hashes)
        return [self._receipt(each) for each in transaction_hashes]

    async def simulate(
        self, sender: str, to: str, data: bytes, value: int = 0, block: int | str | bytes = "latest"
    ) -> bytes:
        await self._weather("eth_call")
        known = self._number(block) + 1
        if self.refusing is not None:
            raise CallReverted(to, self.refusing, "execution reverted")
        if self._reverts(data, to, self.blocks[:known]):
            raise CallReverted(to, ALREADY_SUBMITTED, "execution reverted")
        return b""

    # -- inner

    async def _weather(self, method: str) -> None:
        """Let a request pass, or lose it. Reads are repeated at once a few times, as `Node` does."""
        for _ in range(1 if method in ONCE else READ_TRIES):
            await self._moment(method)
            if self.random.random() >= self.storm:
                return
        raise NodeUnavailable(self.endpoint, f"{method}: lost in the storm")

    async def _moment(self, method: str) -> None:
        self.requests_by_method[method] += 1
        self.moments += 1
        if self.moments == self.crash_at:
            self.crashed.set()
            await asyncio.Event().wait()
        # Other executions get a turn wherever a real request would give them one.
        await asyncio.sleep(0)

    def _lies(self) -> bool:
        return self.lies > 0 and self.random.random() < self.lies

    def _arrive(self) -> None:
        """Let what was delayed into the pool, in whatever order."""
        arriving, self.late = self.late, []
        self.random.shuffle(arriving)
        for transaction in arriving:
            try:
                self._accept(transaction)
            except RpcRefused:
                continue

    def _accept(self, transaction: Transaction) -> None:
        place = (transaction.sender, transaction.nonce)
        count = self._count(transaction.sender, len(self.blocks) - 1)
        known = self.pool.get(place)
        if known is not None and known.hash == transaction.hash:
            return
        if self.refusal is not None and transaction.to == REGISTRY:
            raise self.refusal
        if transaction.nonce < count:
            raise refused(f"nonce too low: next nonce {count}, tx nonce {transaction.nonce}")
        if not self.gaps and transaction.nonce > count + sum(
            1 for sender, _ in self.pool if sender == place[0]
        ):
            raise refused("nonce too high")
        if known is not None and (
            transaction.fee * 10 < known.fee * 11 or transaction.tip * 10 < known.tip * 11
        ):
            raise refused("replacement transaction underpriced")
        self.pool[place] = transaction

    def _minable(self) -> list[Transaction]:
        found: list[Transaction] = []
        for sender in sorted({sender for sender, _ in self.pool}) if self.minable else ():
            nonce = self._count(sender, len(self.blocks) - 1)
            while (sender, nonce) in self.pool and self.pool[sender, nonce].fee >= self.base_fee:
                found.append(self.pool[sender, nonce])
                nonce += 1
        return found

    def _reverts(self, data: bytes, to: str, blocks: Sequence[Block] | None = None) -> bool:
        seen = self.blocks if blocks is None else blocks
        return to == REGISTRY and any(
            each.data == data and status == 1 and each.to == REGISTRY
            for block in seen
            for each, status in block.transactions
        )

    def _count(self, address: str, number: int) -> int:
        blocks = self.blocks[: number + 1]
        return sum(each.sender == address for block in blocks for each, _ in block.transactions)

    def _number(self, block: int | str | bytes) -> int:
        if block == "finalized":
            return max(len(self.blocks) - 1 - self.finality_lag, 0)
        if isinstance(block, str):
            return len(self.blocks) - 1
        assert isinstance(block, int)
        return block

    def _block(self, number: int, parent: bytes) -> Block:
        block_hash = keccak(parent + bytes([self._salt % 256]) + number.to_bytes(8, "big"))
        return Block(header=BlockHeader(number=number, hash=block_hash, parent_hash=parent, timestamp=number))


def refused(message: str) -> RpcRefused:
    return RpcRefused("eth_sendRawTransaction", -32000, message)
