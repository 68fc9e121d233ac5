"""A chain in memory with the face of `Node`, which lags, lies, reverts and vanishes as it is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from contracts.bindings import Log
from contracts.bindings.reputation_dao import (
    CLOCK,
    PROPOSAL_CANCELED,
    PROPOSAL_CREATED,
    PROPOSAL_DEADLINE,
    STATE,
    ProposalState,
)
from contracts.rpc import BlockHeader, BlockMissing, CallReverted, LogsIncomplete, NoCode, RpcError, bloom

DAO = "0x" + "da" * 20
IMPLEMENTATION = bytes.fromhex("5c60da1b")
CHAIN_ID = 777
PROPOSER = "0x" + "bb" * 20
NO_DEADLINE = 10**9
Fault = Callable[[str], Exception | None]
"""Takes the name of a method; an exception that it returns is raised instead of the answer."""


@lru_cache(maxsize=100_000)
def _hash(text: str) -> bytes:
    return keccak(text.encode())


@dataclass(slots=True)
class StubNode:
    """Blocks 0 to `head`; the last `lag` of them are not final. `fork` gives all hashes another form,
    `forks` those of single blocks.

    With `crowd` headers have filters, and every block so many logs of other contracts. What stands in blocks
    of `hidden` is left out of ranges, in those of `withheld` everywhere; `invented` ones are in no block.
    """

    head: int = 100
    lag: int = 10
    fork: int = 0
    forks: dict[int, int] = field(default_factory=dict)
    served_chain_id: int = CHAIN_ID
    has_code: bool = True
    bytecode: bytes = b"\x60\x00"
    implementation: int = 0
    beacon: int = 0
    named: int = 0
    unreadable_clock: bool = False
    created: dict[int, list[int]] = field(default_factory=dict)
    canceled: dict[int, list[int]] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)
    deadlines: dict[int, int] = field(default_factory=dict)
    states: dict[int, ProposalState] = field(default_factory=dict)
    unreadable: set[int] = field(default_factory=set)
    crowd: int | None = None
    hidden: set[int] = field(default_factory=set)
    withheld: set[int] = field(default_factory=set)
    invented: dict[int, list[int]] = field(default_factory=dict)
    filters: dict[object, bytes] = field(default_factory=dict)
    clock: Callable[[int], int] = lambda block_number: block_number
    fault: Fault = lambda _method: None
    asked: Counter[str] = field(default_factory=Counter)
    ranges: list[tuple[int, int]] = field(default_factory=list)
    looked_at: list[int] = field(default_factory=list)
    endpoint: str = "http://stub"

    def propose(self, block_number: int, *ids: int) -> None:
        self.created.setdefault(block_number, []).extend(ids)

    def cancel(self, block_number: int, proposal_id: int) -> None:
        self.canceled.setdefault(block_number, []).append(proposal_id)
        self.states[proposal_id] = ProposalState.CANCELED

    def reorganise(self, fork: int) -> None:
        """Replace every block that is not final, and lose what stood in them."""
        for number in range(self.head - self.lag + 1, self.head + 1):
            self.forks[number] = fork
            self.created.pop(number, None)

    # -- the face of Node

    async def chain_id(self) -> int:
        self._answer("chain_id")
        return self.served_chain_id

    async def header(self, block: int | str | bytes) -> BlockHeader:
        self._answer("header")
        if isinstance(block, bytes):
            numbers = [number for number in range(self.head + 1) if self.hash_of(number) == block]
            if not numbers:
                raise BlockMissing(block.hex())
            block = numbers[0]
        number = {"latest": self.head, "finalized": max(self.head - self.lag, 0)}.get(str(block), block)
        assert isinstance(number, int)
        return self._header(number)

    async def headers(self, numbers: Sequence[int]) -> list[BlockHeader]:
        self._answer("headers")
        self.looked_at += numbers
        return [self._header(number) for number in numbers]

    async def logs(self, address: str, topics: object, first: int, last: int) -> list[Log]:
        self._answer("logs")
        assert address == DAO
        assert last <= max(self.head - self.lag, 0), f"asked for {last}, which is not final"
        self.ranges.append((first, last))
        told = (set(self.created) | set(self.canceled)) - self.hidden - self.withheld | set(self.invented)
        return [log for number in sorted(told) if first <= number <= last for log in self._told_of(number)]

    async def logs_of_block(self, address: str, topics: object, block_hash: bytes) -> list[Log]:
        self._answer("logs_of_block")
        header = await self.header(block_hash)
        return self._logs_of(header.number)

    async def complete_logs(self, address: str, topics: object, header: BlockHeader) -> list[Log]:
        self._answer("complete_logs")
        number = (await self.header(header.hash)).number
        own = [] if number in self.withheld else self._logs_of(number)
        if not bloom.accounts_for(header.logs_bloom or b"", [*own, *self._crowd_of(number)]):
            raise LogsIncomplete(self.endpoint, number, header.hash)
        return own

    async def code(self, address: str, block: int | str = "latest") -> bytes:
        self._answer("code")
        return self.bytecode if self.has_code else b""

    async def request(self, method: str, params: Sequence[object]) -> object:
        self._answer(method)
        assert method == "eth_getStorageAt"
        stored = self.implementation if "0x3608" in str(params[1]) else self.beacon
        return "0x" + stored.to_bytes(32, "big").hex()

    async def call(self, to: str, data: bytes, block: int | str = "latest") -> bytes:
        if data == IMPLEMENTATION:
            self._answer("implementation")
            if not self.named:
                raise CallReverted(to, b"", "execution reverted")
            return encode(["address"], [f"0x{self.named:040x}"])
        (outcome,) = await self.call_each([(to, data)], block)
        if isinstance(outcome, RpcError):
            raise outcome
        return outcome

    async def call_each(
        self, calls: Sequence[tuple[str, bytes]], block: int | str = "latest"
    ) -> list[bytes | RpcError]:
        self._answer("call_each")
        number = self.head if block == "latest" else block
        assert isinstance(number, int)
        if number > self.head:
            raise BlockMissing(str(number))
        return [self._call(data, number) for _, data in calls]

    # -- inner

    def hash_of(self, number: int) -> bytes:
        return _hash(f"{self.forks.get(number, self.fork)}/{number}")

    def _answer(self, method: str) -> None:
        self.asked[method] += 1
        if error := self.fault(method):
            raise error

    def _call(self, data: bytes, number: int) -> bytes | RpcError:
        if not self.has_code:
            return NoCode(DAO)
        if data[:4] == CLOCK.selector:
            if self.unreadable_clock:
                return CallReverted(DAO, b"", "execution reverted")
            return encode(["uint48"], [self.clock(number)])
        proposal_id = int.from_bytes(data[4:], "big")
        if proposal_id in self.unreadable:
            return CallReverted(DAO, b"", "execution reverted")
        deadline = self.deadlines.get(proposal_id, NO_DEADLINE)
        if data[:4] == PROPOSAL_DEADLINE.selector:
            return encode(["uint256"], [deadline])
        assert data[:4] == STATE.selector
        over = self.clock(number) > deadline
        state = ProposalState.DEFEATED if over else ProposalState.ACTIVE
        return encode(["uint8"], [self.states.get(proposal_id, state)])

    def _header(self, number: int) -> BlockHeader:
        if number > self.head:
            raise BlockMissing(str(number))
        return BlockHeader(
            number=number,
            hash=self.hash_of(number),
            parent_hash=self.hash_of(number - 1),
            timestamp=number * 12,
            logs_bloom=None if self.crowd is None else self._filter_of(number),
        )

    def _filter_of(self, number: int) -> bytes:
        key = (number, *self.created.get(number, ()), "canceled", *self.canceled.get(number, ()))
        if key not in self.filters:
            self.filters[key] = bloom.of_logs([*self._logs_of(number), *self._crowd_of(number)])
        return self.filters[key]

    def _crowd_of(self, number: int) -> list[Log]:
        return [
            replace(
                self._log(number, 1_000 + index, (_hash(f"crowd {number} {index}"),), b""),
                address="0x" + _hash(f"somebody {number} {index}")[:20].hex(),
            )
            for index in range(self.crowd or 0)
        ]

    def _told_of(self, number: int) -> list[Log]:
        logs = [] if number in self.hidden | self.withheld else self._logs_of(number)
        invented = self.invented.get(number, [])
        return logs + [self._created(number, 500 + index, each) for index, each in enumerate(invented)]

    def _logs_of(self, number: int) -> list[Log]:
        created, canceled = self.created.get(number, []), self.canceled.get(number, [])
        logs = [self._created(number, index, each) for index, each in enumerate(created)]
        return logs + [self._canceled(number, len(logs) + index, each) for index, each in enumerate(canceled)]

    def _created(self, number: int, index: int, proposal_id: int) -> Log:
        content = self.contents.get(proposal_id, keccak(proposal_id.to_bytes(32, "big")))
        topics = (PROPOSAL_CREATED.topic0, proposal_id.to_bytes(32, "big"))
        return self._log(number, index, topics, encode(["bytes32", "address"], [content, PROPOSER]))

    def _canceled(self, number: int, index: int, proposal_id: int) -> Log:
        return self._log(number, index, (PROPOSAL_CANCELED.topic0,), encode(["uint256"], [proposal_id]))

    def _log(self, number: int, index: int, topics: tuple[bytes, ...], data: bytes) -> Log:
        return Log(
            address=DAO,
            topics=topics,
            data=data,
            block_number=number,
            block_hash=self.hash_of(number),
            transaction_hash=_hash(f"{self.fork}/{number}/{index}"),
            log_index=index,
        )
