"""Random weather over a pool: every answer is the truth, or a named error; and when it clears, all is read.

Endpoints lag, die, time out, limit, answer nonsense and change their chain. With a quorum of two among three
one of them lies from the start: it hides logs, or lives on a fork. `DAO_SCORER_SEEDS=N` plays so many, from
`DAO_SCORER_SEED` on, and `DAO_SCORER_RECORDS=1` two thousand; a failure names its seed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

import pytest

from contracts.rpc import Node, NodeUnavailable, RpcError, logs_between
from contracts.rpc.refusals import ErrorObject
from orchestrator.testing import VirtualClock
from tests.rpc_truth import DAO, FINALITY, Truth, Voice, pool_of

FIRST = int(os.environ.get("DAO_SCORER_SEED", "0"))
COUNT = 2000 if os.environ.get("DAO_SCORER_RECORDS") == "1" else 40
SEEDS = range(FIRST, FIRST + int(os.environ.get("DAO_SCORER_SEEDS", COUNT)))
READS = 40
FORK = 20


def timed_out(voice: Voice) -> RpcError:
    error = NodeUnavailable(voice.endpoint, "no answer within 10 s")
    error.__cause__ = TimeoutError()
    return error


class Weather:
    """What ails one endpoint now; drawn anew between reads."""

    def __init__(self, chance: Random, lie: str | None) -> None:
        self._chance = chance
        self._lie = lie
        self.ill: str | None = None

    def turn(self, voice: Voice) -> None:
        ills = (*(7 * [None]), "away", "slow", "limited", "nonsense", "other chain", "pruned", "no range")
        self.ill = self._chance.choice(ills)
        voice.lag = self._chance.choice((0, 0, 0, 1, 2, 12))

    def clear(self, voice: Voice) -> None:
        self.ill, voice.lag = None, 0

    def fault(self, voice: Voice, method: str, params: Sequence[Any]) -> object | None:
        if self._lie == "hides logs" and method == "eth_getLogs":
            return self._ailing(voice, method, params) or []
        return self._ailing(voice, method, params)

    def _ailing(self, voice: Voice, method: str, params: Sequence[Any]) -> object | None:
        if self.ill == "away":
            raise NodeUnavailable(voice.endpoint, "it is away", unsent=self._chance.random() < 0.5)
        if self.ill == "slow" and self._chance.random() < 0.5:
            raise timed_out(voice)
        if self.ill == "limited" and self._chance.random() < 0.7:
            pause_s = self._chance.choice((None, 0.5, 3.0, 30.0))
            raise NodeUnavailable(voice.endpoint, "HTTP 429", retry_after_s=pause_s, limited=True)
        if self.ill == "nonsense" and self._chance.random() < 0.7:
            return "0xnonsense"
        if self.ill == "other chain" and method == "eth_chainId":
            return "0x1"
        if self.ill == "pruned" and method == "eth_getLogs":
            return ErrorObject(code=4444, message="pruned history unavailable")
        if self.ill == "no range" and method == "eth_getLogs":
            first, last = (int(params[0][key], 16) for key in ("fromBlock", "toBlock"))
            if last - first > 3:
                return ErrorObject(code=-32602, message="block range too large")
        return None


async def read(chance: Random, node: Node, truth: Truth, lie: str | None) -> None:
    """Read something at random and hold it against the truth.

    Who lives on a fork is found out where the reader knows the block: calls alone are not put to a vote.
    """
    number = chance.randrange(truth.head + 1)
    last = min(truth.head, number + chance.randrange(20))
    kinds: list[Callable[[], Awaitable[None]]] = [
        lambda: _header(node, truth, number),
        lambda: _tag(node, truth, chance.choice(("latest", "safe", "finalized"))),
        lambda: _logs(node, truth, number, last),
        lambda: _logs(node, truth, number, last, pages=True),
        lambda: _call(node, truth, number, known=lie == "fork" or chance.random() < 0.5),
    ]
    await chance.choice(kinds)()


async def _header(node: Node, truth: Truth, number: int) -> None:
    assert (await node.header(number)).hash == truth.hash(number)


async def _tag(node: Node, truth: Truth, tag: str) -> None:
    header = await node.header(tag)
    assert header.hash == truth.hash(header.number)
    assert header.number <= truth.head - {"latest": 0, "safe": 4, "finalized": FINALITY}[tag]


async def _logs(
    node: Node, truth: Truth, first: int, last: int, *, pages: bool = False, known: bool = True
) -> None:
    if known:
        await node.header(last)  # As whoever must miss nothing does.
    logs = await (logs_between(node, DAO, [], first, last) if pages else node.logs(DAO, [], first, last))
    expected = [number for number in range(first, last + 1) if number in truth.with_logs]
    assert [(log.block_number, log.block_hash) for log in logs] == [
        (number, truth.hash(number)) for number in expected
    ]


async def _call(node: Node, truth: Truth, number: int, *, known: bool = True) -> None:
    if known:
        await node.header(number)
    assert await node.call(DAO, b"\x01", number) == truth.hash(number)


def change(chance: Random, truth: Truth) -> None:
    if chance.random() < 0.4:
        truth.head += chance.randrange(4)
    elif chance.random() < 0.2:
        truth.reorg(chance.randrange(1, FINALITY))


async def story(seed: int, quorum: int) -> tuple[int, int]:
    """Play one seed; return how many reads were answered, and how many ended with an error."""
    chance, truth = Random(seed), Truth()  # noqa: S311 - a seed makes the case repeatable
    lie = chance.choice(("hides logs", "fork", None)) if quorum > 1 else None
    liar = chance.randrange(3)
    voices = [Voice(endpoint=name, truth=truth, latency_s=chance.uniform(0.001, 0.2)) for name in "abc"]
    weathers = [Weather(chance, lie if place == liar else None) for place in range(3)]
    if lie == "fork":
        voices[liar].truth = truth.copy()
        voices[liar].truth.reorg(truth.head - FORK)
    for voice, weather in zip(voices, weathers, strict=True):
        voice.fault = weather.fault
    answered = failed = 0
    told: list[str] = []
    async with pool_of(*voices, quorum=quorum, chain_check_s=20.0) as node:
        for _ in range(READS):
            for voice, weather in zip(voices, weathers, strict=True):
                if chance.random() < 0.2:
                    weather.turn(voice)
            change(chance, truth)
            try:
                await read(chance, node, truth, lie)
                answered += 1
            except RpcError as error:
                failed += 1
                told.append(str(error))
            await asyncio.sleep(chance.choice((0.0, 0.1, 3.0, 10.0)))
        for voice, weather in zip(voices, weathers, strict=True):
            weather.clear(voice)
        await asyncio.sleep(120)
        for number in range(truth.head - 3 * FINALITY, truth.head + 1) if lie != "fork" else ():
            await _logs(node, truth, number, number, known=False)
            await _call(node, truth, number, known=False)
        for number in (0, truth.head // 2, truth.head - FINALITY):
            await _logs(node, truth, number, number + 3)
            await _call(node, truth, number)
        assert all(text and "\n" not in text for text in told)
        assert lie == "fork" or (await node.header("latest")).number == truth.head
    return answered, failed


@pytest.mark.timeout(3600 if COUNT > 40 else 180)
@pytest.mark.parametrize("quorum", [1, 2])
def test_every_answer_is_the_truth_or_a_named_error(quorum: int) -> None:
    answered = failed = 0
    for seed in SEEDS:
        try:
            counts = VirtualClock().run(asyncio.wait_for(story(seed, quorum), 1_000_000))
        except BaseException as error:
            error.add_note(f"seed {seed}, quorum {quorum}: DAO_SCORER_SEED={seed} DAO_SCORER_SEEDS=1")
            raise
        answered, failed = answered + counts[0], failed + counts[1]
    if len(SEEDS) >= 10:
        assert min(answered, failed) > 2 * len(SEEDS), "the weather is neither always fair nor always foul"
