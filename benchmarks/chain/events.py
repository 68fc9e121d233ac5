"""10,000 votes read from anvil and decoded, beside web3's get_logs and process_log in the same run."""

from __future__ import annotations

import time
from statistics import median

from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.types import FilterParams

from benchmarks.chain.stage import VOTES, Figure, cast_votes, node_on_anvil
from contracts.artifacts import load
from contracts.bindings import decode_all, reputation_dao
from contracts.bindings.reputation_dao import VOTE_CAST
from contracts.rpc import Node

EVENTS = 10_000
TIMES_AS_FAST = 10.0


async def measure(rounds: int) -> list[Figure]:
    """Return the medians of both, taken in turns, in seconds of the clock and of this process."""
    async with node_on_anvil() as (node, url):
        first, last = await cast_votes(node, EVENTS)
        theirs = AsyncWeb3(AsyncHTTPProvider(url, request_kwargs={"timeout": 60}))
        ours_s: list[tuple[float, float]] = []
        theirs_s: list[tuple[float, float]] = []
        try:
            for _ in range(rounds):
                began, used = time.perf_counter(), time.process_time()
                read = await _ours(node, first, last)
                ours_s.append((time.perf_counter() - began, time.process_time() - used))
                began, used = time.perf_counter(), time.process_time()
                assert await _theirs(theirs, first, last) == read == EVENTS
                theirs_s.append((time.perf_counter() - began, time.process_time() - used))
        finally:
            await theirs.provider.disconnect()
    return _figures(ours_s, theirs_s)


def _figures(ours: list[tuple[float, float]], theirs: list[tuple[float, float]]) -> list[Figure]:
    ours_s, ours_cpu_s = (median(each) for each in zip(*ours, strict=True))
    theirs_s, theirs_cpu_s = (median(each) for each in zip(*theirs, strict=True))
    clock = median(their[0] / our[0] for our, their in zip(ours, theirs, strict=True))
    used = median(their[1] / our[1] for our, their in zip(ours, theirs, strict=True))
    said = f"{ours_s:.2f} s, web3 {theirs_s:.2f} s; CPU time {ours_cpu_s:.2f} s and {theirs_cpu_s:.2f} s"
    return [
        Figure(name="10,000 events read and decoded", value=said),
        Figure(name="times as fast as web3, by CPU time of the client", value=f"{used:.1f}"),
        Figure(
            name="times as fast as web3, by the clock",
            value=f"{clock:.1f}",
            target=f"{TIMES_AS_FAST:g}",
            met=clock >= TIMES_AS_FAST,
        ),
    ]


async def _ours(node: Node, first: int, last: int) -> int:
    logs = await node.logs(VOTES, [VOTE_CAST.topic0], first, last)
    return len(decode_all(VOTE_CAST, logs))


async def _theirs(web3: AsyncWeb3[AsyncHTTPProvider], first: int, last: int) -> int:
    event = web3.eth.contract(abi=list(load(reputation_dao.NAME).abi)).events.VoteCast()
    asked: FilterParams = {
        "address": web3.to_checksum_address(VOTES),
        "topics": ["0x" + VOTE_CAST.topic0.hex()],
        "fromBlock": first,
        "toBlock": last,
    }
    return len([event.process_log(log) for log in await web3.eth.get_logs(asked)])
