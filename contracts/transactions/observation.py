"""What all transactions of a process ask the chain about, asked once for all of them.

A hundred transactions in flight cost as many requests as one: their questions are put together, and what is
the same for all (fees, balance, nonce) is read once a poll. Nothing here outlives the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from contracts.rpc import Fees, Node, RpcError
from contracts.transactions.chain import Question, look_at
from contracts.transactions.values import Confirmation, Requirement

T = TypeVar("T")

FRESH_S = 0.25
KEPT_MAX = 256


class _Asked:
    """A question that waits for its round, and what came of it."""

    __slots__ = ("answer", "question")

    def __init__(self, question: Question) -> None:
        self.question = question
        self.answer: Confirmation | RpcError | None = None


class Observation:
    """One process's view of a node, shared by all that it sends.

    `fresh_s` is how old a shared answer may be.
    """

    def __init__(self, node: Node, *, fresh_s: float = FRESH_S) -> None:
        self._node = node
        self._fresh_s = fresh_s
        self._waiting: list[_Asked] = []
        self._round = asyncio.Lock()
        self._begun = float("-inf")
        self._answers: dict[tuple[str, str], tuple[float, Any]] = {}
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    async def look(
        self, sender: str, nonce: int, hashes: Sequence[str], requirement: Requirement
    ) -> Confirmation:
        """Return where the transaction of a nonce stands, as `chain.look` does. Raises RpcError."""
        question = Question(sender=sender, nonce=nonce, hashes=tuple(hashes), requirement=requirement)
        asked = _Asked(question)
        self._waiting.append(asked)
        try:
            async with self._round:
                # Whoever gets here first asks for all that have gathered since the last round.
                if asked.answer is None:
                    await self._pause()
                    await self._ask()
        finally:
            if asked in self._waiting:
                self._waiting.remove(asked)
        assert asked.answer is not None  # noqa: S101 - the round has answered everyone in it
        if isinstance(asked.answer, RpcError):
            raise asked.answer
        return asked.answer

    async def _pause(self) -> None:
        """Let more gather: no round begins sooner after the last than an answer may be old."""
        loop = asyncio.get_running_loop()
        since_s = loop.time() - self._begun
        if since_s < self._fresh_s:
            await asyncio.sleep(self._fresh_s - since_s)
        self._begun = loop.time()

    async def _ask(self) -> None:
        together, self._waiting = self._waiting, []
        try:
            answers = await look_at(self._node, [each.question for each in together])
        except RpcError as error:
            for each in together:
                each.answer = error
        except BaseException:
            self._waiting = [*together, *self._waiting]
            raise
        else:
            for each, answer in zip(together, answers, strict=True):
                each.answer = answer

    async def chain_id(self) -> int:
        """Return the id of the chain that the node serves now."""
        return await self._shared(("chain", ""), self._node.chain_id)

    async def fees(self) -> Fees:
        """Return what gas costs now."""
        return await self._shared(("fees", ""), self._node.fees)

    async def balance(self, address: str) -> int:
        """Return a key's balance in wei."""
        return await self._shared(("balance", address), lambda: self._node.balance(address))

    async def mined(self, address: str) -> int:
        """Return how many transactions of a key stand in the newest block: its next nonce on the chain."""
        return await self._shared(("nonce", address), lambda: self._node.nonce(address, "latest"))

    async def _shared(self, key: tuple[str, str], read: Callable[[], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        if len(self._locks) > KEPT_MAX:
            self._locks.clear()
            self._answers.clear()
        async with self._locks.setdefault(key, asyncio.Lock()):
            known = self._answers.get(key)
            if known is not None and loop.time() - known[0] < self._fresh_s:
                kept: T = known[1]
                return kept
            begun = loop.time()
            answer = await read()
            self._answers[key] = (begun, answer)
            return answer
