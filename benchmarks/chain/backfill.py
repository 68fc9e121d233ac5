"""Back-fill from a chain in memory: how fast proposals are dispatched, and that memory does not grow."""

from __future__ import annotations

import logging
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from hashlib import blake2b
from statistics import median
from types import SimpleNamespace
from typing import Any, cast

import structlog
from eth_abi.abi import encode

from benchmarks.chain.stage import Figure
from contracts.bindings import Log
from contracts.bindings.reputation_dao import CLOCK, PROPOSAL_CREATED, PROPOSAL_DEADLINE
from contracts.rpc import BlockHeader, Call
from listener import Listener, ListenerSettings, SqliteCursorStore
from orchestrator import Orchestrator

PROPOSALS = 10_000
PER_BLOCK = 4
RATE_MIN = 2_000
BLOCKS = 1_000_000
SPARSE = 500
GROWTH_MAX_BYTES = 1_000_000
DAO = "0x" + "da" * 20
SETTINGS = ListenerSettings(chain_id=777, dao=DAO, registry="0x" + "5c" * 20)


class MadeUpChain:
    """What a listener asks of a node, of blocks that are made when they are asked for."""

    endpoint = "memory"

    def __init__(self, head: int, every: int, per_block: int) -> None:
        self._head = head
        self._every = every
        self._per_block = per_block

    async def chain_id(self) -> int:
        """Return the chain's id."""
        return SETTINGS.chain_id

    async def header(self, block: int | str) -> BlockHeader:
        """Return a block; everything is final."""
        number = block if isinstance(block, int) else self._head
        return BlockHeader(
            number=number, hash=_hash(number), parent_hash=_hash(number - 1), timestamp=12 * number
        )

    async def headers(self, numbers: Sequence[int]) -> list[BlockHeader]:
        """Return some blocks."""
        return [await self.header(number) for number in numbers]

    async def logs(self, _address: str, _topics: object, first: int, last: int) -> list[Log]:
        """Return the proposals of a range."""
        numbers = range(first + -first % self._every, last + 1, self._every)
        return [_created(number, index) for number in numbers for index in range(self._per_block)]

    async def code(self, _address: str, _block: object = "latest") -> bytes:
        """Return some code."""
        return b"\x60\x00"

    async def request(self, _method: str, _params: object) -> str:
        """Return an empty storage slot."""
        return "0x" + "00" * 32

    async def call(self, _to: str, data: bytes, block: object = "latest") -> bytes:
        """Return the clock."""
        return _answer(data, self._head)

    async def call_each(self, calls: Sequence[Call], _block: object = "latest") -> list[bytes]:
        """Return clocks, deadlines that lie ahead, and states that are open."""
        return [_answer(data, self._head) for _, data in calls]


class Sink:
    """An orchestrator that forgets what it is given."""

    promises = SimpleNamespace()

    def options(self, *, target: str, tags: dict[str, str]) -> Sink:
        """Return what invokes."""
        self._tags = tags
        return self

    async def begin_rpc(self, _promise_id: str, _function: str, _argument: object) -> Any:
        """Invoke nothing."""
        return SimpleNamespace(record=SimpleNamespace(tags=self._tags))


async def measure(rounds: int) -> list[Figure]:
    """Return the rate of dispatch into the embedded engine, and how memory grew over the long chain."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    rates = [await _dispatched() for _ in range(rounds)]
    by_clock, by_processor = (median(each) for each in zip(*rates, strict=True))
    grown = await _grown()
    return [
        Figure(
            name=f"{PROPOSALS:,} proposals dispatched in back-fill into the embedded engine",
            value=f"{by_processor:,.0f} a second of processor time",
            target=f"{RATE_MIN:,} a second",
            met=by_processor >= RATE_MIN,
        ),
        Figure(name="the same by the clock on the wall", value=f"{by_clock:,.0f} a second"),
        Figure(
            name=f"memory grown from 100,000 to {BLOCKS:,} blocks of back-fill",
            value=f"{grown / 1000:,.0f} kB",
            target=f"{GROWTH_MAX_BYTES / 1000:,.0f} kB",
            met=grown <= GROWTH_MAX_BYTES,
        ),
    ]


async def _dispatched() -> tuple[float, float]:
    """Back-fill all proposals; return how many a second, and how many a second of processor time."""
    chain = MadeUpChain(head=PROPOSALS // PER_BLOCK * 10, every=10, per_block=PER_BLOCK)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            Orchestrator.local(f"sqlite:///{folder}/engine.db") as app,
            await SqliteCursorStore.open(f"{folder}/cursor.db") as store,
        ):
            listener = Listener(SETTINGS, cast(Any, chain), app, store)
            began, worked = time.perf_counter(), time.process_time()
            while not (progress := await listener.step()).caught_up:
                pass
            taken_s, worked_s = time.perf_counter() - began, time.process_time() - worked
    assert progress.dispatched >= PROPOSALS
    return progress.dispatched / taken_s, progress.dispatched / worked_s


async def _grown() -> int:
    """Back-fill the long chain; return by how many bytes memory grew after its first tenth."""
    chain = MadeUpChain(head=BLOCKS, every=SPARSE, per_block=1)
    with tempfile.TemporaryDirectory() as folder:
        async with await SqliteCursorStore.open(f"{folder}/cursor.db") as store:
            listener = Listener(SETTINGS, cast(Any, chain), cast(Any, Sink()), store)
            tracemalloc.start()
            early = None
            while not (progress := await listener.step()).caught_up:
                if early is None and (progress.cursor or 0) >= BLOCKS // 10:
                    early = tracemalloc.get_traced_memory()[0]
            late = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
    assert early is not None
    return late - early


def _hash(number: int) -> bytes:
    return blake2b(number.to_bytes(8, "big", signed=True), digest_size=32).digest()


def _created(number: int, index: int) -> Log:
    proposal_id = number * 100 + index
    return Log(
        address=DAO,
        topics=(PROPOSAL_CREATED.topic0, proposal_id.to_bytes(32, "big")),
        data=encode(["bytes32", "address"], [_hash(proposal_id), DAO]),
        block_number=number,
        block_hash=_hash(number),
        transaction_hash=_hash(proposal_id),
        log_index=index,
    )


def _answer(data: bytes, clock: int) -> bytes:
    if data[:4] == CLOCK.selector:
        return encode(["uint48"], [clock])
    return encode(["uint256"], [2**40 if data[:4] == PROPOSAL_DEADLINE.selector else 1])
